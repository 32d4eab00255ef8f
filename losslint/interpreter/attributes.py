"""Attributes and items of anything but project objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.interpreter import arithmetic, calls, lengths, outputs, roles, things
from losslint.interpreter.program import path_of
from losslint.interpreter.values import (
    AHEAD,
    BATCH,
    BATCH_TRAITS,
    DETACHED,
    GRAPH,
    Bag,
    ClassValue,
    Closure,
    Linear,
    Loader,
    Method,
    Number,
    Tensor,
    Thing,
    Unknown,
    key_of,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

ONE_FRAME = "one frame"
"""The trait of a tensor that holds one fixed item of each sequence of a batch."""


def attribute(ev: Evaluator, receiver: Any, name: str, node: ir.Expr) -> Any:
    """`receiver.name` on anything but project objects and unknown values."""
    if isinstance(receiver, Tensor):
        return _tensor_attribute(ev, receiver, name, node)
    if isinstance(receiver, Linear):
        if name == "data":
            return receiver.alias(
                min(receiver.state, DETACHED), *([ev.world.cut("data", node)] if receiver.state == GRAPH else [])
            )
        if name in ("grad_fn", "requires_grad", "device", "dtype"):
            return Unknown(name)
        if roles.is_loss(name):
            # an output object whose losses have names: `outputs.loss`
            return ev.tensor(node, evidence=1)
        return Method(receiver, name)
    if isinstance(receiver, Thing):
        if name in receiver.data:
            return receiver.data[name]
        if receiver.kind == "accelerator":
            return _accelerator_attribute(receiver, name)
        if receiver.kind == "meter":
            return None
        if receiver.kind == "gradient":
            return receiver if name == "data" else Unknown(f"{receiver.path}.{name}", varies=True)
        if receiver.kind in ("namespace",):
            return ev.guess(f"{receiver.path}.{name}")
        return (
            Method(receiver, name) if receiver.kind not in ("model", "context") else Unknown(f"{receiver.path}.{name}")
        )
    if isinstance(receiver, Loader):
        if name == "dataset" or name == "sampler":
            inner = Loader(f"{receiver.path}.{name}", dataset=True)
            inner.single = receiver.single
            return inner
        if name == "batch_size":
            return Number(units.BATCH, BATCH, f"{receiver.path}.batch_size")
        return Unknown(f"{receiver.path}.{name}") if name != "next" else Method(receiver, name)
    if isinstance(receiver, ClassValue):
        if name in receiver.attributes:
            return receiver.attributes[name]
        return ev.guess(f"{receiver.definition.name}.{name}")
    if isinstance(receiver, Closure):
        stored = ev.stored.get((receiver.function.name, name))
        return stored if stored is not None else Unknown(f"{receiver.function.name}.{name}")
    return Method(receiver, name)


def _tensor_attribute(ev: Evaluator, receiver: Tensor, name: str, node: ir.Expr) -> Any:
    if name == "shape":
        return Thing("shape", "shape", {"visit": receiver.visit})
    if name == "loss" and receiver.traits >= things.WITH_MEAN_LOSS:
        return Tensor(node, receiver.visit, receiver.state, "mean", 3)
    if name == "loss" or (roles.is_loss(name) and name != "l"):
        return Tensor(node, receiver.visit, receiver.state, None, 1)
    if name == "data":
        made = Tensor(
            receiver.node, receiver.visit, min(receiver.state, DETACHED), receiver.reduction, receiver.evidence
        )
        made.cut = ev.world.cut("data", node) if receiver.state == GRAPH else receiver.cut
        return made
    if name in ("device", "dtype", "requires_grad", "is_cuda", "ndim"):
        return Unknown(name)
    if name == "batch_size":
        return lengths.batch_size(ev, receiver.visit)
    if name in ("T", "mT", "logits", "real"):
        made = Tensor(receiver.node, receiver.visit, receiver.state, None, 0, receiver.traits)
        return outputs.part(made, receiver, name == "logits")
    return outputs.part(Tensor(node, receiver.visit, receiver.state, None, 0, receiver.traits), receiver, True)


def _accelerator_attribute(receiver: Thing, name: str) -> Any:
    if name == "sync_gradients":
        return bool(receiver.data["sync"])
    if name in ("is_main_process", "is_local_main_process"):
        return Unknown("accelerator.is_main_process")
    if name == "gradient_accumulation_steps":
        return Number(receiver.data["window"], 1, "gradient_accumulation_steps")
    return Unknown(f"accelerator.{name}")


def item(ev: Evaluator, receiver: Any, index: Any, node: ir.Index) -> Any:
    """`receiver[index]`."""
    if isinstance(receiver, Thing) and receiver.kind == "shape":
        known = arithmetic.number(ev, index)
        if known is not None and known.value == 0:
            return lengths.batch_size(ev, receiver.data["visit"])
        if isinstance(index, slice):
            return receiver
        return Unknown(f"shape[{known.value if known else '…'}]")
    if isinstance(receiver, dict):
        return _dict_item(ev, receiver, index)
    if isinstance(receiver, (list, tuple)):
        if isinstance(index, slice):
            return receiver
        known = arithmetic.number(ev, index)
        if known is not None and -len(receiver) <= known.value < len(receiver):
            return receiver[int(known.value)]
        return Unknown("item", varies=bool(ev.world.live), tainted=arithmetic.tainted(receiver))
    if isinstance(receiver, Tensor):
        if isinstance(index, str):
            ev.world.mappings.add(receiver.node)
            if roles.is_loss(index):
                return Tensor(node, receiver.visit, receiver.state, None, 1)
        traits = receiver.traits | ({ONE_FRAME} if _is_one_frame(node) else set())
        traits |= {AHEAD} if _drops_first(node.index) else set()
        made = Tensor(node, receiver.visit, receiver.state, None, receiver.evidence and 1, traits)
        place = arithmetic.number(ev, index)
        if place is not None and receiver.output is not None and receiver.output.parts:
            return outputs.one_of_several(made, receiver, int(place.value))
        return outputs.part(made, receiver, isinstance(index, str))
    if isinstance(receiver, Linear):
        if receiver.vector or isinstance(index, slice):
            return receiver
        if isinstance(index, str):
            return ev.tensor(node, evidence=1 if roles.is_loss(index) else 0)
        return receiver
    if isinstance(receiver, Unknown):
        return _unknown_item(ev, receiver, index, node)
    if isinstance(receiver, Loader):
        if isinstance(index, (str, int)) and not receiver.dataset:
            return Loader(f"{receiver.path}[{index}]", receiver.dataset, True)
        return receiver if isinstance(index, slice) else ev.tensor(node, traits=BATCH_TRAITS)
    if isinstance(receiver, (Number, int)):
        return receiver
    return Unknown("item", varies=bool(ev.world.live))


def _is_one_frame(node: ir.Index) -> bool:
    """Whether one fixed item of every sequence of a batch is taken: `images[:, 0]`."""
    parts = node.index.items if isinstance(node.index, ir.Collection) else ()
    return (
        len(parts) == 2
        and isinstance(parts[0], ir.Slice)
        and isinstance(parts[1].operand if isinstance(parts[1], ir.Unary) else parts[1], ir.Const)
        and roles.is_sequence(path_of(node.value))
    )


def _dict_item(ev: Evaluator, receiver: dict[Any, Any], index: Any) -> Any:
    key = key_of(index)
    if key in receiver:
        return receiver[key]
    if isinstance(receiver, Bag) and receiver.default is not None:
        receiver[key] = _default_value(ev, receiver.default)
        return receiver[key]
    return Unknown(f"item[{key}]", varies=bool(ev.world.live))


def _default_value(ev: Evaluator, factory: Any) -> Any:
    if isinstance(factory, Unknown):
        return [] if factory.path == "list" else {} if factory.path == "dict" else 0
    if isinstance(factory, ClassValue):
        return calls.construct(ev, factory, [], {}, None)
    if isinstance(factory, Closure):
        return calls.invoke(ev, factory, [], {}, None)
    return 0


def _unknown_item(ev: Evaluator, receiver: Unknown, index: Any, node: ir.Index) -> Any:
    if isinstance(index, str):
        stored = ev.stored.get((receiver.path, index))
        if stored is not None:
            return stored
        if roles.is_loss(index) and ev.world.live and not receiver.tainted and receiver.varies:
            return ev.tensor(node, evidence=1)
    if isinstance(index, slice):
        return Unknown(receiver.path, receiver.varies, receiver.tainted)
    shown = index if isinstance(index, (str, int)) else getattr(index, "path", "…")
    path = f"{receiver.path}[{shown}]"
    if isinstance(index, str) and not receiver.varies:
        guessed = ev.guess(f"{receiver.path}.{index}")
        if isinstance(guessed, Number):
            return guessed
    return Unknown(path, receiver.varies or arithmetic.varies(index), receiver.tainted)


def _drops_first(index: ir.Expr) -> bool:
    """`[:, 1:]`: all but the first entry of the last dimension."""
    last = index.items[-1] if isinstance(index, ir.Collection) and len(index.items) > 1 else None
    if not isinstance(last, ir.Slice) or last.upper is not None or last.step is not None:
        return False
    return isinstance(last.lower, ir.Const) and last.lower.value == 1
