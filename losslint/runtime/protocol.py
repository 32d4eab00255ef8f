"""What the lint process and the verifier's server say to each other: one JSON object a line, in both directions.

Nothing is ever unpickled: what comes out of a process that has run a slice is text, and is read with suspicion.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from losslint.findings import Outcome, Reason, Verdict
from losslint.units import Unit

Value = TypeVar("Value")

MAX_LINE = 4 << 20
"""Bytes of a result; a longer one is not read to its end."""
_MAX_TEXT = 100_000
_MAX_ITEMS = 100_000
_SCALARS = (str, int, float, bool, types.NoneType)


class ProtocolError(Exception):
    """A message that is not what was agreed."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the server says when it is ready. `device` is `cpu` or `cuda`, `hardware` its name; `jobs` run at a time."""

    torch: str
    device: str
    hardware: str
    dtypes: tuple[str, ...]
    isolation: str
    jobs: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A slice that gave no result: why, in the verdict's terms and in words."""

    reason: Reason
    detail: str


def dump(message: Mapping[str, Any]) -> bytes:
    """A message as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def parse(line: bytes) -> dict[str, Any]:
    """The message of a line; raises `ProtocolError` where it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("not JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("not an object")
    return message


def encode(value: object) -> Any:
    """Plain dataclasses, enums and containers as JSON takes them."""
    if is_dataclass(value):
        return {part.name: encode(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    return value


def decode(kind: type[Value], value: object) -> Value:
    """What `encode` was given, which is of the dataclass `kind`.

    Raises `ProtocolError` where a value is not of the type that its field has; numbers must be finite, texts and lists
    of a length that can be shown.
    """
    result: Value = _dataclass(kind, value)
    return result


def decode_verdict(value: object) -> Verdict:
    """A verdict; raises `ProtocolError` where it is none, or where it contradicts itself."""
    verdict = decode(Verdict, value)
    if (verdict.outcome is Outcome.INCONCLUSIVE) != (verdict.reason is not None):
        raise ProtocolError("a reason is for what is inconclusive, and for nothing else")
    return verdict


def _decode(kind: Any, value: object) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union(get_args(kind), value)
    if origin is tuple:
        return _tuple(get_args(kind), value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ProtocolError("not an object")
        _, content = get_args(kind)
        return {key: _decode(content, item) for key, item in value.items()}
    if kind in _SCALARS:
        return _scalar(kind, value)
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
    return _dataclass(kind, value)


def _scalar(kind: type, value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if kind is float and isinstance(value, int | float) and (whole or isinstance(value, float)):
        try:
            number = float(value)
        except OverflowError as error:
            raise ProtocolError("too large a number") from error
        if not math.isfinite(number):
            raise ProtocolError("not a finite number")
        return number
    if (kind is int and not whole) or not isinstance(value, kind):
        raise ProtocolError(f"not of type {kind.__name__}")
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        raise ProtocolError("too long a text")
    return value


def _union(kinds: tuple[Any, ...], value: object) -> Any:
    for kind in kinds:
        if kind is types.NoneType:
            if value is None:
                return None
        elif value is not None:
            return _decode(kind, value)
    raise ProtocolError("not there")


def _tuple(kinds: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise ProtocolError("not a list, or too long a one")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_decode(kinds[0], item) for item in value)
    if len(kinds) != len(value):
        raise ProtocolError("a list of another length")
    return tuple(_decode(kind, item) for kind, item in zip(kinds, value, strict=True))


def _dataclass(kind: Callable[..., Any], value: object) -> Any:
    if not isinstance(value, dict):
        raise ProtocolError("not an object")
    hints = _hints(kind)
    if value.keys() != hints.keys():
        raise ProtocolError(f"other fields than those of {getattr(kind, '__name__', kind)}")
    return kind(**{name: _decode(hint, value[name]) for name, hint in hints.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    # `findings` names it for type checkers only
    return get_type_hints(kind, localns={"Unit": Unit})
