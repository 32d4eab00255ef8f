"""For editors: one `PublishDiagnosticsParams` object a file and line, 0-based, in UTF-16 code units.

Every file that was checked has its object: an empty list takes back what an editor showed before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from losslint.check import Report
from losslint.findings import Finding, Range, Severity, TrailStep
from losslint.output.account import step_words
from losslint.output.json import verdict_object
from losslint.output.text import Line, plain
from losslint.output.texts import Texts
from losslint.output.verdicts import long

_SEVERITIES = {Severity.ERROR: 1, Severity.WARNING: 2, Severity.INFO: 3}


def render(report: Report, width: int) -> Iterator[Line]:
    """One line a file; a file that could not be checked has none, so that what is known of it stays."""
    texts = Texts()
    for file in report.files:
        if file.failure is None:
            diagnostics = [_diagnostic(finding, texts) for finding in file.findings]
            yield plain(json.dumps({"uri": _uri(file.name), "diagnostics": diagnostics}))


def _range(path: str, cell: int | None, place: Range, texts: Texts) -> dict[str, dict[str, int]]:
    """The range as the protocol counts, in the lines of the file."""
    place = texts.in_file(path, cell, place)
    start, end = place.start_line, place.end_line
    return {
        "start": {"line": start - 1, "character": texts.utf16(path, None, start, place.start_column)},
        "end": {"line": end - 1, "character": texts.utf16(path, None, end, place.end_column)},
    }


def _diagnostic(finding: Finding, texts: Texts) -> dict[str, Any]:
    return {
        "range": _range(finding.path, finding.cell, finding.range, texts),
        "severity": _SEVERITIES[finding.severity],
        "code": finding.code,
        "codeDescription": {"href": finding.url},
        "source": "losslint",
        "message": finding.message if finding.verdict is None else f"{finding.message}\n{long(finding.verdict)}",
        "relatedInformation": [_related(step, texts) for step in (*finding.trail, *finding.related)],
        "data": _data(finding),
    }


def _data(finding: Finding) -> dict[str, Any]:
    verdict = {} if finding.verdict is None else {"verdict": verdict_object(finding.verdict)}
    cell = {} if finding.cell is None else {"cell": finding.cell}
    return {"fingerprint": finding.fingerprint, **cell, **verdict}


def _related(step: TrailStep, texts: Texts) -> dict[str, Any]:
    location = {"uri": _uri(step.path), "range": _range(step.path, step.cell, step.range, texts)}
    return {"location": location, "message": step_words(step)}


def _uri(path: str) -> str:
    return Path(os.path.abspath(path)).as_uri()
