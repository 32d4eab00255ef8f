"""What `[tool.losslint]` may hold: the one definition of every key, its type, its default and its meaning.

The reader of configuration files, `losslint config`, `losslint init` and the JSON schema are made from it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losslint import selection
from losslint.findings import Severity

if TYPE_CHECKING:
    from losslint.config import Config

REDUCTIONS = ("mean", "sum", "none")
"""What a loss function may do with the losses of a batch."""

_NAME = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"


class BadValueError(ValueError):
    """What is wrong with a value; `where` are the words that lead to its line."""

    def __init__(self, message: str, *where: str) -> None:
        super().__init__(message)
        self.where = where


Reader = Callable[[object, Path], Any]
"""A value as TOML has it, and the folder of its file, to the value of the configuration. Raises `BadValueError`."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of values: how they are read, what they are called, and what a JSON schema says of them."""

    read: Reader
    words: str
    schema: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. `default` and `example` are written as in TOML, an empty default is none; `meaning` is a paragraph."""

    key: str
    kind: Kind
    default: str
    example: str
    meaning: str

    @property
    def attribute(self) -> str:
        """Its name in `Config`."""
        return self.key.replace("-", "_")


def _strings(value: object, root: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadValueError("expected a list of strings")
    return tuple(value)


def _selectors(value: object, root: Path) -> tuple[str, ...]:
    found: list[str] = []
    for item in _strings(value, root):
        try:
            found += selection.normalise([item])
        except selection.SelectorError as error:
            raise BadValueError(str(error), item) from None
    return tuple(found)


def _per_file(value: object, root: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, dict):
        raise BadValueError("expected a table of patterns, each with a list of codes")
    found = []
    for pattern, codes in value.items():
        try:
            found.append((pattern, _selectors(codes, root)))
        except BadValueError as error:
            raise BadValueError(f"`{pattern}`: {error}", pattern, *error.where) from None
    return tuple(found)


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        hint = selection.nearest(value, known) if isinstance(value, str) else ""
        raise BadValueError(f"expected one of {', '.join(f'`{name}`' for name in known)}{hint}")
    return value


def _severity(value: object, root: Path) -> Severity:
    return Severity[_one_of(value, tuple(severity.label for severity in Severity)).upper()]


def _folders(value: object, root: Path) -> tuple[Path, ...]:
    return tuple(_path(item, root) for item in _strings(value, root))


def _path(value: object, root: Path) -> Path:
    if not isinstance(value, str) or not value:
        raise BadValueError("expected the path of a file")
    return Path(os.path.normpath(root / value))


def _named(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        raise BadValueError(f"`{name}` is no dotted name, such as `mylib.losses.focal`", name)
    return name


def _names(value: object, root: Path) -> tuple[str, ...]:
    return tuple(map(_named, _strings(value, root)))


def _reductions(value: object, root: Path) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise BadValueError("expected a table of dotted names, each with `mean`, `sum` or `none`")
    found = []
    for name, reduction in value.items():
        # `mylib.focal = "mean"` without quotes is a table in a table
        if isinstance(reduction, dict):
            raise BadValueError(f"put the dotted name that begins with `{name}` in quotes", name)
        try:
            found.append((_named(name), _one_of(reduction, REDUCTIONS)))
        except BadValueError as error:
            raise BadValueError(f"`{name}`: {error}", name) from None
    return tuple(found)


def _selector_schema() -> dict[str, Any]:
    entries = selection.catalogue()
    prefixes = sorted({entry.code[:length] for entry in entries for length in (3, 4)})
    known = ["ALL", *prefixes, *(entry.code for entry in entries), *(entry.name for entry in entries)]
    # what an editor offers, and other spellings of it that are read as well
    return {"type": "string", "anyOf": [{"enum": known}, {"pattern": "^([Ll][Ll]?[0-9]{0,3}|[Aa][Ll][Ll])$"}]}


def _list_of(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


def _table_of(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": dict(values)}


_DOTTED = {"type": "string", "pattern": f"^{_NAME}$"}

SELECTORS = Kind(_selectors, "list of codes, prefixes of codes, names or `ALL`", lambda: _list_of(_selector_schema()))
PER_FILE = Kind(
    _per_file,
    "table of patterns, each with a list of codes",
    lambda: _table_of(_list_of(_selector_schema())),
)
PATTERNS = Kind(_strings, "list of gitignore-style patterns", lambda: _list_of({"type": "string"}))
FOLDERS = Kind(_folders, "list of folders", lambda: _list_of({"type": "string"}))
FILE = Kind(_path, "path of a file", lambda: {"type": "string", "minLength": 1})
SEVERITY = Kind(_severity, "`info`, `warning` or `error`", lambda: {"enum": [severity.label for severity in Severity]})
NAMES = Kind(_names, "list of dotted names", lambda: _list_of(_DOTTED))
LOSSES = Kind(
    _reductions,
    "table of dotted names, each with `mean`, `sum` or `none`",
    lambda: {**_table_of({"enum": list(REDUCTIONS)}), "propertyNames": dict(_DOTTED)},
)

SETTINGS = (
    Setting(
        "select",
        SELECTORS,
        '["ALL"]',
        '["LL1", "LL2", "scaler-cadence"]',
        "What is reported. A longer selector beats a shorter one; `--select` replaces it.",
    ),
    Setting(
        "extend-select",
        SELECTORS,
        "[]",
        '["LL206"]',
        "What is reported as well as what `select` names.",
    ),
    Setting(
        "ignore",
        SELECTORS,
        "[]",
        '["uneven-batch-mean"]',
        "What is not reported. Where `select` is as specific, `ignore` wins.",
    ),
    Setting(
        "per-file-ignores",
        PER_FILE,
        "{}",
        '{ "examples/**" = ["LL2"] }',
        "What is not reported in the files that match a gitignore-style pattern, relative to this file's folder.",
    ),
    Setting(
        "min-severity",
        SEVERITY,
        '"warning"',
        '"info"',
        "The least certain findings that are shown. What is only `info` never fails a run.",
    ),
    Setting(
        "exclude",
        PATTERNS,
        "[]",
        '["third_party/", "*_pb2.py"]',
        "Files and folders that a walk passes over, besides those that git ignores. A file that is named on the command"
        " line is checked all the same, unless `--force-exclude` is given.",
    ),
    Setting(
        "source-roots",
        FOLDERS,
        "[]",
        '["lib"]',
        "Folders that absolute imports start from. Without it: this file's folder and its `src`.",
    ),
    Setting(
        "baseline",
        FILE,
        "",
        '"losslint-baseline.json"',
        "A file written by `--write-baseline`: the findings in it are not reported.",
    ),
    Setting(
        "loss-functions",
        LOSSES,
        "{}",
        '{ "mylib.losses.focal" = "mean" }',
        "Loss functions and classes that losslint cannot look into, or shall not, and whether they give the mean over"
        " the batch, the sum, or a loss for each sample (`none`). A name matches with or without the packages in front"
        " of it.",
    ),
    Setting(
        "meters",
        NAMES,
        "[]",
        '["mylib.metrics.Average"]',
        "Classes whose `update(value, n)` adds `value * n` and `n`, and whose `avg`, `compute()` or `value()` gives the"
        " mean: `n` is 1 where it is left out.",
    ),
    Setting(
        "dividing-backward",
        NAMES,
        "[]",
        '["mylib.engine.Engine.backward"]',
        "Functions and methods that take the loss, divide it by the accumulation window, and run backward on it.",
    ),
)
"""Every key, in the order in which they are told."""

BY_KEY = {setting.key: setting for setting in SETTINGS}


def toml(value: object, root: Path | None) -> str:
    """A value of the configuration as TOML; paths are relative to `root`."""
    if isinstance(value, Severity):
        return json.dumps(value.label)
    if isinstance(value, Path):
        return json.dumps(os.path.relpath(value, root or Path.cwd()).replace(os.sep, "/"), ensure_ascii=False)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    items = list(value) if isinstance(value, tuple) else []
    if items and isinstance(items[0], tuple):
        return "{ " + ", ".join(f"{toml(key, root)} = {toml(item, root)}" for key, item in items) + " }"
    return f"[{', '.join(toml(item, root) for item in items)}]"


def written(config: Config) -> str:
    """Every setting of a configuration as TOML, the defaults included, under the file that it comes from."""
    place = "no configuration file" if config.root is None else f"read in {config.root.as_posix()}"
    lines = [f"# {place}", "[tool.losslint]"]
    for setting in SETTINGS:
        value = getattr(config, setting.attribute)
        text = toml(value, config.root) if value else setting.default
        lines.append(f"{setting.key} = {text}" if text else f"# {setting.key} is not set")
    return "\n".join(lines) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON schema of the table `[tool.losslint]`."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "losslint",
        "description": "The table `[tool.losslint]` of a `pyproject.toml`.",
        "type": "object",
        "additionalProperties": False,
        "properties": {setting.key: {"description": setting.meaning, **setting.kind.schema()} for setting in SETTINGS},
    }
