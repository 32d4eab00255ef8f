"""`[tool.losslint]`: what a project asks for, read from the nearest `pyproject.toml` that holds the table."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losslint import selection
from losslint.contracts.hints import NO_HINTS, Hints
from losslint.findings import Severity
from losslint.settings import BY_KEY, BadValueError
from losslint.wording import lowered

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file; `line` is None where it could not be found."""

    path: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: LL003 error: {self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used, with everything that is wrong in it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


@dataclass(frozen=True, slots=True)
class Config:
    """One `[tool.losslint]` table. Patterns and source roots are relative to `root`, the folder of the file.

    None and empty mean that the table does not say.
    """

    root: Path | None = None
    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[str, ...] = ()
    min_severity: Severity | None = None
    source_roots: tuple[Path, ...] = ()
    baseline: Path | None = None
    loss_functions: tuple[tuple[str, str], ...] = ()
    meters: tuple[str, ...] = ()
    dividing_backward: tuple[str, ...] = ()
    hints: Hints = field(init=False, compare=False, default=NO_HINTS)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hints", Hints(self.loss_functions, self.meters, self.dividing_backward))


DEFAULT = Config()

_TABLE = re.compile(r"^[ \t]*\[\s*tool\s*\.\s*[\"']?losslint\b", re.MULTILINE)


@dataclass(slots=True)
class Configs:
    """Which configuration holds in which folder; each file is read once.

    `isolated` reads none, `file` takes that one for all. Every method that reads raises `ConfigError`.
    """

    isolated: bool = False
    file: Path | None = None
    _known: dict[Path, Config] = field(default_factory=dict)
    _projects: dict[Path, Path | None] = field(default_factory=dict)

    def of(self, folder: Path) -> Config:
        """The configuration of the files in `folder` (absolute)."""
        if self.isolated:
            return DEFAULT
        if self.file is not None:
            folder = self.file
        known = self._known.get(folder)
        if known is None:
            known = self._known[folder] = self._read(folder)
        return known

    def project(self, folder: Path) -> Path | None:
        """The nearest folder at or above `folder` that holds a `pyproject.toml`: where its imports are rooted."""
        if folder not in self._projects:
            if os.path.isfile(folder / "pyproject.toml"):
                self._projects[folder] = folder
            else:
                self._projects[folder] = None if folder.parent == folder else self.project(folder.parent)
        return self._projects[folder]

    def _read(self, folder: Path) -> Config:
        if self.file is not None:
            config = read(self.file)
            if config is None:
                raise ConfigError(Problem(_shown(self.file), None, "no `[tool.losslint]` table in this file"))
            return config
        candidate = folder / "pyproject.toml"
        config = read(candidate) if os.path.isfile(candidate) else None
        if config is not None:
            return config
        return DEFAULT if folder.parent == folder else self.of(folder.parent)


def read(path: Path) -> Config | None:
    """The table of the file at `path`, or None where it has none. Raises `ConfigError`."""
    shown = _shown(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(Problem(shown, None, f"cannot be read: {error.strerror}")) from None
    # most files name no losslint, and the TOML parser costs as much as the rest of a start
    if b"losslint" not in data:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(Problem(shown, line, f"invalid UTF-8: {error.reason}")) from None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column \d+\)", str(error))
        message = re.sub(r" \(at .*\)$", "", str(error))
        line = int(place.group(1)) if place else text.rstrip("\n").count("\n") + 1
        raise ConfigError(Problem(shown, line, f"invalid TOML: {lowered(message)}")) from None
    tool = document.get("tool")
    table = tool.get("losslint") if isinstance(tool, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise ConfigError(Problem(shown, _line(text), "`tool.losslint` must be a table"))
    return _parse(table, path, shown, text)


def compile_patterns(patterns: tuple[str, ...] | list[str]) -> GitIgnoreSpec:
    """gitignore-style patterns as one matcher; a pattern that git itself would pass over matches nothing."""
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError:
        return GitIgnoreSpec.from_lines([pattern for pattern in patterns if _is_pattern(pattern)])


def _is_pattern(pattern: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([pattern])
    except ValueError:
        return False
    return True


def _parse(table: Mapping[str, Any], path: Path, shown: str, text: str) -> Config:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    root = path.parent
    for key, value in table.items():
        setting = BY_KEY.get(key)
        if setting is None:
            message = f"unknown key `{key}`{selection.nearest(key, BY_KEY)}"
            problems.append(Problem(shown, _line(text, key), message))
            continue
        try:
            values[setting.attribute] = setting.kind.read(value, root)
        except BadValueError as error:
            problems.append(Problem(shown, _line(text, key, *error.where), f"`{key}`: {error}"))
    if problems:
        raise ConfigError(*problems)
    return Config(root=root, **values)


def _line(text: str, *words: str) -> int | None:
    """The 1-based line where the last of the words stands in the table, each looked for after the one before."""
    table = _TABLE.search(text)
    position = table.start() if table is not None else max(text.find("losslint"), 0)
    for word in words:
        # a key or a string is a whole word; `select` is none in `extend-select`
        found = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])").search(text, position)
        if found is None:
            break
        position = found.start()
    return text.count("\n", 0, position) + 1 if position else None


def _shown(path: Path) -> str:
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()
