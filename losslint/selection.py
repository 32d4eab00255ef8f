"""Which codes a run reports: selectors are codes, prefixes of codes, names or `ALL`; the most specific one wins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol

from losslint.findings import Law, Severity
from losslint.toolcodes import TOOL_CODES

if TYPE_CHECKING:
    from losslint.registry import Rule

EVERYTHING = ("ALL",)
OPINIONS = "LL81"
"""Rules of opinion: their evidence is a rule of thumb. `ALL` does not select them; their codes, names and `LL8` do."""


class SelectorError(ValueError):
    """A selector, code or name that nothing answers to; the message names the nearest one."""


class Entry(Protocol):
    """What a rule and a tool code have in common: one line of the catalogue."""

    @property
    def code(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def law(self) -> Law: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def page(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Selection:
    """What is reported: `select` without `ignore`, where a longer selector beats a shorter one and a tie is ignored."""

    select: tuple[str, ...] = EVERYTHING
    ignore: tuple[str, ...] = ()

    def reports(self, code: str, name: str) -> bool:
        """Whether findings of this code are reported."""
        chosen = self.select
        if code.startswith(OPINIONS):
            chosen = tuple(selector for selector in chosen if selector not in ("ALL", "LL", "L"))
        return _strength(chosen, code, name) > _strength(self.ignore, code, name)


def rules() -> tuple[Rule, ...]:
    """Every rule, by code. Imported only here and late: a run that meets no training loop needs no rule."""
    from losslint import registry

    return registry.rules()


@cache
def catalogue() -> tuple[Entry, ...]:
    """Every code that losslint knows: its own first, then the rules'."""
    return (*TOOL_CODES, *rules())


def find(wanted: str) -> Entry:
    """The entry with this code or name. Raises `SelectorError`."""
    for entry in catalogue():
        if wanted.upper() == entry.code or wanted == entry.name:
            return entry
    raise SelectorError(f"unknown code or name `{wanted}`{_nearest(wanted)}")


def normalise(selectors: Iterable[str]) -> tuple[str, ...]:
    """Selectors in the spelling of the catalogue. Raises `SelectorError` at the first that selects nothing."""
    return tuple(_normalise(selector.strip()) for selector in selectors if selector.strip())


def matches(selectors: Sequence[str], code: str, name: str) -> bool:
    """Whether any of the normalised selectors covers the code."""
    return _strength(selectors, code, name) > 0


def nearest(wanted: str, known: Iterable[str]) -> str:
    """The end of an error message: `, did you mean …?` where something known is near, else nothing."""
    import difflib

    close = difflib.get_close_matches(wanted, list(known), n=1, cutoff=0.5)
    return f", did you mean `{close[0]}`?" if close else ""


def _strength(selectors: Sequence[str], code: str, name: str) -> int:
    strongest = 0
    for selector in selectors:
        if selector == "ALL":
            strongest = max(strongest, 1)
        elif selector == name:
            strongest = max(strongest, 1 + len(code))
        elif code.startswith(selector):
            strongest = max(strongest, 1 + len(selector))
    return strongest


def _normalise(selector: str) -> str:
    upper = selector.upper()
    if upper == "ALL":
        return upper
    for entry in catalogue():
        if selector == entry.name:
            return selector
        if entry.code.startswith(upper):
            return upper
    raise SelectorError(f"unknown code or name `{selector}`{_nearest(selector)}")


def _nearest(wanted: str) -> str:
    entries = catalogue()
    hint = nearest(wanted, [entry.name for entry in entries]) or nearest(wanted.upper(), [e.code for e in entries])
    return hint or "; `losslint rules` lists them all"
