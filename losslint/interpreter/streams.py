"""Generators over parameters: each gives its items once, and is empty for whoever comes second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from losslint.contracts.torch import CLIPPING
from losslint.interpreter import roles
from losslint.interpreter.values import Unknown
from losslint.interpreter.world import Stream
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.world import World

_GIVERS = frozenset({"parameters", "named_parameters", "buffers", "named_buffers"})
_USERS = frozenset("list tuple set sorted sum any all max min dict".split()) | CLIPPING


def given(world: World, name: str, result: Any, node: ir.Expr) -> Any:
    """The result of a call; what gives a generator is remembered as one that nobody has used."""
    if name in _GIVERS and type(result) is Unknown:
        world.streams[id(result)] = Stream(result, node, None)
    return result


def used(world: World, name: str, values: Iterable[Any], node: ir.Node) -> None:
    """A call of `name` with these values: what it goes through is used up."""
    if name in _USERS or (name[:1].isupper() and roles.is_optimizer(name)):
        for value in values:
            walked(world, value, node)


def walked(world: World, value: Any, node: ir.Node) -> None:
    """Somebody goes through a value; a generator that was gone through before is empty."""
    known = world.streams.get(id(value))
    if known is None:
        return
    if known.used is not None:
        world.exhausted.setdefault(node, known)
    else:
        world.streams[id(value)] = known._replace(used=node)


def materialised(world: World, name: str, result: Any) -> Any:
    """`list(generator)` can be gone through as often as one likes."""
    if name in ("list", "tuple", "set", "sorted") and id(result) in world.streams:
        return Unknown(result.path)
    return result
