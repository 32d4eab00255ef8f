"""Texts that are not on disk: the buffers of an editor, standard input. Whoever asks for a file's content asks here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_TEXTS: ContextVar[Mapping[str, bytes] | None] = ContextVar("_TEXTS", default=None)


@contextmanager
def unsaved(texts: Mapping[Path, bytes]) -> Iterator[None]:
    """Inside, the files of `texts` (absolute paths) hold these bytes, whatever the disk says, even if it lacks them."""
    token = _TEXTS.set({os.fspath(path): data for path, data in texts.items()})
    try:
        yield
    finally:
        _TEXTS.reset(token)


def is_live() -> bool:
    """Whether any text is unsaved: then files may have changed since they were read last."""
    return bool(_TEXTS.get())


def text_of(path: str | Path) -> bytes | None:
    """The unsaved bytes of a file, None where it is as it is on disk."""
    texts = _TEXTS.get()
    return texts.get(os.path.abspath(path)) if texts else None


def size(path: str | Path) -> int:
    """The size of a file in bytes. Raises `OSError`."""
    data = text_of(path)
    return os.path.getsize(path) if data is None else len(data)


def is_file(path: str | Path) -> bool:
    """Whether there is such a file, or an unsaved text of its name."""
    return text_of(path) is not None or os.path.isfile(path)


def stamp(path: str | Path) -> object:
    """What differs between two states of a file: the text itself where it is unsaved, None where there is no file."""
    data = text_of(path)
    if data is not None:
        return data
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
