"""The lines that places point into, for formats that do not count columns in code points."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from losslint.findings import Range
from losslint.notebooks import lines_of
from losslint.source import SourceError

if TYPE_CHECKING:
    from losslint.notebookfile import NotebookFile


@dataclass(slots=True)
class Texts:
    """The lines of the files, and of the cells of notebooks, that were asked for, each read once."""

    known: dict[tuple[str, int | None], tuple[str, ...]] = field(default_factory=dict)
    notebooks: dict[str, NotebookFile] = field(default_factory=dict)

    def in_file(self, path: str, cell: int | None, place: Range) -> Range:
        """A place in a cell as one in the lines of the notebook's file, which is all that a URI can name. A notebook
        that is gone by now has no lines: the place stays as it is."""
        if cell is None:
            return place
        if path not in self.notebooks:
            from losslint.notebookfile import open_notebook

            try:
                self.notebooks[path] = open_notebook(Path(path).read_bytes(), Path(path))
            except (OSError, SourceError):
                return place
        return self.notebooks[path].place(cell, place)

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
