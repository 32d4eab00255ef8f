"""How often each code was found, in place of the findings: a table, a JSON array, or JSON objects line by line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from losslint.check import Report
from losslint.output.text import Line, plain, summary

FORMATS = frozenset({"full", "concise", "grouped", "json", "json-lines"})
"""The formats that have a place for it."""


def render(report: Report, name: str) -> Iterator[Line]:
    """One line a code, most often found first, and how the run ended; or objects for programs."""
    found = Counter((finding.code, finding.name) for finding in report.findings)
    counts = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    objects = [{"code": code, "name": name, "count": number} for (code, name), number in counts]
    if name == "json":
        yield from map(plain, json.dumps(objects, indent=2).split("\n"))
    elif name == "json-lines":
        yield from map(plain, map(json.dumps, objects))
    else:
        for (code, title), number in counts:
            yield plain(f"{number:>6}  {code}  {title}")
        yield summary(report)
