"""Jupyter notebooks: the code cells as one program, and places of that program as places in cells.

A cell's number is its position among all cells of the notebook, Markdown included, from 1: what editors count, and
what ruff prints. Lines and columns are those of the cell. What only IPython understands is masked in place, so that
columns stay; cells in another language are left out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from losslint import source
from losslint.findings import Edit, Finding, Fix, Range, TrailStep
from losslint.source import SourceError, split_lines
from losslint.wording import lowered

MAX_BYTES = 256 * 1024 * 1024
"""A larger notebook is skipped with a note. The outputs make its size: `source.MAX_BYTES` bounds the code in it."""

_PYTHON = frozenset({"python", "python3", "ipython", "ipython3"})
_OTHER_KERNELS = ("ir", "julia")

_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE = re.compile(r"\bline ([0-9]+)\b")
_VISIBLE = re.compile(r"[^\r\n]")


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell. `source` is as written, `text` what is analysed of it, `first_line` its first in the program."""

    number: int
    source: str
    text: str
    first_line: int


@dataclass(frozen=True)
class Notebook:
    """The Python cells of a notebook, in order."""

    cells: tuple[Cell, ...]

    @cached_property
    def text(self) -> str:
        """The program: the cells one after the other."""
        return "".join(cell.text for cell in self.cells)

    @cached_property
    def _first_lines(self) -> list[int]:
        return [cell.first_line for cell in self.cells]

    def cell_at(self, line: int) -> Cell:
        """The cell that holds a line of the program."""
        return self.cells[max(bisect_right(self._first_lines, line) - 1, 0)]

    def place(self, where: Range) -> tuple[int, Range]:
        """The cell of a place in the program, and the place in the cell."""
        cell = self.cell_at(where.start_line)
        before = cell.first_line - 1
        return cell.number, replace(where, start_line=where.start_line - before, end_line=where.end_line - before)

    def line_name(self, line: int) -> str:
        """What a message calls a line of the program."""
        cell = self.cell_at(line)
        return f"cell {cell.number}, line {line - cell.first_line + 1}"

    def located(self, finding: Finding, path: str) -> Finding:
        """A finding in the program, called `path`, as one in its cells: the finding, its trail and its fix, each where
        it is of this file. The finding itself may be in a module that the notebook imports."""
        cell, where = self.place(finding.range) if finding.path == path else (finding.cell, finding.range)
        return replace(
            finding,
            cell=cell,
            range=where,
            trail=tuple(self._step(step, path) for step in finding.trail),
            related=tuple(self._step(step, path) for step in finding.related),
            fix=None if finding.fix is None else self.located_fix(finding.fix, path),
        )

    def joined(self, finding: Finding) -> Finding:
        """A finding in cells as one in the program, without its fix: what `located` was given."""
        return replace(
            finding,
            cell=None,
            range=self._in_program(finding.range, finding.cell),
            trail=tuple(self._joined(step, finding.path) for step in finding.trail),
            related=tuple(self._joined(step, finding.path) for step in finding.related),
            fix=None,
        )

    def told(self, text: str) -> str:
        """A message about lines of the program as one about lines of its cells."""
        return _LINE.sub(lambda match: self.line_name(int(match[1])), text)

    def located_fix(self, fix: Fix, path: str) -> Fix | None:
        """A fix of the program, called `path` in it, as one of its cells; None where an edit goes over several."""
        edits = [edit if edit.path != path else self._edit(edit) for edit in fix.edits]
        within = tuple(edit for edit in edits if edit is not None)
        return replace(fix, edits=within) if len(within) == len(edits) else None

    def without(self, numbers: Iterable[int]) -> Notebook:
        """The notebook with some cells blank: nothing else moves."""
        gone = frozenset(numbers)
        return Notebook(
            tuple(
                replace(cell, text=_VISIBLE.sub(" ", cell.text)) if cell.number in gone else cell for cell in self.cells
            )
        )

    def _step(self, step: TrailStep, path: str) -> TrailStep:
        if step.path != path:
            return step
        cell, where = self.place(step.range)
        return replace(step, cell=cell, range=where)

    def _joined(self, step: TrailStep, path: str) -> TrailStep:
        return step if step.path != path else replace(step, cell=None, range=self._in_program(step.range, step.cell))

    def _in_program(self, where: Range, number: int | None) -> Range:
        before = next((cell.first_line for cell in self.cells if cell.number == number), 1) - 1
        return replace(where, start_line=where.start_line + before, end_line=where.end_line + before)

    def _edit(self, edit: Edit) -> Edit | None:
        number, where = self.place(edit.range)
        lines = split_lines(self.cell_at(edit.range.start_line).source)
        if where.end_line > len(lines) + 1:
            return None
        edit = replace(edit, cell=number, range=where)
        return edit if where.end_line <= len(lines) else _at_end(edit, lines)


