"""For people and editors with an error matcher: one line a finding, `path:line:column: code severity: message`."""

from __future__ import annotations

from collections.abc import Iterator

from losslint.check import Report
from losslint.findings import Finding
from losslint.output.text import FIXABLE, SEVERITY_STYLES, Line, Style, endings, escape, where
from losslint.output.verdicts import STYLES, short


def render(report: Report, width: int) -> Iterator[Line]:
    """One line a finding, and how the run ended."""
    for finding in report.findings:
        place = f"{escape(where(finding.path, finding.cell))}:{finding.range.start_line}:{finding.range.start_column}: "
        yield (
            (place, Style.PLAIN),
            (f"{finding.code} {finding.severity.label}", SEVERITY_STYLES[finding.severity]),
            (": ", Style.PLAIN),
            (FIXABLE if report.can_fix(finding) else "", Style.TRAIL),
            (escape(finding.message), Style.PLAIN),
            *_verdict(finding),
        )
    yield from endings(report)


def _verdict(finding: Finding) -> Line:
    if finding.verdict is None:
        return ()
    return ((" [", Style.PLAIN), (short(finding.verdict), STYLES[finding.verdict.outcome]), ("]", Style.PLAIN))
