"""A progress bar on standard error, for runs that last."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE = 1.0
"""Seconds until the bar appears: a run that is over sooner never shows one, and never imports rich for it."""
PAUSE = 0.1
"""Seconds between two drawings; the bar has no thread of its own, since workers are forked."""


class ProgressBar:
    """Told of every file that is done; draws only on a terminal. Used as a context manager, which takes it away."""

    def __init__(self, counted: str = "files") -> None:
        self._counted = counted
        self._shows = sys.stderr.isatty()
        self._next = time.monotonic() + PATIENCE
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` files, or of whatever is `counted`, are done."""
        if not self._shows or time.monotonic() < self._next:
            return
        if self._bar is None or self._task is None:
            self._bar = _bar(self._counted)
            self._task = self._bar.add_task("losslint", total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)
        self._bar.refresh()
        self._next = time.monotonic() + PAUSE


def _bar(counted: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(counted),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
