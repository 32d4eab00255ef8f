"""SARIF 2.1.0, as OASIS specifies it: for code scanning on a forge and viewers in an editor.

Columns count code points, which `columnKind` says. The lines of a notebook's file are those of its JSON: a finding in
a cell points to the file, and says the cell and line in words.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from losslint import __version__
from losslint.check import Report
from losslint.findings import Edit, Finding, Fix, Range, Severity, TrailStep
from losslint.fingerprints import fingerprint
from losslint.output import paths
from losslint.output.account import account, step_words
from losslint.output.json import factor_object, verdict_object
from losslint.output.text import Line, plain, where
from losslint.selection import Entry, catalogue

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_HOME = "https://github.com/losslint/losslint"
_ROOT = "%SRCROOT%"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_PROBLEMS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "recommendation"}
_LONGEST_DESCRIPTION = 1000
"""Code scanning cuts a description off a little above this."""


def render(report: Report, width: int) -> Iterator[Line]:
    """The log, indented."""
    return map(plain, json.dumps(_log(report), indent=2).split("\n"))


def _log(report: Report) -> dict[str, Any]:
    root = paths.repository("GITHUB_WORKSPACE")
    findings = list(report.findings)
    codes = {finding.code for finding in findings}
    entries = [entry for entry in catalogue() if entry.code in codes] if codes else []
    indices = {entry.code: index for index, entry in enumerate(entries)}
    driver = {
        "name": "losslint",
        "version": __version__,
        "semanticVersion": __version__,
        "informationUri": _HOME,
        "rules": [_rule(entry, findings) for entry in entries],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"uri": paths.uri(os.path.join(root, ""))}},
        "invocations": [_invocation(report, root)],
        "results": [_result(finding, indices[finding.code], root) for finding in findings],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(entry: Entry, findings: Iterable[Finding]) -> dict[str, Any]:
    page = entry.page.strip()
    lead = re.search(r"^## What it does\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    description = " ".join((lead[1] if lead else entry.summary).split())
    return {
        "id": entry.code,
        "name": entry.name,
        "shortDescription": {"text": entry.summary},
        "fullDescription": {"text": description[:_LONGEST_DESCRIPTION]},
        "help": {"text": page or entry.summary, "markdown": page or entry.summary},
        "helpUri": next(finding.url for finding in findings if finding.code == entry.code),
        "defaultConfiguration": {"level": _LEVELS[entry.severity]},
        "properties": {
            "tags": ["pytorch", f"law:{entry.law.value}"],
            "precision": "high",
            "problem.severity": _PROBLEMS[entry.severity],
        },
    }


def _invocation(report: Report, root: str) -> dict[str, Any]:
    told = [_notification("error", name, message, root) for name, message in report.unchecked]
    told += [_notification("note", file.name, note, root) for file in report.files for note in file.notes]
    return {
        "executionSuccessful": not report.failed,
        "workingDirectory": {"uri": paths.uri(os.path.join(os.getcwd(), ""))},
        "toolExecutionNotifications": told,
    }


def _notification(level: str, name: str, message: str, root: str) -> dict[str, Any]:
    location = {"physicalLocation": {"artifactLocation": _artifact(name, root)}}
    return {"level": level, "message": {"text": message}, "locations": [location]}


def _result(finding: Finding, index: int, root: str) -> dict[str, Any]:
    marks = (*finding.trail, *finding.related)
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": _message("\n".join(account(finding, say_cell=True))),
        "locations": [_location(finding.path, finding.range, finding.cell, root)],
        "partialFingerprints": {
            "losslint/v1": finding.fingerprint,
            "losslintStatement/v1": fingerprint(finding.code, "", finding.statement, 0),
        },
    }
    if marks:
        result["relatedLocations"] = [
            {"id": number, **_marked(step, root)} for number, step in enumerate(marks, start=1)
        ]
    if finding.trail:
        flow = [{"location": _marked(step, root)} for step in finding.trail]
        result["codeFlows"] = [{"threadFlows": [{"locations": flow}]}]
    if finding.fix is not None:
        fix = _fix(finding.fix, root)
        if fix is not None:
            result["fixes"] = [fix]
    result["properties"] = {
        "law": finding.law.value,
        "factor": factor_object(finding.factor),
        "cell": finding.cell,
        "verdict": verdict_object(finding.verdict),
    }
    return result


def _marked(step: TrailStep, root: str) -> dict[str, Any]:
    return {**_location(step.path, step.range, step.cell, root), "message": _message(step_words(step))}


def _location(path: str, place: Range, cell: int | None, root: str) -> dict[str, Any]:
    region = {"startLine": 1} if cell is not None else _region(place)
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": _artifact(path, root), "region": region}}
    if cell is not None:
        full = f"{where(path, cell)}:{place.start_line}:{place.start_column}"
        location["logicalLocations"] = [{"name": f"cell {cell}", "fullyQualifiedName": full}]
    return location


def _fix(fix: Fix, root: str) -> dict[str, Any] | None:
    """The fix as changes of files; None where it changes a notebook, whose text is not what the file holds."""
    if any(edit.cell is not None for edit in fix.edits):
        return None
    by_path = sorted(fix.edits, key=lambda edit: (edit.path, edit.range))
    changes = [
        {"artifactLocation": _artifact(path, root), "replacements": [_replacement(edit) for edit in edits]}
        for path, edits in groupby(by_path, key=lambda edit: edit.path)
    ]
    return {
        "description": {"text": fix.title},
        "artifactChanges": changes,
        "properties": {"applicability": fix.applicability.value},
    }


def _replacement(edit: Edit) -> dict[str, Any]:
    return {"deletedRegion": _region(edit.range), "insertedContent": {"text": edit.text}}


def _region(place: Range) -> dict[str, int]:
    return {
        "startLine": place.start_line,
        "startColumn": place.start_column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }


def _artifact(path: str, root: str) -> dict[str, str]:
    relative = paths.inside(path, root)
    if relative is not None:
        return {"uri": paths.uri(relative), "uriBaseId": _ROOT}
    return {"uri": paths.uri(os.path.abspath(path))}


def _message(text: str) -> dict[str, str]:
    # `[…](…)` would be a link
    return {"text": re.sub(r"\[([^\[\]]*)\]\(", r"\\[\1\\](", text)}