def _at_end(edit: Edit, lines: tuple[str, ...]) -> Edit:
    """An edit that reaches behind the last line of a cell, which has no line end: the one before it goes instead."""
    where = edit.range
    start, end = (where.start_line, where.start_column), (len(lines), len(lines[-1]) + 1)
    text = edit.text.removesuffix("\n").removesuffix("\r")
    if start > end:
        start, text = end, f"\n{text}"
    elif not text and where.start_column == 1 and where.start_line > 1:
        start = (where.start_line - 1, len(lines[where.start_line - 2]) + 1)
    return replace(edit, range=Range(*start, *end), text=text)


# ---------------------------------------------------------------- reading


def from_cells(sources: Iterable[tuple[int, str]]) -> Notebook:
    """The notebook of code cells that are at hand, each with its number: what an editor holds."""
    from losslint.magics import masked

    cells = []
    line = 1
    for number, written in sources:
        text = masked(written)
        if text is None:
            continue
        text = _SURROGATE.sub("\ufffd", text) + "\n"
        if split_lines(written)[-1]:
            # what is put in behind the last line of a cell must not land in the next one
            text += "\n"
        cells.append(Cell(number, written, text, line))
        line += len(split_lines(text)) - 1
    return Notebook(tuple(cells))


def parse(data: bytes, path: Path) -> Notebook | None:
    """The notebook of a file's bytes; None where its language is not Python.

    Raises `SourceError` for what is no notebook of format 4, with the line of the file.
    """
    import json

    text = decoded(data, path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceError(path, error.lineno, error.colno, f"not a notebook: {lowered(error.msg)}") from None
    except (ValueError, RecursionError) as error:
        raise SourceError(path, 1, 1, f"not a notebook: {lowered(str(error))}") from None
    if not isinstance(content, dict):
        raise SourceError(path, 1, 1, "not a notebook: the file holds no JSON object")
    version = content.get("nbformat", 4)
    if "worksheets" in content or not isinstance(version, int) or version < 4:
        line = text[: max(text.find('"nbformat"'), 0)].count("\n") + 1
        message = f"a notebook of format {version} is not read; `jupyter nbconvert --to notebook --inplace` renews it"
        raise SourceError(path, line, 1, message)
    cells = content.get("cells")
    if not isinstance(cells, list):
        raise SourceError(path, 1, 1, "not a notebook: it has no list of `cells`")
    if not _is_python(content.get("metadata")):
        return None
    return from_cells(_code_cells(cells, path))


def lines_of(path: str, cell: int | None) -> tuple[str, ...]:
    """The lines of a file, or of a notebook's cell, for showing them; none where it cannot be read."""
    if cell is None:
        return source.load(path)
    try:
        data = source.read(path, MAX_BYTES)
        notebook = None if data is None else parse(data, Path(path))
    except (OSError, SourceError):
        return ()
    found = [one.source for one in notebook.cells if one.number == cell] if notebook is not None else []
    return split_lines(found[0]) if found else ()


def decoded(data: bytes, path: Path) -> str:
    """The text of a notebook's file, without its byte-order mark. Raises `SourceError`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = error.start + len(data) - len(error.object)
        raise source.error_at(data, start, path, f"invalid utf-8 text: {error.reason}") from None


def _code_cells(cells: list[Any], path: Path) -> Iterator[tuple[int, str]]:
    for number, cell in enumerate(cells, start=1):
        if not isinstance(cell, dict):
            raise SourceError(path, 1, 1, f"not a notebook: cell {number} is no object")
        if cell.get("cell_type") != "code" or not _is_python_cell(cell):
            continue
        lines = cell.get("source", "")
        if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
            lines = "".join(lines)
        if not isinstance(lines, str):
            raise SourceError(path, 1, 1, f"not a notebook: the `source` of cell {number} is no text")
        if "\0" in lines:
            line = lines[: lines.index("\0")].count("\n") + 1
            raise SourceError(path, line, 1, "source code cannot contain NUL bytes", number)
        yield number, lines


def _is_python(metadata: object) -> bool:
    language = _inside(metadata, "language_info", "name") or _inside(metadata, "kernelspec", "language")
    if isinstance(language, str):
        return language.lower() in _PYTHON
    kernel = _inside(metadata, "kernelspec", "name")
    return not isinstance(kernel, str) or kernel.lower().partition("-")[0] not in _OTHER_KERNELS


def _is_python_cell(cell: dict[str, Any]) -> bool:
    """Whether an editor that mixes languages in one notebook calls the cell Python."""
    language = _inside(cell.get("metadata"), "vscode", "languageId")
    return not isinstance(language, str) or language.lower() in _PYTHON


def _inside(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
