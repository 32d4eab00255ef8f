"""An analysis of three rules that tests of everything around the real one can steer from the files they write.

A line `statement  # BUG LL102` is a finding on the statement, `# CALLS helper.py` one on the first line of that file.
`# NOTE`, `# CRASH`, `# DIE` and `# SYNTAX` make the analysis hit a bound, raise, kill its own process, and refuse the
file. `python tests/fakes.py ARGUMENTS` is the
command line with this analysis.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from losslint import selection
from losslint.findings import (
    Applicability,
    Edit,
    Factor,
    Finding,
    Fix,
    Law,
    Outcome,
    Range,
    Reason,
    Severity,
    TrailStep,
    Verdict,
)
from losslint.fingerprints import fingerprint
from losslint.registry import Rule
from losslint.source import ProjectRoots, SourceError, SourceFile


def _rule(code: str, name: str, law: Law, severity: Severity) -> Rule:
    return Rule(code, name, f"summary of {name}", law, severity, __name__, check=lambda loop: ())


RULES = (
    _rule("LL102", "unscaled-accumulation", Law.GRADIENT, Severity.ERROR),
    _rule("LL106", "leftover-micro-batches", Law.GRADIENT, Severity.INFO),
    _rule("LL204", "mean-loss-over-samples", Law.REPORT, Severity.WARNING),
)

PLACE = Range(3, 5, 3, 20)
FACTOR = Factor("gradient = mean × accum_steps", 4.0)

LOOP = "for batch in loader:\n    loss = criterion(batch)\n    loss.backward()\n"
"""A training loop without a finding; it passes the byte gate."""

BUG = "for batch in loader:\n    loss = criterion(batch)\n    loss.backward()  # BUG LL102\n"
"""A training loop with a finding on line 3."""


@dataclass(frozen=True)
class Analysis:
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    errors: tuple[SourceError, ...] = ()


def analyze(
    source: SourceFile, project: ProjectRoots, rules: Sequence[Rule], min_severity: Severity, fixes: bool = False
) -> Analysis:
    if "# CRASH" in source.text:
        raise ZeroDivisionError("a defect")
    if "# DIE" in source.text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "# SYNTAX" in source.text:
        raise SourceError(source.path, 2, 5, "invalid syntax")
    by_code = {rule.code: rule for rule in rules}
    findings = []
    for number, line in enumerate(source.lines, start=1):
        marked = re.search(r"# BUG (LL\d+)", line)
        if marked and marked[1] in by_code and by_code[marked[1]].severity >= min_severity:
            statement = line[: marked.start()]
            place = Range(number, len(line) - len(line.lstrip()) + 1, number, len(statement.rstrip()) + 1)
            findings.append(finding(by_code[marked[1]], source.name, place, statement=statement.strip()))
    for called in re.findall(r"# CALLS (\S+)", source.text):
        findings.append(finding(path=called, place=Range(1, 1, 1, 5)))
    return Analysis(tuple(findings), ("too many forks",) if "# NOTE" in source.text else ())


def finding(
    rule: Rule = RULES[0],
    path: str = "train.py",
    place: Range = PLACE,
    message: str = "backward runs on the undivided loss",
    factor: Factor | None = FACTOR,
    trail: tuple[TrailStep, ...] = (),
    related: tuple[TrailStep, ...] = (),
    statement: str = "loss.backward()",
) -> Finding:
    return Finding(
        code=rule.code,
        name=rule.name,
        severity=rule.severity,
        law=rule.law,
        message=message,
        path=path,
        range=place,
        factor=factor,
        trail=trail,
        related=related,
        help="divide the loss by `accum_steps`",
        fingerprint=fingerprint(rule.code, path, message, 0),
        statement=statement,
    )


def with_everything(path: str = "train.py") -> Finding:
    """A finding in a notebook's cell with a fix and a verdict."""
    fix = Fix("divide the loss", Applicability.UNSAFE, (Edit(path, Range(3, 5, 3, 9), "(loss / k)"),))
    verdict = Verdict(
        Outcome.INCONCLUSIVE, 0.25, None, "k = 4", "cpu", Reason.TIMEOUT, "after 20 s", ("a loader of 8 batches",)
    )
    return replace(finding(path=path), cell=3, fix=fix, verdict=verdict)


def install(
    set_module: Callable[[str, Any], None], set_rules: Callable[[Callable[[], tuple[Rule, ...]]], None]
) -> None:
    """Put the fake engine and its rules in the place of the real ones."""
    engine = ModuleType("losslint.engine")
    engine.__dict__["analyze"] = analyze
    set_module("losslint.engine", engine)
    set_rules(lambda: RULES)
    selection.catalogue.cache_clear()


if __name__ == "__main__":
    from losslint.cli import main

    install(sys.modules.__setitem__, lambda rules: setattr(selection, "rules", rules))
    sys.exit(main())
