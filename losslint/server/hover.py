"""What is shown at a place: the unit of a loss with its trail, the findings of the line, the rule a comment names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lsprotocol import types

from losslint import selection
from losslint.findings import Finding, Range, TrailStep
from losslint.server import positions
from losslint.server.board import Known
from losslint.server.documents import Document, Documents, absolute_path
from losslint.sightings import NamedUnit
from losslint.suppressions import suppressions

_WORD = re.compile(r"[\w-]+")


def at(known: Known, document: Document, place: tuple[int, int], encoding: str) -> types.Hover | None:
    """What there is to show at a line and column (1-based)."""
    named = _named(known.units or (), document, place)
    parts: list[str] = []
    where: Range | None = None
    if named:
        where = named[0].range
        parts.append(unit_text(named, document, known.documents))
    entry = _suppressed(document, place)
    if entry is not None:
        parts.append(_summary(entry))
    for finding in known.findings.get(document.uri, ()):
        if finding.range.start_line <= place[0] <= finding.range.end_line:
            where = where or finding.range
            parts.append(_finding(finding))
    if not parts:
        return None
    shown = None if where is None else positions.to_client(where, document.lines, encoding)
    return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, "\n\n---\n\n".join(parts)), shown)


def unit_text(named: Iterable[NamedUnit], document: Document, documents: Documents) -> str:
    """A name with its unit and trail; where runs differ, with each of its units."""
    shown = []
    for one in named:
        name = document.lines[one.range.start_line - 1][one.range.start_column - 1 : one.range.end_column - 1]
        trail = "\n".join(f"- {_place(step, document)}: {step.message} → `{step.unit}`" for step in one.trail)
        shown.append(f"```text\n{name}: {one.unit}\n```\n{trail}")
    return "\n\nor, on another path:\n\n".join(dict.fromkeys(shown))


def named_in(units: Iterable[NamedUnit], document: Document) -> Iterator[NamedUnit]:
    """The named losses that stand in a document."""
    for one in units:
        if one.cell == document.cell and absolute_path(one.path) == document.path:
            yield one


def _named(units: Iterable[NamedUnit], document: Document, place: tuple[int, int]) -> list[NamedUnit]:
    """The named losses at a place: those of the shortest name, which stands inside the others."""
    here = [
        one
        for one in named_in(units, document)
        if (one.range.start_line, one.range.start_column) <= place <= (one.range.end_line, one.range.end_column)
    ]
    shortest = min((one.range.end_column - one.range.start_column for one in here), default=0)
    return [one for one in here if one.range.end_column - one.range.start_column == shortest]


def _place(step: TrailStep, document: Document) -> str:
    """Where a line of the trail stands, as seen from a document."""
    line = f"line {step.range.start_line}"
    if absolute_path(step.path) != document.path:
        return f"{step.path}, {line}"
    return line if step.cell == document.cell else f"cell {step.cell}, {line}"


def _suppressed(document: Document, place: tuple[int, int]) -> selection.Entry | None:
    """The code or name under the cursor in a suppression comment."""
    line, column = place
    for comment in suppressions(document.text) if "losslint:" in document.lines[line - 1] else ():
        if comment.range.start_line == line and comment.range.start_column <= column <= comment.range.end_column:
            for word in _WORD.finditer(document.lines[line - 1]):
                if word.start() + 1 <= column <= word.end() + 1 and word.group() in comment.codes:
                    try:
                        return selection.find(word.group())
                    except selection.SelectorError:
                        return None
    return None


def _summary(entry: selection.Entry) -> str:
    what = re.search(r"## What it does\n(.*?)(?=\n## |\Z)", entry.page, re.DOTALL)
    return f"**{entry.code} {entry.name}**: {entry.summary}\n\n{what.group(1).strip() if what else ''}".rstrip()


def _finding(finding: Finding) -> str:
    entry = selection.find(finding.code)
    text = f"**{finding.code} [{finding.name}]({finding.url})** ({finding.severity.label}): {finding.message}"
    if finding.help:
        text += f"\n\nhelp: {finding.help}"
    return f"{text}\n\n{entry.summary}"
