"""Findings to one format a file: each module here holds `render`, which reads a `Report` and nothing of the rules."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from losslint.check import Report
    from losslint.output.text import Line

FORMATS = {
    "full": "losslint.output.full",
    "concise": "losslint.output.concise",
    "grouped": "losslint.output.grouped",
    "json": "losslint.output.json",
    "json-lines": "losslint.output.json_lines",
    "lsp": "losslint.output.lsp",
    "sarif": "losslint.output.sarif",
    "github": "losslint.output.github",
    "gitlab": "losslint.output.gitlab",
    "junit": "losslint.output.junit",
    "rdjson": "losslint.output.rdjson",
}
"""Every output format and the module that renders it."""

WITH_FIXES = frozenset(FORMATS) - {"lsp", "github", "gitlab", "junit"}
"""Those that say what can be fixed: only they need the fixes to be worked out."""

MACHINE_FORMATS = frozenset(FORMATS) - {"full", "concise", "grouped"}
"""Read by programs: never coloured, and nothing but data on standard output."""


def render(name: str, report: Report, width: int) -> Iterator[Line]:
    """The report in the format `name`, line by line; `width` is how many cells a line of code may take."""
    function: Callable[[Report, int], Iterable[Line]] = importlib.import_module(FORMATS[name]).render
    yield from function(report, width)
