"""A notebook's file as text: where each cell's lines stand in it, and the same file with cells rewritten.

Only the string literals of a cell's `source` are touched. Reading JSON and writing it again would lay the rest of the
file out anew, and a notebook's outputs may be megabytes.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from losslint.findings import Range
from losslint.notebooks import decoded, parse

_MARK = b"\xef\xbb\xbf"
_DECODER = json.JSONDecoder()
_GAP = re.compile(r"[ \t\r\n]*")
_CHARACTER = re.compile(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|.")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")

Span = tuple[int, int]


@dataclass(frozen=True)
class NotebookFile:
    """The text of a notebook, and for each of its cells the span of the `source` in it."""

    text: str
    sources: Mapping[int, Span]
    mark: bytes = b""

    def rewritten(self, sources: Mapping[int, str]) -> bytes:
        """The file's bytes with the sources of some cells replaced. Raises `KeyError` for a cell that is not there."""
        text = self.text
        for number in sorted(sources, reverse=True):
            start, end = self.sources[number]
            text = text[:start] + self._laid_out(start, end, sources[number]) + text[end:]
        return self.mark + text.encode("utf-8")

    def place(self, cell: int, where: Range) -> Range:
        """A place in a cell as one in the lines of the file; columns count code points."""
        start = self._position(cell, where.start_line, where.start_column)
        return Range(*start, *self._position(cell, where.end_line, where.end_column))

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]

    def _laid_out(self, start: int, end: int, source: str) -> str:
        """The literal of a cell's new source, laid out as the old one; lines that are not new keep their spelling."""
        written = self.text[start:end]
        if not written.startswith("["):
            return _literal(source, self.text)
        spans = _elements(self.text, start)
        literals = [self.text[first:last] for first, last in spans]
        known = {json.loads(literal): literal for literal in literals}
        lines = [known.get(line) or _literal(line, self.text) for line in _LINE.findall(source)]
        if not spans or not lines:
            return f"[{', '.join(lines)}]"
        opening = self.text[start : spans[0][0]]
        closing = self.text[spans[-1][1] : end]
        between = self.text[spans[0][1] : spans[1][0]] if len(spans) > 1 else f",{opening[1:]}"
        return f"{opening}{between.join(lines)}{closing}"

    def _position(self, cell: int, line: int, column: int) -> tuple[int, int]:
        offset = self._offset(cell, line, column)
        row = bisect_right(self._line_starts, offset)
        return row, offset - self._line_starts[row - 1] + 1

    def _offset(self, cell: int, line: int, column: int) -> int:
        """Where in the text a character of a cell is spelt; one behind the last is where its literal ends."""
        start, end = self.sources[cell]
        spans = [(start, end)] if self.text[start] == '"' else _elements(self.text, start)
        literals: list[str] = [json.loads(self.text[first:last]) for first, last in spans]
        source = "".join(literals)
        line_starts = [0, *(match.end() for match in re.finditer(r"\r\n?|\n", source))]
        wanted = line_starts[min(line, len(line_starts)) - 1] + column - 1
        ends = [*accumulate(map(len, literals))]
        index = min(bisect_right(ends, wanted), len(spans) - 1)
        if index < 0:
            return start
        first, last = spans[index]
        place = first + 1
        for _ in range(wanted - (ends[index] - len(literals[index]))):
            if place >= last - 1:
                break
            spelt = _CHARACTER.match(self.text, place)
            place = spelt.end() if spelt is not None else place + 1
        return place


def open_notebook(data: bytes, path: Path) -> NotebookFile:
    """The file of which `data` are the bytes. Raises `SourceError` for what is no notebook."""
    parse(data, path)
    text = decoded(data, path)
    start, _ = _members(text, _skip(text, 0))["cells"]
    sources = {}
    for number, (first, _) in enumerate(_elements(text, start), start=1):
        members = _members(text, first)
        if "source" in members:
            sources[number] = members["source"]
    return NotebookFile(text, sources, _MARK if data.startswith(_MARK) else b"")


def _literal(text: str, around: str) -> str:
    """The JSON literal of a text, in ASCII where the file around it is."""
    return json.dumps(text, ensure_ascii=around.isascii())


def _members(text: str, index: int) -> dict[str, Span]:
    """Where the values of the object at `index` stand; of a key that is there twice, the last one."""
    found: dict[str, Span] = {}
    index = _skip(text, index + 1)
    while text[index] != "}":
        key, index = _DECODER.raw_decode(text, index)
        # behind the colon
        start = _skip(text, _skip(text, index) + 1)
        _, end = _DECODER.raw_decode(text, start)
        found[key] = (start, end)
        index = _next(text, end)
    return found


def _elements(text: str, index: int) -> list[Span]:
    """Where the values of the array at `index` stand."""
    found: list[Span] = []
    index = _skip(text, index + 1)
    while text[index] != "]":
        _, end = _DECODER.raw_decode(text, index)
        found.append((index, end))
        index = _next(text, end)
    return found


def _next(text: str, index: int) -> int:
    """Behind the comma after a value, where there is one."""
    index = _skip(text, index)
    return _skip(text, index + 1) if text[index] == "," else index


def _skip(text: str, index: int) -> int:
    gap = _GAP.match(text, index)
    return index if gap is None else gap.end()
