"""Methods of anything but project objects: handed to the module that knows the receiver; of lists, dicts and texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from losslint.interpreter import arithmetic, figures, freezing, lengths, outputs, tensors, things, unknowns
from losslint.interpreter.values import (
    BATCH_TRAITS,
    Closure,
    Linear,
    Loader,
    Number,
    Tensor,
    Text,
    Thing,
    Unknown,
    key_of,
    literal_text,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

_FIELD = re.compile(r"\{(\w+)")


def call_method(
    ev: Evaluator,
    receiver: Any,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    node: ir.Call,
    receiver_node: ir.Expr,
) -> Any:
    """`receiver.name(…)` on anything but project objects."""
    if name == "requires_grad_":
        freezing.set_requires_grad(ev.world, receiver, args[0] if args else True, node)
    if isinstance(receiver, Linear):
        return tensors.linear_method(ev, receiver, name, args, kwargs, node, receiver_node)
    if isinstance(receiver, Tensor):
        result = tensors.tensor_method(ev, receiver, name, args, kwargs, node)
        return outputs.after(ev, name, receiver, [*args, *kwargs.values()], result, node)
    if isinstance(receiver, Thing):
        if receiver.kind == "gradient":
            return tensors.gradient_method(ev, receiver, name, args, node)
        return things.thing_method(ev, receiver, name, args, kwargs, node)
    if isinstance(receiver, list):
        return _list_method(ev, receiver, name, args, node, receiver_node)
    if isinstance(receiver, dict):
        return _dict_method(receiver, name, args, kwargs)
    if isinstance(receiver, (str, Text)):
        if name == "format":
            shown = set(_FIELD.findall(literal_text(receiver)))
            kwargs = {key: value for key, value in kwargs.items() if key in shown}
        return Text((receiver, *args, *kwargs.values()))
    if isinstance(receiver, Loader):
        if name in ("next", "__next__", "next_batch", "get_batch"):
            return ev.tensor(node, traits=BATCH_TRAITS)
        if name == "__len__":
            return lengths.length_of(ev, receiver, node)
        if name in ("size", "numel"):
            return lengths.length_of(ev, receiver, node)
        if name in ("batch", "shuffle", "repeat", "map", "prefetch", "set_epoch", "__iter__", "select", "with_format"):
            return receiver
        return Unknown(f"{receiver.path}.{name}()", varies=bool(ev.world.live))
    if isinstance(receiver, Unknown):
        return unknowns.unknown_method(ev, receiver, name, args, kwargs, node, receiver_node)
    if isinstance(receiver, Closure) and name == "apply":
        return ev.tensor(node)
    if isinstance(receiver, (Number, int)) and name in (
        "item",
        "cpu",
        "to",
        "float",
        "double",
        "detach",
        "cuda",
        "clone",
    ):
        return receiver
    if isinstance(receiver, (Number, int)) and name in ("add_", "add") and args:
        return arithmetic.binary(ev, "+", receiver, args[0], node, receiver_node, node)
    return Unknown(f"{name}()", bool(ev.world.live), arithmetic.tainted([*args, *kwargs.values()]))


def _list_method(
    ev: Evaluator,
    items: list[Any],
    name: str,
    args: list[Any],
    node: ir.Call,
    receiver_node: ir.Expr,
) -> Any:
    if name in ("append", "appendleft", "add") and args:
        value = args[0]
        if isinstance(value, Tensor) and (value.evidence or "nonlinear" in value.traits):
            value = arithmetic.linear(ev, value)
        if isinstance(value, Linear):
            held = arithmetic.path_text(receiver_node)
            figures.stored(ev, node, value, held)
            value = arithmetic.collected(ev, node, value, held)
            figures.keep(ev, node, items, value, held)
        elif isinstance(value, (tuple, dict)) and arithmetic.tainted(value):
            figures.report(ev, node, [value], "append")
        items.append(value)
        return None
    if name == "extend" and args and isinstance(args[0], (list, tuple)):
        items.extend(args[0])
        return None
    if name == "clear":
        items.clear()
        return None
    if name in ("pop", "popleft") and items:
        return items.pop(0 if name == "popleft" else -1)
    if name in ("mean", "sum"):
        total = arithmetic.total(ev, items, 0, node)
        return arithmetic.binary(ev, "/", total, len(items), node, node, node) if name == "mean" and items else total
    if name in ("item", "cpu", "numpy", "detach", "tolist", "to", "copy"):
        return items
    if name == "backward":
        ev.world.doubt("backward on several losses at once", node)
    return Unknown(f"list.{name}()", varies=bool(ev.world.live), tainted=arithmetic.tainted(items))


def _dict_method(receiver: dict[Any, Any], name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if name == "values":
        return list(receiver.values())
    if name == "items":
        return list(receiver.items())
    if name == "keys":
        return list(receiver)
    if name in ("get", "pop", "setdefault") and args:
        fallback = args[1] if len(args) > 1 else None
        key = key_of(args[0])
        if name == "setdefault":
            return receiver.setdefault(key, fallback)
        return receiver.get(key, fallback)
    if name == "update":
        if args and isinstance(args[0], dict):
            receiver.update(args[0])
        receiver.update(kwargs)
        return None
    if name == "copy":
        return dict(receiver)
    if name == "clear":
        receiver.clear()
        return None
    return Unknown(f"dict.{name}()")
