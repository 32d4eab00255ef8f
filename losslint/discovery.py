"""Which files a run is about: what the arguments name, less what is excluded or ignored by git."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from losslint.config import Config, Configs, compile_patterns
from losslint.source import NOTEBOOK_SUFFIX

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

SKIPPED_FOLDERS = frozenset(
    """
    .bzr .direnv .eggs .git .hg .ipynb_checkpoints .mypy_cache .nox .pytest_cache .pytype .ruff_cache .svn .tox .venv
    .vscode __pycache__ __pypackages__ _build build dist node_modules site-packages venv
    """.split()
)
"""Folders that a walk never enters; one that is named on the command line is walked all the same."""

_WALKED_SUFFIXES = (".py", NOTEBOOK_SUFFIX)
_SOURCE_SUFFIXES = ("", ".pyi", ".pyw", *_WALKED_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Target:
    """A file to be checked. `name` is posix, relative to the working directory where it lies below it."""

    path: Path
    name: str
    config: Config


@dataclass(frozen=True, slots=True)
class Trouble:
    """A path that could not be used; the run goes on and ends with exit code 2."""

    name: str
    message: str


@dataclass(slots=True)
class Discovery:
    """What the arguments came to, in the order of the names."""

    targets: list[Target] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Ignored:
    """The patterns of one `.gitignore` and the folder that they are relative to."""

    folder: str
    spec: GitIgnoreSpec

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """True for ignored, False for taken in again, None where no pattern speaks of the path."""
        relative = os.path.relpath(path, self.folder).replace(os.sep, "/")
        return self.spec.check_file(relative + "/" if is_folder else relative).include


def discover(arguments: Sequence[str], configs: Configs, force_exclude: bool = False) -> Discovery:
    """The files that the arguments name, each once.

    A named file is always taken; a folder is walked for `*.py` and `*.ipynb`, without the folders and files that are
    excluded by default, by `exclude` or by a `.gitignore`. With `force_exclude` that holds for a named file as well.
    Links to folders are not followed. Raises `ConfigError`.
    """
    found = Discovery()
    seen: set[str] = set()
    for argument in arguments:
        path = os.path.abspath(argument)
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            found.troubles.append(Trouble(argument, (reason or "cannot be read").lower()))
            continue
        if stat.S_ISDIR(mode):
            paths: Iterator[str] = _Walk(path, configs, found.troubles).files()
        elif not stat.S_ISREG(mode):
            found.troubles.append(Trouble(argument, "not a regular file"))
            continue
        elif os.path.splitext(path)[1] not in _SOURCE_SUFFIXES:
            found.troubles.append(Trouble(argument, "neither a Python file nor a notebook"))
            continue
        else:
            paths = iter([path])
        namer = _Namer(argument)
        for file in paths:
            path_object = Path(file)
            if force_exclude and is_left_out(path_object, configs):
                continue
            if file not in seen:
                seen.add(file)
                found.targets.append(Target(path_object, namer.name(file), configs.of(path_object.parent)))
    found.targets.sort(key=lambda target: target.name)
    return found


def as_target(path: Path, configs: Configs) -> Target:
    """The file at `path` (absolute), whether it exists or not. Raises `ConfigError`."""
    return Target(path, _Namer(os.fspath(path)).name(os.fspath(path)), configs.of(path.parent))


def is_left_out(path: Path, configs: Configs) -> bool:
    """Whether a walk over the project would pass over the file at `path`. Raises `ConfigError`."""
    root = configs.project(path.parent) or path.parent
    if not SKIPPED_FOLDERS.isdisjoint(path.relative_to(root).parts):
        return True
    config = configs.of(path.parent)
    if config.exclude and config.root is not None:
        excluded = _Ignored(str(config.root), compile_patterns(config.exclude))
        if excluded.verdict(str(path), is_folder=False):
            return True
    return _is_ignored(_gitignores_above(str(path)), str(path), is_folder=False)


class _Namer:
    """Names files as the user did: relative below the working directory or where the argument was, absolute else."""

    def __init__(self, argument: str) -> None:
        self._below = os.path.join(os.getcwd(), "")
        self._relative = not os.path.isabs(argument)

    def name(self, path: str) -> str:
        if path.startswith(self._below):
            shown = path[len(self._below) :]
        else:
            shown = os.path.relpath(path) if self._relative else path
        return shown.replace(os.sep, "/")


class _Walk:
    """One walk over a folder; reads each `.gitignore` on its way."""

    def __init__(self, root: str, configs: Configs, troubles: list[Trouble]) -> None:
        self._root = root
        self._configs = configs
        self._troubles = troubles
        self._excludes: dict[Config, _Ignored | None] = {}

    def files(self) -> Iterator[str]:
        """The Python files and notebooks below the root, as absolute paths."""
        above = _gitignores_above(self._root)
        # a folder that is named is meant, whatever the patterns above it say
        if _is_ignored(above, self._root, is_folder=True):
            above = []
        yield from self._folder(self._root, above)

    def _folder(self, folder: str, ignored: list[_Ignored]) -> Iterator[str]:
        try:
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            self._troubles.append(Trouble(_Namer(folder).name(folder), (error.strerror or "cannot be read").lower()))
            return
        if any(entry.name == ".gitignore" for entry in entries):
            ignored = [*ignored, *_gitignore(folder)]
        exclude = self._exclude(self._configs.of(Path(folder)))
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder:
                if entry.name in SKIPPED_FOLDERS:
                    continue
            elif not entry.name.endswith(_WALKED_SUFFIXES) or not _is_file(entry):
                continue
            if exclude is not None and exclude.verdict(entry.path, is_folder):
                continue
            if ignored and _is_ignored(ignored, entry.path, is_folder):
                continue
            if is_folder:
                yield from self._folder(entry.path, ignored)
            else:
                yield entry.path

    def _exclude(self, config: Config) -> _Ignored | None:
        if not config.exclude or config.root is None:
            return None
        if config not in self._excludes:
            found = _Ignored(str(config.root), compile_patterns(config.exclude))
            inside = os.path.commonpath([self._root, found.folder]) == found.folder and self._root != found.folder
            meant = inside and found.verdict(self._root, is_folder=True)
            self._excludes[config] = None if meant else found
        return self._excludes[config]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        # a link that leads in a circle
        return False


def _is_ignored(ignored: list[_Ignored], path: str, is_folder: bool) -> bool:
    """The verdict of the deepest `.gitignore` that speaks of the path."""
    for patterns in reversed(ignored):
        verdict = patterns.verdict(path, is_folder)
        if verdict is not None:
            return verdict
    return False


def _gitignores_above(folder: str) -> list[_Ignored]:
    """Those of the folders above, up to the top of the repository; none outside of one. Outermost first."""
    found: list[_Ignored] = []
    here = folder
    while not os.path.exists(os.path.join(here, ".git")):
        parent = os.path.dirname(here)
        if parent == here:
            return []
        here = parent
        found = [*_gitignore(here), *found]
    return found


def _gitignore(folder: str) -> list[_Ignored]:
    try:
        with open(os.path.join(folder, ".gitignore"), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    if not any(line.strip() and not line.startswith("#") for line in lines):
        return []
    return [_Ignored(folder, compile_patterns(lines))]
