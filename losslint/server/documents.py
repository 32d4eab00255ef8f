"""What the client has open: Python files, and notebooks cell by cell, as they were at one moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lsprotocol import types
from pygls.uris import to_fs_path
from pygls.workspace import TextDocument, Workspace

from losslint.source import encode, load, split_lines

SUFFIXES = (".py", ".pyi", ".pyw")


@dataclass(frozen=True)
class Document:
    """A text that the client shows: a file, or one cell of a notebook (`cell` counts all cells, from 1).

    `version` is None for a file that is not open: then the text is that of the disk.
    """

    uri: str
    path: Path
    text: str
    version: int | None
    cell: int | None = None

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines without their ends."""
        return split_lines(self.text)


class Documents:
    """Everything that is open at one moment."""

    def __init__(self, workspace: Workspace) -> None:
        self._documents: dict[tuple[Path, int | None], Document] = {}
        self._by_uri: dict[str, Document] = {}
        self.texts: dict[Path, bytes] = {}
        """What each open file holds; a notebook as the file that it would be saved as."""
        cells = _cells(workspace)
        for document in workspace.text_documents.values():
            if document.uri not in cells and is_python(document):
                path = path_of(document.uri)
                if path is not None:
                    self._add(Document(document.uri, path, document.source, document.version))
                    self.texts[path] = encode(document.source)
        for notebook in workspace.notebook_documents.values():
            path = path_of(notebook.uri)
            if path is not None:
                for number, cell in enumerate(notebook.cells, start=1):
                    code = _code(cell, workspace)
                    if code is not None:
                        self._add(Document(cell.document, path, code.source, code.version, number))
                self.texts[path] = _notebook(notebook, workspace)

    def _add(self, document: Document) -> None:
        self._documents[document.path, document.cell] = document
        self._by_uri[document.uri] = document

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents.values())

    def by_uri(self, uri: str) -> Document | None:
        """The open document of a URI."""
        return self._by_uri.get(uri)

    def at(self, path: str, cell: int | None) -> Document:
        """The document in which a place lies; a file that is not open is read."""
        absolute = absolute_path(path)
        known = self._documents.get((absolute, cell))
        if known is None:
            known = Document(absolute.as_uri(), absolute, "\n".join(load(absolute)), None, cell)
            self._documents[absolute, cell] = known
        return known


def absolute_path(path: str | Path) -> Path:
    """The file that a finding names, without looking at the disk."""
    return Path(os.path.abspath(path))


def is_python(document: TextDocument) -> bool:
    """Whether a document is a Python file: the client's word, or its name where the client says nothing."""
    if document.language_id is not None:
        return document.language_id == "python"
    return str(document.path).endswith(SUFFIXES)


def path_of(uri: str) -> Path | None:
    """The file of a URI, which need not exist; None for what is no file and will be none."""
    scheme = uri.partition(":")[0]
    if scheme == "untitled":
        # relative imports of a new file mean nothing yet; absolute ones are looked for from the working directory
        return absolute_path(Path(uri.partition(":")[2]).name)
    path = to_fs_path(uri) if scheme == "file" else None
    return None if path is None else absolute_path(path)


def _cells(workspace: Workspace) -> set[str]:
    return {cell.document for notebook in workspace.notebook_documents.values() for cell in notebook.cells}


def _code(cell: types.NotebookCell, workspace: Workspace) -> TextDocument | None:
    """The text of a Python cell; others are not sent, or are of no interest."""
    document: TextDocument | None = workspace.text_documents.get(unquote(cell.document))
    if document is None or cell.kind != types.NotebookCellKind.Code or not is_python(document):
        return None
    return document


def _notebook(notebook: types.NotebookDocument, workspace: Workspace) -> bytes:
    """The notebook as a file, without what no analysis reads."""
    cells: list[dict[str, Any]] = []
    for cell in notebook.cells:
        document = _code(cell, workspace)
        if document is None:
            cells.append({"cell_type": "markdown", "metadata": {}, "source": ""})
        else:
            cells.append({"cell_type": "code", "metadata": {}, "source": document.source})
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode(errors="replace")
