"""Where the user's code stands on the stack: the line a fact points to, and which framework called."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType

from losslint.runtime.observe.facts import Place

_PACKAGE = str(Path(__file__).resolve().parents[2])
_LIBRARY = tuple(
    {str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_FRAMEWORKS = {
    "accelerate": ("/accelerate/accelerator.py",),
    "transformers": ("/transformers/trainer.py",),
    "lightning": ("/lightning/pytorch/", "/pytorch_lightning/"),
    "fabric": ("/lightning/fabric/", "/lightning_fabric/"),
    "deepspeed": ("/deepspeed/",),
}


def user_place() -> Place | None:
    """The innermost line of the user's own code on the stack; None where there is none."""
    for frame in _frames():
        if _is_user(frame.f_code.co_filename):
            return Place(_absolute(frame.f_code.co_filename), frame.f_lineno)
    return None


def site() -> int:
    """A number for this place on the stack: the same for two calls from the same lines of user code."""
    lines = []
    innermost = None
    for frame in _frames():
        name = frame.f_code.co_filename
        if _is_user(name):
            lines.append((name, frame.f_lineno))
        elif innermost is None and not _is_plumbing(name):
            innermost = (name, frame.f_lineno)
    return hash((innermost, tuple(lines)))


def callers() -> frozenset[str]:
    """The frameworks on the stack."""
    names = {name for frame in _frames() for name in _framework(frame.f_code.co_filename)}
    return frozenset(names)


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


@cache
def _absolute(filename: str) -> str:
    return os.path.abspath(filename)


@cache
def _is_user(filename: str) -> bool:
    if filename.startswith("<"):
        return False
    path = str(Path(filename).resolve())
    if path.startswith(_PACKAGE) or "/site-packages/" in path.replace("\\", "/"):
        return False
    return not path.startswith(_LIBRARY)


@cache
def _is_plumbing(filename: str) -> bool:
    """Whether the file belongs to torch or to losslint itself."""
    path = str(Path(filename).resolve()).replace("\\", "/")
    return filename.startswith("<") or path.startswith(_PACKAGE) or "/torch/" in path


@cache
def _framework(filename: str) -> tuple[str, ...]:
    path = filename.replace("\\", "/")
    return tuple(name for name, parts in _FRAMEWORKS.items() if any(part in path for part in parts))
