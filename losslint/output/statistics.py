"""How often each code was found, in place of the findings: a table, a JSON array, or JSON objects line by line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from losslint.check import Report
from losslint.findings import Outcome
from losslint.output.text import Line, plain, summary

FORMATS = frozenset({"full", "concise", "grouped", "json", "json-lines"})
"""The formats that have a place for it."""


def render(report: Report, name: str) -> Iterator[Line]:
    """One line a code, most often found first, and how the run ended; or objects for programs."""
    found = Counter((finding.code, finding.name) for finding in report.findings)
    counts = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    verdicts = _verdicts(report)
    objects = [
        {"code": code, "name": title, "count": number, **({"verdicts": verdicts[code]} if code in verdicts else {})}
        for (code, title), number in counts
    ]
    if name == "json":
        yield from map(plain, json.dumps(objects, indent=2).split("\n"))
    elif name == "json-lines":
        yield from map(plain, map(json.dumps, objects))
    else:
        for (code, title), number in counts:
            told = ", ".join(f"{times} {outcome}" for outcome, times in verdicts.get(code, {}).items())
            yield plain(f"{number:>6}  {code}  {title}" + (f"  ({told})" if told else ""))
        yield summary(report)


def _verdicts(report: Report) -> dict[str, dict[str, int]]:
    """How often each outcome was reached, code by code; empty where nothing was verified."""
    counts: dict[str, dict[str, int]] = {}
    for finding in report.findings:
        if finding.verdict is not None:
            outcomes = counts.setdefault(finding.code, {outcome.value: 0 for outcome in Outcome})
            outcomes[finding.verdict.outcome.value] += 1
    return counts
