"""Source files: which are worth parsing, how their bytes become text, and where their imports lead.

Nothing here imports libcst: most files of a project are turned away by the byte gate, and a run that meets no
training loop never pays for the parser.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from losslint.notebooks import Notebook

from losslint import unsaved
from losslint.contracts.hints import NO_HINTS, Hints

MAX_BYTES = 5 * 1024 * 1024
"""A larger file is generated or data; it is skipped with a note."""

NOTEBOOK_SUFFIX = ".ipynb"

_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
"""The byte-order marks of UTF-16 and UTF-32."""

_SCOPES = (b"for ", b"while ", b"def ")
_BATCHES = (b"batch", b"epoch", b"loader")
_LOSSES = (b"loss", b"Loss", b"LOSS", b"criterion", b"entropy")
_OPTIMIZERS = (b"optimizer", b".optim")
_LISTED_LAYERS = (b" = [nn.", b".append(nn.", b": nn.Linear(")
_DRAWN_WEIGHTS = (
    b"weight, std=0.",
    b"weight, 0.0, 0.",
    b"weight, mean=0.0, std=0.",
    b"weight.data.normal_(0, 0.",
    b"weight.data.normal_(0.0, 0.",
)
_LOSS_CLASSES = (b"Loss(nn.Module)", b"Loss(torch.nn.Module)", b"Loss(Module)")
_SUMS = (b"+=", b"append(", b"update(", b".item()", b"/ len(", b"/len(")


class SourceError(Exception):
    """A file that is not valid Python. `line` and `column` are 1-based, the column counts code points.

    `cell` is the cell of a notebook that they count in; None for a line of the file.
    """

    def __init__(self, path: Path, line: int, column: int, message: str, cell: int | None = None) -> None:
        super().__init__(path, line, column, message, cell)
        self.path = path
        self.line = line
        self.column = column
        self.message = message
        self.cell = cell

    def __str__(self) -> str:
        cell = "" if self.cell is None else f"cell {self.cell}:"
        return f"{self.path}:{cell}{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True)
class SourceFile:
    """A decoded file. `name` is what findings call it: posix, relative to the working directory where possible.

    `notebook` is set for one, and `text` then is its program.
    """

    path: Path
    name: str
    text: str
    notebook: Notebook | None = None

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines without their ends; line `n` of a finding is `lines[n - 1]`."""
        return split_lines(self.text)


@dataclass(frozen=True, slots=True)
class ProjectRoots:
    """The folders that an absolute import of a file may start from, nearest meaning first; and what is taught there."""

    roots: tuple[Path, ...]
    hints: Hints = NO_HINTS


def is_notebook(path: str | Path) -> bool:
    """Whether the file is read as a notebook, told from its name."""
    return str(path).endswith(NOTEBOOK_SUFFIX)


def split_lines(text: str) -> tuple[str, ...]:
    """Split where Python ends a line (`\\n`, `\\r\\n`, `\\r`), and only there: a form feed is no line end."""
    return tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def worth_parsing(data: bytes, taught: tuple[bytes, ...] = ()) -> bool:
    """Whether an analysis that starts in this file can find anything, told from a few literals.

    `taught` are names that the project's configuration says something of.

    The gradient laws need a `backward(` that is called (a file of autograd functions only defines it), that a
    framework calls after `training_step` or `compute_loss`, or that a loop reaches in another file; such a loop holds
    an optimizer and runs over epochs or a loader. The report law also holds where nothing is backpropagated: in
    evaluation loops, and in meters and metrics classes that never import torch. They speak of batches, epochs or
    loaders, and have a line that adds up or averages a loss. A file of models is worth it where it lists layers,
    draws weights of a size that is written down, or defines a loss of its own.
    """
    if data.startswith(_WIDE_MARKS):
        # no word can be told in it, and nothing can run it: it is not to pass for a clean file
        return True
    if not any(word in data for word in _SCOPES):
        return False
    if data.count(b"backward(") > data.count(b"def backward(") or b"training_step(" in data:
        return True
    if b"def compute_loss(" in data and b"return_outputs" in data:
        return True
    if b"Module)" in data and any(word in data for word in (*_LISTED_LAYERS, *_DRAWN_WEIGHTS, *_LOSS_CLASSES)):
        return True
    if any(word in data for word in taught):
        return True
    if not any(word in data for word in _BATCHES):
        return False
    loops = b"for " in data and (b"loader" in data or b"epoch" in data)
    if loops and any(word in data for word in _OPTIMIZERS):
        return True
    return any(_sums(data, word) for word in _LOSSES)


