"""For reviewdog: its Diagnostic Format, with fixes as suggestions; columns count bytes of UTF-8 from 1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from losslint.check import Report
from losslint.findings import Edit, Finding, Range, Severity, TrailStep
from losslint.output.account import account, step_words
from losslint.output.text import Line, plain
from losslint.output.texts import Texts

_SEVERITIES = {Severity.ERROR: "ERROR", Severity.WARNING: "WARNING", Severity.INFO: "INFO"}


def render(report: Report, width: int) -> Iterator[Line]:
    """One object with every finding, indented."""
    texts = Texts()
    result = {
        "source": {"name": "losslint", "url": "https://github.com/losslint/losslint"},
        "severity": "WARNING",
        "diagnostics": [_diagnostic(finding, texts) for finding in report.findings],
    }
    return map(plain, json.dumps(result, indent=2).split("\n"))


def _diagnostic(finding: Finding, texts: Texts) -> dict[str, Any]:
    found: dict[str, Any] = {
        "message": "\n".join(account(finding, say_cell=True)),
        "location": _location(finding.path, finding.range, finding.cell, texts),
        "severity": _SEVERITIES[finding.severity],
        "code": {"value": finding.code, "url": finding.url},
        "relatedLocations": [_related(step, texts) for step in (*finding.trail, *finding.related)],
    }
    edits = [] if finding.fix is None else list(finding.fix.edits)
    # a suggestion has no path: it is about the file of the finding
    if edits and all(edit.path == finding.path and edit.cell is None for edit in edits):
        found["suggestions"] = [_suggestion(edit, texts) for edit in edits]
    return found


def _suggestion(edit: Edit, texts: Texts) -> dict[str, Any]:
    return {"range": _range(edit.path, edit.range, texts), "text": edit.text}


def _related(step: TrailStep, texts: Texts) -> dict[str, Any]:
    return {"message": step_words(step), "location": _location(step.path, step.range, step.cell, texts)}


def _location(path: str, place: Range, cell: int | None, texts: Texts) -> dict[str, Any]:
    # the lines of the file are those of a notebook's JSON
    return {"path": path, "range": _range(path, place, texts)} if cell is None else {"path": path}


def _range(path: str, place: Range, texts: Texts) -> dict[str, dict[str, int]]:
    start, end = place.start_line, place.end_line
    return {
        "start": {"line": start, "column": texts.utf8(path, None, start, place.start_column) + 1},
        "end": {"line": end, "column": texts.utf8(path, None, end, place.end_column) + 1},
    }
