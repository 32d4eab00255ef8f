"""The lines that places point into, for formats that do not count columns in code points."""

from __future__ import annotations

from dataclasses import dataclass, field

from losslint.notebooks import lines_of


@dataclass(slots=True)
class Texts:
    """The lines of the files, and of the cells of notebooks, that were asked for, each read once."""

    known: dict[tuple[str, int | None], tuple[str, ...]] = field(default_factory=dict)

    def utf16(self, path: str, cell: int | None, line: int, column: int) -> int:
        """How many UTF-16 code units stand before a 1-based code-point column."""
        return column - 1 + sum(character > "\uffff" for character in self._before(path, cell, line, column))

    def utf8(self, path: str, cell: int | None, line: int, column: int) -> int:
        """How many bytes of UTF-8 stand before a 1-based code-point column."""
        before = self._before(path, cell, line, column)
        return column - 1 - len(before) + len(before.encode(errors="surrogatepass"))

    def _before(self, path: str, cell: int | None, line: int, column: int) -> str:
        """What makes the count differ: the text before the column, or nothing where all of it is ASCII."""
        home = (path, cell)
        if home not in self.known:
            self.known[home] = lines_of(path, cell)
        lines = self.known[home]
        before = lines[line - 1][: column - 1] if line <= len(lines) else ""
        return "" if before.isascii() else before
