"""Edits onto text: what a fix makes of a file's lines, and which fixes can be made together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from losslint.findings import Edit, Fix, Range

_NEWLINE = re.compile(r"\r\n?|\n")


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text after the edits, all of them of this one file (or notebook cell). They must not overlap; raises
    `ValueError` where they do or lie outside the text."""
    starts = [0, *(match.end() for match in _NEWLINE.finditer(text))]
    pieces: list[str] = []
    done = 0
    for edit in sorted(edits, key=lambda edit: edit.range):
        start = _offset(starts, len(text), edit.range.start_line, edit.range.start_column)
        end = _offset(starts, len(text), edit.range.end_line, edit.range.end_column)
        if not done <= start <= end:
            raise ValueError("edits overlap")
        pieces += [text[done:start], edit.text]
        done = end
    return "".join((*pieces, text[done:]))


def _offset(starts: Sequence[int], length: int, line: int, column: int) -> int:
    if not 1 <= line <= len(starts) or starts[line - 1] + column - 1 > length:
        raise ValueError("an edit lies outside the text")
    return starts[line - 1] + column - 1


def compatible(fixes: Iterable[Fix]) -> list[Fix]:
    """As many of the fixes, in their order, as touch no piece of text twice."""
    taken: dict[tuple[str, int | None], list[Range]] = {}
    chosen = []
    for fix in fixes:
        if any(_touch(edit.range, other) for edit in fix.edits for other in taken.get((edit.path, edit.cell), ())):
            continue
        chosen.append(fix)
        for edit in fix.edits:
            taken.setdefault((edit.path, edit.cell), []).append(edit.range)
    return chosen


def _touch(first: Range, second: Range) -> bool:
    """Whether two pieces overlap or meet: what is put in between two others depends on both."""
    first_start, first_end = (first.start_line, first.start_column), (first.end_line, first.end_column)
    second_start, second_end = (second.start_line, second.start_column), (second.end_line, second.end_column)
    return first_start <= second_end and second_start <= first_end
