"""Calls of what is not in sight: what the name and the arguments suggest, at most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from losslint.interpreter import arithmetic, figures, freezing, roles, tensors
from losslint.interpreter.program import path_of
from losslint.interpreter.values import (
    BATCH_TRAITS,
    COUNT,
    DETACHED,
    GRAPH,
    Linear,
    Number,
    Output,
    Tensor,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

FEEDING = frozenset({"update", "add", "append", "__call__", "log_loss", "push", "meter"})


_RESCALING = ("scale_grad", "average", "mean", "normalize", "divide", "reduce")


def unknown_call(ev: Evaluator, path: str, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A call of which nothing is known but its name and what goes into it."""
    everything = [*args, *kwargs.values()]
    freezing.handed(ev.world, path, everything)
    if (
        roles.is_criterion(name)
        and not arithmetic.tainted(everything)
        and (ev.world.live or arithmetic.varies(everything))
        and not roles.is_report(name)
    ):
        return tensors.without_graph(ev.loss(node, None, 2, "opaque"), everything)
    if roles.is_report(name):
        figures.report(ev, node, everything, name)
        return None
    lossy = arithmetic.tainted(everything)
    if name in ("write_text", "writerow"):
        figures.report(ev, node, everything, name)
        return None
    if lossy and name in FEEDING:
        figures.report(ev, node, everything, "meter")
        return None
    if lossy and any(word in name for word in ("reduce", "gather", "sync", "to_python", "to_float", "item", "detach")):
        value = next((item for item in everything if isinstance(item, Linear)), None)
        if value is not None:
            return Linear(value.weights, value.steps, min(value.state, DETACHED), value.vector, value.notes)
    if "zero_grad" in name:
        ev.world.zero(node, path, True)
        return None
    if lossy and "clip" in name:
        return Unknown(name, varies=True)
    if "clip_grad" in name:
        ev.world.clip(node)
        return Unknown("norm", varies=True)
    if "grad" in name and any(word in name for word in _RESCALING):
        ev.world.doubt("the gradients go into a function that is not in sight", node)
    if lossy:
        if any(isinstance(item, Linear) and item.state == GRAPH for item in everything) and "backward" in name:
            ev.world.doubt("a loss goes into a function that is not in sight", node)
        return Unknown(f"{path}()", varies=True, tainted=True)
    if any(isinstance(item, Tensor) for item in everything) or _holds_tensor(everything):
        return _of_model(ev.tensor(node), name, node)
    if ev.world.live and roles.gives_batch(name):
        return ev.tensor(node, traits=BATCH_TRAITS)
    if ev.world.live and (roles.is_model(name) or (args and _is_model(ev, path, node))):
        return _of_model(ev.tensor(node), name, node)
    if roles.is_loader(name) and name.startswith(("get", "make", "build", "create", "prepare", "load")):
        return Unknown(path if not args else f"{path}()")
    varies = ev.world.live > 0 and (not everything or arithmetic.varies(everything) or any(map(_is_count, everything)))
    listed = ", ".join(shown(item) for item in everything)
    return Unknown(f"{path}({listed})", varies)


def _is_model(ev: Evaluator, path: str, node: ir.Call) -> bool:
    """Whether the code calls something by a model's name, or something that it has put into a mode."""
    named = isinstance(node.func, ir.Name) and roles.is_model(node.func.id)
    return named or any(event.kind in ("train", "eval") and event.what == path for event in ev.world.events)


def _of_model(given: Tensor, name: str, node: ir.Call) -> Tensor:
    """What a call gives that reads like one of a model, by the name of what is called or by that in the code."""
    for read in (name, roles.last(path_of(node.func))):
        if roles.is_model(read):
            given.output = Output("", node, None, read)
            break
    return given


def _is_count(value: Any) -> bool:
    """Whether a value is a number that a loop counts up."""
    return type(value) is int or (type(value) is Number and value.key is None and bool(value.kinds & COUNT))


def shown(value: Any) -> str:
    """A value as part of the name of an unknown one."""
    if isinstance(value, Number):
        return str(value.value)
    return str(getattr(value, "path", value if isinstance(value, (str, int)) else type(value).__name__))


def _holds_tensor(values: list[Any]) -> bool:
    """Whether a tensor is an item of a value: of a batch that is a tuple, or a dict whose items were moved."""
    return any(isinstance(item, Tensor) for value in values for item in _items(value))


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()
