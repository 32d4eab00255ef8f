"""Places as losslint counts them (1-based, code points) and as the client does (0-based, in its encoding's units)."""

from __future__ import annotations

from collections.abc import Sequence

from lsprotocol import types

from losslint.findings import Range

_UTF8 = (0x80, 0x800, 0x10000)
_UTF16 = (0x10000,)
_WIDER: dict[str, tuple[int, ...]] = {"utf-8": _UTF8, "utf-16": _UTF16, "utf-32": ()}
"""From which code points on a character takes one unit more."""


def to_client(place: Range, lines: Sequence[str], encoding: str) -> types.Range:
    """A range of ours in the client's units; `lines` are those of the text, without their ends."""
    return types.Range(
        _to_client(place.start_line, place.start_column, lines, encoding),
        _to_client(place.end_line, place.end_column, lines, encoding),
    )


def from_client(position: types.Position, lines: Sequence[str], encoding: str) -> tuple[int, int]:
    """The line and column of a position; one that lies behind the end of its line or text is the end."""
    if position.line >= len(lines):
        return max(len(lines), 1), len(lines[-1]) + 1 if lines else 1
    line = lines[position.line]
    if line.isascii():
        return position.line + 1, min(position.character, len(line)) + 1
    left, column = position.character, 0
    for character in line:
        left -= _units(character, encoding)
        if left < 0:
            break
        column += 1
    return position.line + 1, column + 1


def range_from_client(place: types.Range, lines: Sequence[str], encoding: str) -> Range:
    """A range of the client as one of ours."""
    return Range(*from_client(place.start, lines, encoding), *from_client(place.end, lines, encoding))


def _to_client(line: int, column: int, lines: Sequence[str], encoding: str) -> types.Position:
    before = lines[line - 1][: column - 1] if line <= len(lines) else ""
    # what lies behind the text is kept: the end of a file that has become shorter
    extra = 0 if before.isascii() else sum(_units(character, encoding) - 1 for character in before)
    return types.Position(line - 1, column - 1 + extra)


def _units(character: str, encoding: str) -> int:
    return 1 + sum(character >= chr(bound) for bound in _WIDER[encoding])
