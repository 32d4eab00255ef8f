"""For GitLab's Code Quality report: one JSON array with an issue a finding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from losslint.check import Report
from losslint.findings import Finding, Severity
from losslint.output import paths
from losslint.output.account import account
from losslint.output.text import Line, plain

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.INFO: "info"}


def render(report: Report, width: int) -> Iterator[Line]:
    """The array, indented."""
    root = paths.repository("CI_PROJECT_DIR")
    return map(plain, json.dumps([_issue(finding, root) for finding in report.findings], indent=2).split("\n"))


def _issue(finding: Finding, root: str) -> dict[str, Any]:
    message, *rest = account(finding, say_cell=True)
    place = finding.range
    # the lines of the file are those of a notebook's JSON
    lines = {"begin": place.start_line, "end": place.end_line} if finding.cell is None else {"begin": 1}
    return {
        "description": f"{finding.code} {message}",
        "check_name": finding.name,
        "fingerprint": finding.fingerprint,
        "severity": _SEVERITIES[finding.severity],
        "categories": ["Bug Risk"],
        "content": {"body": "\n\n".join([*rest, finding.url])},
        "location": {"path": paths.inside(finding.path, root) or finding.path, "lines": lines},
    }
