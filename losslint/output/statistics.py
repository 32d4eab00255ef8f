"""How often each code was found, in place of the findings: a table, or a JSON array."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from losslint.check import Report
from losslint.output.text import Line, plain, summary


def render(report: Report, as_json: bool) -> Iterator[Line]:
    """One line a code, most often found first, and how the run ended; or an array of objects."""
    found = Counter((finding.code, finding.name) for finding in report.findings)
    counts = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    if as_json:
        array = [{"code": code, "name": name, "count": number} for (code, name), number in counts]
        yield from map(plain, json.dumps(array, indent=2).split("\n"))
        return
    for (code, name), number in counts:
        yield plain(f"{number:>6}  {code}  {name}")
    yield summary(report)
