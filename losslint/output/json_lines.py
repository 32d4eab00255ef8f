"""For programs: the object of a finding as in the `json` format, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator

from losslint.check import Report
from losslint.output.json import to_object
from losslint.output.text import Line, plain


def render(report: Report, width: int) -> Iterator[Line]:
    """One line a finding."""
    for finding in report.findings:
        yield plain(json.dumps(to_object(finding)))
