"""What the user set in the editor, under `losslint`: one frozen type, read from whatever JSON the client sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from losslint.findings import Severity
from losslint.selection import nearest


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings. Those that the command line has too mean the same as there; None leaves it to the configuration.

    `configuration` is a file in place of the project's; `debounce` is in milliseconds.
    """

    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    min_severity: Severity | None = None
    configuration: str | None = None
    inlay_hints: bool = False
    debounce: int = 200


def read(sent: object) -> tuple[Settings, list[str]]:
    """The settings in what a client sent, and what is wrong with it; a bad one is as if it had not been sent.

    `{"losslint": {…}}` and `{"settings": {…}}` are looked into, as clients differ in what they wrap settings in.
    """
    for wrapper in ("settings", "losslint"):
        if isinstance(sent, Mapping) and isinstance(sent.get(wrapper), Mapping):
            sent = sent[wrapper]
    if sent is None:
        return Settings(), []
    if not isinstance(sent, Mapping):
        return Settings(), ["`losslint`: expected an object of settings"]
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for key, value in sent.items():
        if key not in _READERS:
            wrong.append(f"unknown setting `losslint.{key}`{nearest(str(key), _READERS)}")
        elif value is not None:
            field, reader = _READERS[key]
            try:
                values[field] = reader(value)
            except ValueError as error:
                wrong.append(f"`losslint.{key}`: {error}")
    return Settings(**values), wrong


def _codes(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of strings")
    return tuple(value)


def _severity(value: object) -> Severity:
    labels = [severity.label for severity in Severity]
    if not isinstance(value, str) or value not in labels:
        raise ValueError(f"expected one of {', '.join(f'`{label}`' for label in labels)}")
    return Severity[value.upper()]


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        raise ValueError("expected a string")
    return value or None


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _milliseconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 60_000:
        raise ValueError("expected milliseconds, at most 60000")
    return int(value)


_READERS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "select": ("select", _codes),
    "extendSelect": ("extend_select", _codes),
    "ignore": ("ignore", _codes),
    "minSeverity": ("min_severity", _severity),
    "configuration": ("configuration", _text),
    "inlayHints": ("inlay_hints", _switch),
    "debounce": ("debounce", _milliseconds),
}
