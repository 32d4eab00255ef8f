"""The report of an observed run: for a terminal, and as a picture. Free of torch."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from losslint.findings import Severity
from losslint.output.text import SEVERITY_STYLES, Line, Style, clip, counted, escape, shown
from losslint.runtime.observe.facts import Fact
from losslint.source import load


def render(result: dict[str, Any], facts: Sequence[Fact], width: int) -> Iterator[Line]:
    """Every fact with its line of code, then what was not judged, then what was watched."""
    for fact in facts:
        yield from _fact(fact, width)
        yield ()
    for note in result["notes"]:
        yield (("note: ", Style.STRONG), (escape(note), Style.PLAIN))
    if result["trouble"]:
        yield (("note: ", Style.STRONG), (escape(f"the script failed: {result['trouble']}"), Style.PLAIN))
    yield _summary(result, facts)


def _fact(fact: Fact, width: int) -> Iterator[Line]:
    style = SEVERITY_STYLES[fact.severity]
    head = f"{fact.severity.label}[{fact.code}] {fact.name}" if fact.code else f"{fact.severity.label}: {fact.name}"
    yield ((head, style), (f": {escape(fact.message)}", Style.STRONG))
    gutter = 1
    if fact.place is not None:
        gutter = len(str(fact.place.line))
        yield (
            (f"{' ' * gutter}--> ", Style.FRAME),
            (f"{escape(_relative(fact.place.path))}:{fact.place.line}", Style.PLAIN),
        )
        yield from _code(fact.place.path, fact.place.line, width, style)
    if fact.of > 1:
        yield _note(gutter, "seen", f"{fact.seen} of {fact.of} times")
    if fact.code and _has_page(fact.code):
        yield _note(gutter, "page", f"losslint explain {fact.code}")


def _code(path: str, number: int, width: int, style: Style) -> Iterator[Line]:
    source = load(path)
    text = source[number - 1] if number <= len(source) else ""
    drawn, _ = shown(text.rstrip())
    indent = len(drawn) - len(drawn.lstrip())
    gutter = len(str(number))
    visible, moved = clip(drawn, indent, len(drawn), max(width - gutter - 3, 20))
    yield ((f"{' ' * gutter} |", Style.FRAME),)
    yield ((f"{number} | ", Style.FRAME), (visible, Style.PLAIN))
    start = max(indent - moved, 0)
    yield ((f"{' ' * gutter} | ", Style.FRAME), (" " * start, Style.PLAIN), ("^" * max(len(visible) - start, 1), style))


def _note(gutter: int, word: str, text: str) -> Line:
    return ((f"{' ' * gutter} = ", Style.FRAME), (f"{word}: ", Style.STRONG), (escape(text), Style.PLAIN))


def _summary(result: dict[str, Any], facts: Sequence[Fact]) -> Line:
    watched = f"{counted(result['steps'], 'optimizer step')} and {counted(result['backwards'], 'backward')} watched"
    by_severity = Counter(fact.severity for fact in facts)
    if not facts:
        return ((f"All clear: {watched}" if result["steps"] else f"Nothing seen: {watched}", Style.GOOD),)
    parts = [
        f"{by_severity[severity]} info" if severity is Severity.INFO else counted(by_severity[severity], severity.label)
        for severity in sorted(by_severity, reverse=True)
    ]
    return ((f"Found {', '.join(parts)}; {watched}", Style.STRONG),)


def _relative(path: str) -> str:
    """As a user would type it, where the file is below the working directory."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _has_page(code: str) -> bool:
    from losslint import selection

    try:
        selection.find(code)
    except selection.SelectorError:
        return False
    return True
