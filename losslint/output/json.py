"""For programs: one JSON array with an object a finding; 1-based lines and code-point columns, the end exclusive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from losslint.check import Report
from losslint.findings import Factor, Finding, Fix, Range, TrailStep, Verdict
from losslint.output.text import Line, plain


def render(report: Report, width: int) -> Iterator[Line]:
    """The array, indented."""
    array = json.dumps([to_object(finding) for finding in report.findings], indent=2)
    return map(plain, array.split("\n"))


def to_object(finding: Finding) -> dict[str, Any]:
    """A finding as JSON takes it; the keys stand in the order that is documented."""
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.label,
        "law": finding.law.value,
        "message": finding.message,
        "path": finding.path,
        "range": _range(finding.range),
        "factor": factor_object(finding.factor),
        "trail": [_step(step) for step in finding.trail],
        "related": [_step(step) for step in finding.related],
        "help": finding.help,
        "fingerprint": finding.fingerprint,
        "url": finding.url,
        "cell": finding.cell,
        "fix": None if finding.fix is None else _fix(finding.fix),
        "verdict": verdict_object(finding.verdict),
    }


def factor_object(factor: Factor | None) -> dict[str, Any] | None:
    """A factor as JSON takes it."""
    return None if factor is None else {"text": factor.text, "value": factor.value}


def verdict_object(verdict: Verdict | None) -> dict[str, Any] | None:
    """A verdict as JSON takes it."""
    if verdict is None:
        return None
    return {
        "outcome": verdict.outcome.value,
        "measured": verdict.measured,
        "predicted": verdict.predicted,
        "setting": verdict.setting,
        "device": verdict.device,
        "reason": None if verdict.reason is None else verdict.reason.value,
        "detail": verdict.detail,
        "assumes": list(verdict.assumes),
    }


def _fix(fix: Fix) -> dict[str, Any]:
    edits = [
        {"path": edit.path, "cell": edit.cell, "range": _range(edit.range), "text": edit.text} for edit in fix.edits
    ]
    return {"title": fix.title, "applicability": fix.applicability.value, "edits": edits}


def _range(place: Range) -> dict[str, dict[str, int]]:
    return {
        "start": {"line": place.start_line, "column": place.start_column},
        "end": {"line": place.end_line, "column": place.end_column},
    }


def _step(step: TrailStep) -> dict[str, Any]:
    return {
        "path": step.path,
        "cell": step.cell,
        "range": _range(step.range),
        "message": step.message,
        "unit": step.unit,
    }
