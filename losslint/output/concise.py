"""For people and editors with an error matcher: one line a finding, `path:line:column: code severity: message`."""

from __future__ import annotations

from collections.abc import Iterator

from losslint.check import Report
from losslint.output.text import SEVERITY_STYLES, Line, Style, escape, summary


def render(report: Report, width: int) -> Iterator[Line]:
    """One line a finding, and how the run ended."""
    for finding in report.findings:
        place = f"{escape(finding.path)}:{finding.range.start_line}:{finding.range.start_column}: "
        yield (
            (place, Style.PLAIN),
            (f"{finding.code} {finding.severity.label}", SEVERITY_STYLES[finding.severity]),
            (f": {escape(finding.message)}", Style.PLAIN),
        )
    yield summary(report)
