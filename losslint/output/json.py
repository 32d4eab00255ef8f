"""For programs: one JSON array with an object a finding; 1-based lines and code-point columns, the end exclusive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from losslint.check import Report
from losslint.findings import Finding, Range, TrailStep
from losslint.output.text import Line, plain


def render(report: Report, width: int) -> Iterator[Line]:
    """The array, indented."""
    array = json.dumps([to_object(finding) for finding in report.findings], indent=2)
    return map(plain, array.split("\n"))


def to_object(finding: Finding) -> dict[str, Any]:
    """A finding as JSON takes it; the keys stand in the order that is documented."""
    factor = finding.factor
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.label,
        "law": finding.law.value,
        "message": finding.message,
        "path": finding.path,
        "range": _range(finding.range),
        "factor": None if factor is None else {"text": factor.text, "value": factor.value},
        "trail": [_step(step) for step in finding.trail],
        "related": [_step(step) for step in finding.related],
        "help": finding.help,
        "fingerprint": finding.fingerprint,
        "url": finding.url,
    }


def _range(place: Range) -> dict[str, dict[str, int]]:
    return {
        "start": {"line": place.start_line, "column": place.start_column},
        "end": {"line": place.end_line, "column": place.end_column},
    }


def _step(step: TrailStep) -> dict[str, Any]:
    return {"path": step.path, "range": _range(step.range), "message": step.message, "unit": step.unit}
