"""What a rule is, and where all of them are found: one file each in `losslint.rules`."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import losslint.rules as _rules
from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop
    from losslint.interpreter.program import Program
    from losslint.lowering.ir import Node
    from losslint.remedies import Remedy


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the program with the unit a value has there: one line of a trail."""

    node: Node
    message: str
    unit: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What a rule says before places are worked out: the engine turns it into a `Finding`.

    `remedies` gives ways to take the finding away, best first; it is called only where a fix is asked for.
    """

    node: Node
    severity: Severity
    message: str
    factor: Factor | None
    trail: Sequence[Mark]
    help: str
    related: Sequence[Mark] = ()
    remedies: Callable[[], Iterable[Remedy]] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the catalogue. `severity` is the highest it reports at; its page is its module's docstring.

    `check` is asked of every loop in every fork; `examine` once of a module, about what holds before anything runs.
    `claim` is what the runtime verifier measures.
    """

    code: str
    name: str
    summary: str
    law: Law
    severity: Severity
    module: str
    check: Callable[[Loop], Iterable[Draft]] | None = None
    examine: Callable[[Program], Iterable[Draft]] | None = None
    claim: Claim | None = None

    @property
    def page(self) -> str:
        """The Markdown page a user reads."""
        return importlib.import_module(self.module).__doc__ or ""


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, in the order of its code."""
    found = []
    for info in pkgutil.iter_modules(_rules.__path__):
        if not info.name.startswith("_"):
            found.append(importlib.import_module(f"losslint.rules.{info.name}").RULE)
    return tuple(sorted(found, key=lambda rule: rule.code))


def section(page: str, heading: str) -> str:
    """The text under `## heading` of a page, or an empty string."""
    match = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return match.group(1).strip() if match else ""
