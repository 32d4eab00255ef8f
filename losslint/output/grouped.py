"""For people: the findings of each file under its name, one line each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from losslint.check import Report
from losslint.output.account import account
from losslint.output.text import SEVERITY_STYLES, Line, Style, escape, summary, where


def render(report: Report, width: int) -> Iterator[Line]:
    """A block a file, an empty line after each, and how the run ended."""
    for place, group in groupby(report.findings, key=lambda finding: where(finding.path, finding.cell)):
        findings = list(group)
        starts = [f"{finding.range.start_line}:{finding.range.start_column}" for finding in findings]
        room = max(map(len, starts))
        yield ((f"{escape(place)}:", Style.STRONG),)
        for start, finding in zip(starts, findings, strict=True):
            label = f"{finding.severity.label}[{finding.code}]"
            yield (
                (f"  {start:<{room}}  ", Style.PLAIN),
                (label, SEVERITY_STYLES[finding.severity]),
                (f" {account(finding)[0]}", Style.PLAIN),
            )
        yield ()
    yield summary(report)
