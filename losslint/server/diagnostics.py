"""Findings as diagnostics, by the document that they lie in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from lsprotocol import converters, types

from losslint.config import Problem
from losslint.findings import Finding, Severity, TrailStep, Verdict
from losslint.server import positions
from losslint.server.documents import Documents, absolute_path
from losslint.toolcodes import INVALID_CONFIG

SOURCE = "losslint"

_SEVERITIES = {
    Severity.ERROR: types.DiagnosticSeverity.Error,
    Severity.WARNING: types.DiagnosticSeverity.Warning,
    Severity.INFO: types.DiagnosticSeverity.Information,
}
_CONVERTER = converters.get_converter()


def of_finding(
    finding: Finding, documents: Documents, encoding: str, verdict: Verdict | None, related: bool = True
) -> types.Diagnostic:
    """A finding as a diagnostic of its document; what the verifier measured stands in the message.

    `related`: the client shows places beside the message. Else the trail is left to hovering.
    """
    lines = documents.at(finding.path, finding.cell).lines
    message = finding.message if verdict is None else f"{finding.message}\n{verdict_words(verdict)}"
    data: dict[str, Any] = {"fingerprint": finding.fingerprint}
    if verdict is not None:
        data["verdict"] = verdict.outcome.value
    steps = (*finding.trail, *finding.related) if related else ()
    return types.Diagnostic(
        range=positions.to_client(finding.range, lines, encoding),
        severity=_SEVERITIES[finding.severity],
        code=finding.code,
        code_description=types.CodeDescription(finding.url),
        source=SOURCE,
        message=message,
        related_information=[_related(step, documents, encoding) for step in steps] or None,
        data=data,
    )


def of_problem(problem: Problem) -> types.Diagnostic:
    """Something wrong in a configuration file, which marks its line."""
    line = (problem.line or 1) - 1
    return types.Diagnostic(
        # the end of a line that is not at hand: clients cut a range that is too long
        range=types.Range(types.Position(line, 0), types.Position(line + 1, 0)),
        severity=types.DiagnosticSeverity.Error,
        code=INVALID_CONFIG.code,
        source=SOURCE,
        message=problem.message,
    )


def verdict_words(verdict: Verdict) -> str:
    """What a tiny step measured, in a line."""
    words = f"{verdict.outcome.value} by running a tiny step"
    if verdict.reason is not None:
        words = f"{verdict.outcome.value}: {verdict.reason.value}"
    elif verdict.measured is not None:
        words += f": measured ×{verdict.measured:g}"
        words += f", predicted ×{verdict.predicted:g}" if verdict.predicted is not None else ""
        words += f" ({verdict.setting})" if verdict.setting else ""
    return f"{words}: {verdict.detail}" if verdict.detail else words


def result_id(diagnostics: Iterable[types.Diagnostic]) -> str:
    """A name for these very diagnostics: the same ones have the same name."""
    data = [_CONVERTER.unstructure(diagnostic) for diagnostic in diagnostics]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def by_file(problems: Iterable[Problem]) -> Mapping[str, list[types.Diagnostic]]:
    """The problems of configuration files, by the URI of the file."""
    found: dict[str, list[types.Diagnostic]] = {}
    for problem in problems:
        found.setdefault(absolute_path(problem.path).as_uri(), []).append(of_problem(problem))
    return found


def _related(step: TrailStep, documents: Documents, encoding: str) -> types.DiagnosticRelatedInformation:
    document = documents.at(step.path, step.cell)
    message = f"{step.message} → {step.unit}" if step.unit else step.message
    where = positions.to_client(step.range, document.lines, encoding)
    return types.DiagnosticRelatedInformation(types.Location(document.uri, where), message)
