"""A finding in words, for every format that has room for some lines of text."""

from __future__ import annotations

from losslint.findings import Finding, TrailStep
from losslint.output.text import escape
from losslint.output.verdicts import long


def account(finding: Finding, say_cell: bool = False) -> tuple[str, ...]:
    """A finding in a few escaped lines: the message first, then the help and the verdict, where there are any.

    `say_cell` puts the place in a notebook in front, for formats whose lines are those of the file.
    """
    cell = f"cell {finding.cell}, line {finding.range.start_line}: " if say_cell and finding.cell is not None else ""
    lines = [f"{cell}{finding.message}"]
    if finding.help:
        lines.append(f"help: {finding.help}")
    if finding.verdict is not None:
        lines.append(f"verdict: {long(finding.verdict)}")
    return tuple(map(escape, lines))


def step_words(step: TrailStep) -> str:
    """A step of a trail in words."""
    return f"{step.message} → {step.unit}" if step.unit else step.message