def worth_opening(data: bytes, taught: tuple[bytes, ...] = ()) -> bool:
    """Whether the code inside a notebook can pass `worth_parsing`, told from the bytes of its file.

    JSON leaves these words as they are, and cuts up everything else: lines, quotes, what stands behind a line end.
    """
    if not any(word in data for word in _SCOPES):
        return False
    return b"backward(" in data or b"training_step(" in data or any(word in data for word in (*_LOSSES, *taught))


def _sums(data: bytes, loss: bytes) -> bool:
    """Whether a line that holds the word `loss` sums or averages."""
    found = data.find(loss)
    while found >= 0:
        end = data.find(b"\n", found)
        end = len(data) if end < 0 else end
        line = data[data.rfind(b"\n", 0, found) + 1 : end]
        target, _, value = line.partition(b" = ")
        if any(mark in line for mark in _SUMS) or target.strip() + b" + " in value:
            return True
        found = data.find(loss, end)
    return False


def read(path: str | Path, limit: int = MAX_BYTES) -> bytes | None:
    """The bytes of a file, or None where it is larger than `limit`. Raises `OSError`."""
    data = unsaved.text_of(path)
    if data is None:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    return None if len(data) > limit else data


def decode(data: bytes, path: Path) -> str:
    """The text of a file as Python would read it: byte-order mark, PEP 263 declaration, UTF-8 else; line ends are kept.

    Raises `SourceError` at the first byte that cannot be read.
    """
    encoding = "utf-8-sig"
    if data.startswith(_WIDE_MARKS):
        raise SourceError(path, 1, 1, "the file is UTF-16 or UTF-32, which Python does not read")
    head = data[:400].split(b"\n", 2)[:2]
    if any(b"coding" in line for line in head):
        encoding = _declared(data, path)
    if b"\0" in data:
        raise error_at(data, data.index(b"\0"), path, "source code cannot contain NUL bytes")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"invalid {error.encoding} text: {error.reason}"
        # the object of a byte-order-marked file is what follows the mark
        start = error.start + len(data) - len(error.object)
        raise error_at(data, start, path, message) from None
    except (LookupError, UnicodeError) as error:
        raise SourceError(path, 1, 1, f"cannot decode as {encoding}: {error}") from None


def encode(text: str) -> bytes:
    """Bytes that `decode` turns into this text again, in the encoding that the text declares."""
    data = text.encode(errors="replace")
    if b"coding" in data[:400]:
        try:
            return text.encode(_declared(data, Path()), errors="replace")
        except (SourceError, LookupError, UnicodeError):
            # `decode` will say what is wrong with the declaration
            pass
    return data


def load(path: str | Path) -> tuple[str, ...]:
    """The lines of a file for showing them: what cannot be read is left out, what cannot be decoded is replaced."""
    try:
        data = read(path)
    except OSError:
        return ()
    if data is None:
        return ()
    try:
        return split_lines(decode(data, Path(path)))
    except SourceError:
        return split_lines(data.decode("utf-8-sig", errors="replace"))


def project_roots(
    path: Path, project: Path | None, configured: tuple[Path, ...], hints: Hints = NO_HINTS
) -> ProjectRoots:
    """The import roots of the file at `path`.

    `configured` source roots win; else the folder of the nearest `pyproject.toml` (`project`) and its `src`. The
    parent of the file's outermost package and the file's own folder follow, since a script imports its neighbours.
    """
    found = list(configured)
    if not configured and project is not None:
        found.append(project)
        source = project / "src"
        if source.is_dir():
            found.append(source)
    package = path.parent
    while package.parent != package and os.path.isfile(package / "__init__.py"):
        package = package.parent
    found += [package, path.parent]
    return ProjectRoots(tuple(dict.fromkeys(found)), hints)


def _declared(data: bytes, path: Path) -> str:
    """The encoding that a PEP 263 comment declares, UTF-8 without one."""
    import io
    import tokenize

    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:
        raise SourceError(path, 1, 1, str(error.msg or error)) from None
    return "utf-8-sig" if encoding in ("utf-8", "utf-8-sig") else encoding


def error_at(data: bytes, index: int, path: Path, message: str) -> SourceError:
    """The error at one byte of a file."""
    before = data[:index].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line_start = before.rfind(b"\n") + 1
    column = len(before[line_start:].decode("utf-8-sig", errors="replace")) + 1
    return SourceError(path, before.count(b"\n") + 1, column, message)
