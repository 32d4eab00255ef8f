"""For editors: one `PublishDiagnosticsParams` object a file and line, 0-based, in UTF-16 code units.

Every file that was checked has its object: an empty list takes back what an editor showed before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from losslint.check import Report
from losslint.findings import Finding, Range, Severity, TrailStep
from losslint.output.text import Line, plain
from losslint.source import load

_SEVERITIES = {Severity.ERROR: 1, Severity.WARNING: 2, Severity.INFO: 3}


def render(report: Report, width: int) -> Iterator[Line]:
    """One line a file; a file that could not be checked has none, so that what is known of it stays."""
    texts = _Texts()
    for file in report.files:
        if file.failure is None:
            diagnostics = [_diagnostic(finding, texts) for finding in file.findings]
            yield plain(json.dumps({"uri": _uri(file.name), "diagnostics": diagnostics}))


@dataclass(slots=True)
class _Texts:
    """The lines of the files that places point into, each read once."""

    known: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def range(self, path: str, place: Range) -> dict[str, dict[str, int]]:
        """The range as the protocol counts."""
        return {
            "start": self._position(path, place.start_line, place.start_column),
            "end": self._position(path, place.end_line, place.end_column),
        }

    def _position(self, path: str, line: int, column: int) -> dict[str, int]:
        if path not in self.known:
            self.known[path] = load(path)
        lines = self.known[path]
        before = lines[line - 1][: column - 1] if line <= len(lines) else ""
        astral = 0 if before.isascii() else sum(character > "\uffff" for character in before)
        return {"line": line - 1, "character": column - 1 + astral}


def _diagnostic(finding: Finding, texts: _Texts) -> dict[str, Any]:
    return {
        "range": texts.range(finding.path, finding.range),
        "severity": _SEVERITIES[finding.severity],
        "code": finding.code,
        "codeDescription": {"href": finding.url},
        "source": "losslint",
        "message": finding.message,
        "relatedInformation": [_related(step, texts) for step in (*finding.trail, *finding.related)],
        "data": {"fingerprint": finding.fingerprint},
    }


def _related(step: TrailStep, texts: _Texts) -> dict[str, Any]:
    message = f"{step.message} → {step.unit}" if step.unit else step.message
    return {"location": {"uri": _uri(step.path), "range": texts.range(step.path, step.range)}, "message": message}


def _uri(path: str) -> str:
    return Path(os.path.abspath(path)).as_uri()
