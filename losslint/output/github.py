"""For GitHub Actions: a workflow command a finding, which becomes an annotation of the changed line."""

from __future__ import annotations

from collections.abc import Iterator

from losslint.check import Report
from losslint.findings import Finding, Severity
from losslint.output import paths
from losslint.output.account import account
from losslint.output.text import Line, plain

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(report: Report, width: int) -> Iterator[Line]:
    """One line a finding, and one for each path that could not be checked."""
    root = paths.repository("GITHUB_WORKSPACE")
    for finding in report.findings:
        yield plain(_command(finding, root))
    for name, message in report.unchecked:
        title, file = _property("losslint: not checked"), _property(paths.inside(name, root) or name)
        yield plain(f"::error title={title},file={file}::{_data(message)}")


def _command(finding: Finding, root: str) -> str:
    place = finding.range
    properties = {
        "title": f"losslint {finding.code} ({finding.name})",
        "file": paths.inside(finding.path, root) or finding.path,
    }
    # the lines of a notebook's file are those of its JSON
    if finding.cell is None:
        properties |= {"line": str(place.start_line), "endLine": str(place.end_line)}
        if place.start_line == place.end_line:
            # columns of a longer piece are refused
            properties |= {"col": str(place.start_column), "endColumn": str(place.end_column)}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    text = "\n".join(account(finding, say_cell=True))
    return f"::{_COMMANDS[finding.severity]} {written}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
