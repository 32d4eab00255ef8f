"""Notices changed configuration by the times of its files, for clients that do not watch files for the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from losslint.unsaved import stamp

EVERY = 1.0
"""Seconds between two looks."""

NAMES = ("pyproject.toml", ".gitignore")


class Watch:
    """Looks at the configuration files of the open files now and then, and calls `changed` where one is another."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._task: asyncio.Task[None] | None = None

    def start(self, files: Callable[[], Iterable[Path]]) -> None:
        """Begin; `files` gives the open files."""
        self._task = asyncio.ensure_future(self._look(files))

    def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()

    async def _look(self, files: Callable[[], Iterable[Path]]) -> None:
        seen: dict[Path, object] = {}
        while True:
            folders = {folder for file in files() for folder in file.parents}
            found = {folder / name: stamp(folder / name) for folder in folders for name in NAMES}
            if any(seen.get(path, found[path]) != found[path] for path in found):
                self._changed()
            seen = found
            await asyncio.sleep(EVERY)
