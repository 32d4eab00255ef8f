"""Attributes, items and methods of values that are not project objects: tensors, losses, loaders, contract objects."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.contracts.torch import CLIPPING, NONLINEAR, SCALAR_PRESERVING
from losslint.interpreter import arithmetic, frameworks, roles
from losslint.interpreter.program import path_of
from losslint.interpreter.values import (
    AMP,
    BATCH,
    BATCHES,
    DETACHED,
    FLOAT,
    GRAPH,
    KEYS,
    SAMPLES,
    Bag,
    Chunks,
    ClassValue,
    Closure,
    Instance,
    Iteration,
    Linear,
    Loader,
    Method,
    ModuleValue,
    Number,
    RangeValue,
    Scope,
    Tensor,
    Text,
    Thing,
    Unknown,
)
from losslint.interpreter.world import exact
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

_DATA = ("rand", "ones", "zeros", "full", "tensor", "arange", "normal")
APEX = "scaled by apex"
"""The note of a loss inside the block of `amp.scale_loss`."""

_COUNT_LIKE = frozenset({"numel", "nelement", "__len__"})
_FEEDING = frozenset({"update", "add", "append", "__call__", "log_loss", "push", "meter"})
_FIELD = re.compile(r"\{(\w+)")
_WITH_MEAN_LOSS = frozenset({"output with a mean loss"})
_RESCALING = ("scale_grad", "average", "mean", "normalize", "divide", "reduce")
_IN_PLACE = {"div_": "/", "mul_": "*", "true_divide_": "/"}
_OPERATORS = {
    "div": "/",
    "true_divide": "/",
    "__truediv__": "/",
    "mul": "*",
    "multiply": "*",
    "add": "+",
    "sub": "-",
    "subtract": "-",
}


def key_of(value: Any) -> Any:
    """A value as a dict key: constants as themselves, anything else by its path."""
    if isinstance(value, (str, int, bool, type(None))):
        return value
    if isinstance(value, Number):
        return value.value
    if isinstance(value, Text):
        return ("text", _literal(value))
    return ("path", str(getattr(value, "path", type(value).__name__)))


def entered(value: Any) -> Any:
    """What `with value as name` binds."""
    if isinstance(value, Thing) and value.kind == "context":
        return Unknown(value.path)
    return value


# ---------------------------------------------------------------- attributes and items


def attribute(ev: Evaluator, receiver: Any, name: str, node: ir.Expr) -> Any:
    """`receiver.name` on anything but project objects and unknown values."""
    if isinstance(receiver, Tensor):
        return _tensor_attribute(ev, receiver, name, node)
    if isinstance(receiver, Linear):
        if name == "data":
            return receiver.alias(min(receiver.state, DETACHED))
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
        return Method(receiver, name) if receiver.kind not in ("model", "context") else Unknown(f"{receiver.path}.{name}")
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
    if name == "loss" and receiver.traits >= _WITH_MEAN_LOSS:
        return Tensor(node, receiver.visit, receiver.state, "mean", 3)
    if name == "loss" or (roles.is_loss(name) and name != "l"):
        return Tensor(node, receiver.visit, receiver.state, None, 1)
    if name == "data":
        return Tensor(receiver.node, receiver.visit, min(receiver.state, DETACHED), receiver.reduction, receiver.evidence)
    if name in ("device", "dtype", "requires_grad", "is_cuda", "ndim"):
        return Unknown(name)
    if name == "batch_size":
        return _batch_size(ev, receiver.visit)
    if name in ("T", "mT", "logits", "real"):
        return Tensor(receiver.node, receiver.visit, receiver.state, None, 0, receiver.traits)
    return Tensor(node, receiver.visit, receiver.state, None, 0, receiver.traits)


def _accelerator_attribute(receiver: Thing, name: str) -> Any:
    if name == "sync_gradients":
        return bool(receiver.data["sync"])
    if name in ("is_main_process", "is_local_main_process"):
        return Unknown("accelerator.is_main_process")
    if name == "gradient_accumulation_steps":
        return Number(receiver.data["window"], 1, "gradient_accumulation_steps")
    return Unknown(f"accelerator.{name}")


def _batch_size(ev: Evaluator, visit: int) -> Number:
    size = ev.world.visits[visit].size if 0 <= visit < len(ev.world.visits) else units.BATCH
    return Number(size, BATCH, None)


def item(ev: Evaluator, receiver: Any, index: Any, node: ir.Index) -> Any:
    """`receiver[index]`."""
    if isinstance(receiver, Thing) and receiver.kind == "shape":
        known = arithmetic.number(ev, index)
        if known is not None and known.value == 0:
            return _batch_size(ev, receiver.data["visit"])
        if isinstance(index, slice):
            return receiver
        return Unknown(f"shape[{known.value if known else '…'}]")
    if isinstance(receiver, dict):
        return _dict_item(ev, receiver, index, node)
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
        return Tensor(node, receiver.visit, receiver.state, None, receiver.evidence and 1, receiver.traits)
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
        return receiver if isinstance(index, slice) else ev.tensor(node, traits=frozenset({"batch"}))
    if isinstance(receiver, (Number, int)):
        return receiver
    return Unknown("item", varies=bool(ev.world.live))


def _dict_item(ev: Evaluator, receiver: dict[Any, Any], index: Any, node: ir.Index) -> Any:
    key = key_of(index)
    if key in receiver:
        return receiver[key]
    if isinstance(receiver, Bag) and receiver.default is not None:
        receiver[key] = _default_value(ev, receiver.default, node)
        return receiver[key]
    return Unknown(f"item[{key}]", varies=bool(ev.world.live))


def _default_value(ev: Evaluator, factory: Any, node: ir.Index) -> Any:
    from losslint.interpreter import calls

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


def is_data(ev: Evaluator, value: Any) -> bool:
    """Whether a value is data that was there before the loop: a tensor made outside it, or something of such."""
    if isinstance(value, (list, tuple)):
        return any(is_data(ev, entry) for entry in value)
    if isinstance(value, dict):
        return any(is_data(ev, entry) for entry in value.values())
    if isinstance(value, Tensor):
        return value.visit >= 0 and ev.world.visits[value.visit].loop is None
    return isinstance(value, Unknown) and value.path.startswith(_DATA)


def length_of(ev: Evaluator, value: Any, node: ir.Node) -> Any:
    """`len(value)`: batches, samples, or the size of this batch."""
    if isinstance(value, Iteration):
        return length_of(ev, value.inner, node)
    if isinstance(value, Loader):
        if value.dataset:
            return _samples(ev, value.path, None)
        return Number(ev.world.settings.batches, BATCHES, None, value.path)
    if isinstance(value, list) and value and all(is_data(ev, entry) for entry in value):
        # batches that were put into a list before the loop: as many as a loader gives
        return Number(ev.world.settings.batches, BATCHES, None, "the list of batches")
    if isinstance(value, (list, tuple, dict, set)):
        if isinstance(value, dict) and any(isinstance(key, tuple) for key in value):
            return _keys(ev, node)
        return len(value)
    if isinstance(value, Tensor):
        return _keys(ev, node) if value.node in ev.world.mappings else _batch_size(ev, value.visit)
    if isinstance(value, Chunks):
        known = ev.world.settings.overrides.get(value.key)
        return known if known is not None else Unknown(str(value.key))
    if isinstance(value, RangeValue) and len(value.arguments) == 1:
        return value.arguments[0]
    if isinstance(value, Linear) and value.vector:
        return Number(ev.world.size, BATCH, None)
    if isinstance(value, Unknown) and not value.varies:
        if ev.stored.get((value.path, "__len__")) is not None or roles.is_dataset(value.path):
            return _samples(ev, value.path, f"len({value.path})")
        if roles.is_loader(value.path):
            return Number(ev.world.settings.batches, BATCHES, f"len({value.path})", value.path)
        return Unknown(f"len({value.path})")
    if isinstance(value, Unknown) and value.varies and ev.world.live:
        return Number(ev.world.size, BATCH, None)
    return Unknown("len", varies=bool(ev.world.live))


def _samples(ev: Evaluator, path: str, key: str | None) -> Number:
    """How many samples a dataset has: as many as batches, where its loader gives them one by one."""
    world = ev.world
    loader = world.loaders.get(path.removesuffix(".dataset").removesuffix(".sampler"))
    walked = [loader] if loader is not None and not loader.dataset else []
    walked += [other for other in world.loaders.values() if other.source == path]
    if walked and all(other.single for other in walked):
        return Number(world.settings.batches, BATCHES | SAMPLES, key, path)
    return Number(world.samples, SAMPLES, key, path)


def _keys(ev: Evaluator, node: ir.Node) -> Number:
    """`len` of a dictionary: how many tensors a batch has, whatever its size."""
    return Number(ev.world.factor(("keys", node), "keys"), KEYS)


# ---------------------------------------------------------------- methods


def call_method(
    ev: Evaluator,
    receiver: Any,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    node: ir.Call,
    receiver_node: ir.Expr,
    scope: Scope | None,
) -> Any:
    """`receiver.name(…)` on anything but project objects."""
    if isinstance(receiver, Linear):
        return _linear_method(ev, receiver, name, args, kwargs, node, receiver_node)
    if isinstance(receiver, Tensor):
        return _tensor_method(ev, receiver, name, args, kwargs, node)
    if isinstance(receiver, Thing):
        if receiver.kind == "gradient":
            return _gradient_method(ev, receiver, name, args, node)
        return _thing_method(ev, receiver, name, args, kwargs, node)
    if isinstance(receiver, list):
        return _list_method(ev, receiver, name, args, kwargs, node, receiver_node)
    if isinstance(receiver, dict):
        return _dict_method(receiver, name, args, kwargs)
    if isinstance(receiver, (str, Text)):
        if name == "format":
            shown = set(_FIELD.findall(_literal(receiver)))
            kwargs = {key: value for key, value in kwargs.items() if key in shown}
        return Text((receiver, *args, *kwargs.values()))
    if isinstance(receiver, Loader):
        if name in ("next", "__next__", "next_batch", "get_batch"):
            return ev.tensor(node, traits=frozenset({"batch"}))
        if name == "__len__":
            return length_of(ev, receiver, node)
        if name in ("size", "numel"):
            return length_of(ev, receiver, node)
        if name in ("batch", "shuffle", "repeat", "map", "prefetch", "set_epoch", "__iter__", "select", "with_format"):
            return receiver
        return Unknown(f"{receiver.path}.{name}()", varies=bool(ev.world.live))
    if isinstance(receiver, Unknown):
        return unknown_method(ev, receiver, name, args, kwargs, node, receiver_node)
    if isinstance(receiver, Closure) and name == "apply":
        return ev.tensor(node)
    if isinstance(receiver, (Number, int)) and name in ("item", "cpu", "to", "float", "double", "detach", "cuda", "clone"):
        return receiver
    if isinstance(receiver, (Number, int)) and name in ("add_", "add") and args:
        return arithmetic.binary(ev, "+", receiver, args[0], node, receiver_node, node)
    return Unknown(f"{name}()", bool(ev.world.live), arithmetic.tainted([*args, *kwargs.values()]))


def _gradient_method(ev: Evaluator, gradient: Thing, name: str, args: list[Any], node: ir.Call) -> Any:
    """A method of `p.grad` (or of `p.grad.data`)."""
    if name in _IN_PLACE and args:
        return arithmetic.rescaled_gradient(ev, gradient, _IN_PLACE[name], args[0], node)
    if name == "zero_":
        ev.world.zero(node, "", True)
    elif name in ("add_", "copy_", "sub_", "clamp_", "set_"):
        if name != "clamp_":
            ev.world.doubt("gradients are written by hand", node)
    elif name in ("detach_", "detach", "requires_grad_"):
        return gradient
    return Unknown(f"{gradient.path}.{name}()", varies=True)


def _literal(value: Any) -> str:
    """The literal parts of a text."""
    if isinstance(value, Text):
        return " ".join(_literal(part) for part in value.parts)
    return value if isinstance(value, str) else ""


def as_float(ev: Evaluator, value: Linear | Tensor) -> Linear:
    """A loss as a plain number: no graph, no shared memory."""
    form = arithmetic.linear(ev, value)
    assert form is not None
    return Linear(form.weights, form.steps, FLOAT, form.vector, form.notes)


def _linear_method(
    ev: Evaluator, form: Linear, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call, receiver_node: ir.Expr
) -> Any:
    world = ev.world
    if name in ("item", "tolist", "numpy", "__float__"):
        return as_float(ev, form)
    if name in ("detach", "detach_"):
        return form.alias(min(form.state, DETACHED))
    if name == "clone":
        return Linear(form.weights, form.steps, form.state, form.vector, form.notes)
    if name == "backward":
        world.backward(node, _without_apex_scale(form))
        return None
    if name in ("mean", "nanmean"):
        return _mean(ev, form, node, args, kwargs)
    if name == "sum":
        return _summed(ev, form, node, args, kwargs)
    if name in _IN_PLACE and args:
        result = arithmetic.binary(ev, _IN_PLACE[name], form, args[0], node, receiver_node, _argument(node))
        return arithmetic.in_place(ev, node, form, result, _IN_PLACE[name]) if isinstance(result, Linear) else result
    if name == "add_" and args:
        result = arithmetic.binary(ev, "+", form, args[0], node, receiver_node, _argument(node))
        if isinstance(result, Linear):
            result = arithmetic.accumulated(ev, node, result, _argument(node), arithmetic.path_text(receiver_node))
            form.storage.weights, form.storage.steps = result.weights, result.steps
            return form
        return result
    if name in _OPERATORS and args:
        return arithmetic.binary(ev, _OPERATORS[name], form, args[0], node, receiver_node, _argument(node))
    if name in SCALAR_PRESERVING:
        return form
    if name in NONLINEAR:
        return arithmetic.nonlinear(ev, form, node, name)
    if name in ("chunk", "split", "unbind") and form.vector:
        return _parts_of(ev, form, args, node)
    if name in ("isnan", "isinf", "isfinite", "any", "all"):
        return Unknown(f"{name}()", varies=True, likely=name == "isfinite")
    if name in ("dim", "size", "numel", "__len__"):
        return Number(world.size, BATCH, None) if form.vector else 1
    if name in ("register_hook", "retain_grad", "zero_", "fill_", "copy_"):
        return form
    return Unknown(name, varies=True, tainted=arithmetic.is_loss(form))


def _without_apex_scale(form: Linear) -> Linear:
    """apex unscales the gradients when its block ends: they get the loss as it was."""
    if APEX not in form.notes:
        return form
    weights = {atom: exact(Fraction(weight) / units.SCALE) for atom, weight in form.weights.items()}
    return Linear(weights, form.steps, form.state, form.vector, form.notes)


def _parts_of(ev: Evaluator, form: Linear, args: list[Any], node: ir.Call) -> Any:
    """The losses of the samples in parts (chosen and rejected, say): each is a figure of its own."""
    count = arithmetic.number(ev, args[0]) if args else None
    if count is None or not 1 < count.value <= 4 or not node.arguments or len({visit for _, visit in form.weights}) != 1:
        return Unknown("parts", varies=True, tainted=True)
    visit = next(visit for _, visit in form.weights)
    # the parts of the call stand for the parts of its result: a place per figure
    places: list[ir.Node] = [node, node.func, node.arguments[0].value, node.arguments[0]]
    return [Tensor(place, visit, form.state, "none", 1) for place in places[: int(count.value)]]


def _argument(node: ir.Call) -> ir.Expr:
    return node.arguments[0].value if node.arguments else node


def _mean(ev: Evaluator, form: Linear, node: ir.Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if not form.vector:
        return form
    partial = _over_one_dimension(ev, args, kwargs)
    if "masked" in form.notes:
        for site, _ in form.weights:
            site.traits |= {"masked mean"}
    weights = form.weights
    steps = ev.world.remember(form.steps, (node, "mean", None, 0, ""), weights)
    notes = form.notes | ({"masked mean"} if "masked" in form.notes else set())
    return Linear(weights, steps, form.state, partial, notes)


def _over_one_dimension(ev: Evaluator, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """`.mean(1)` leaves a vector over the samples."""
    axis = args[0] if args else kwargs.get("dim", kwargs.get("axis"))
    if isinstance(axis, RangeValue):
        axis = axis.arguments[0] if len(axis.arguments) > 1 else 0
    if isinstance(axis, (list, tuple)) and axis:
        return all(_over_one_dimension(ev, [part], {}) for part in axis)
    known = arithmetic.number(ev, axis) if axis is not None and axis is not True else None
    return known is not None and known.value != 0


def _summed(ev: Evaluator, form: Linear, node: ir.Call, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if not form.vector:
        return form
    if _over_one_dimension(ev, args, kwargs):
        # masked entries are summed away here: a mean of what follows is over samples
        return Linear(form.weights, form.steps, form.state, True, form.notes - {"masked"})
    sizes = {visit: ev.world.visits[visit].size for _, visit in form.weights if visit >= 0}
    weights = {atom: exact(weight * sizes.get(atom[1], units.BATCH)) for atom, weight in form.weights.items()}
    steps = ev.world.remember(form.steps, (node, "sum", None, BATCH, ""), weights)
    return Linear(weights, steps, form.state, False, form.notes)


def _tensor_method(
    ev: Evaluator, tensor: Tensor, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    if name == "size":
        known = arithmetic.number(ev, args[0]) if args else None
        if known is not None and known.value == 0:
            return _batch_size(ev, tensor.visit)
        return Unknown("size") if args else Thing("shape", "shape", {"visit": tensor.visit})
    if name in _COUNT_LIKE:
        return _batch_size(ev, tensor.visit)
    if name == "backward":
        if not args and not kwargs.get("gradient"):
            form = arithmetic.linear(ev, tensor)
            assert form is not None
            ev.world.backward(node, form)
        else:
            ev.world.doubt("backward with a gradient of its own", node)
        return None
    if name in ("mean", "sum", "nanmean", "nansum") and not _over_one_dimension(ev, args, kwargs):
        reduction = "sum" if "sum" in name else "mean"
        if "mask" in tensor.traits and reduction == "sum":
            return Tensor(node, tensor.visit, DETACHED, None, 0, frozenset({"count"}))
        return Tensor(node, tensor.visit, tensor.state, reduction, tensor.evidence, tensor.traits - {"batch"})
    if name in ("item", "tolist", "numpy"):
        return Tensor(tensor.node, tensor.visit, FLOAT, tensor.reduction, tensor.evidence, tensor.traits)
    if name in ("detach", "detach_"):
        return Tensor(tensor.node, tensor.visit, min(tensor.state, DETACHED), tensor.reduction, tensor.evidence, tensor.traits)
    if name in SCALAR_PRESERVING or name in ("clone", "bool", "long", "int", "eq_", "values"):
        if tensor.evidence or tensor.reduction or tensor.traits:
            return tensor
        return Tensor(tensor.node, tensor.visit, tensor.state, None, 0, tensor.traits)
    if name in ("chunk", "split", "tensor_split"):
        return _chunks(ev, args, kwargs, node)
    if name in ("eq", "ne", "gt", "lt", "ge", "le", "logical_not", "logical_and"):
        return Tensor(node, tensor.visit, DETACHED, None, 0, frozenset({"mask"}))
    if name in ("items", "keys"):
        ev.world.mappings.add(tensor.node)
        return [(Unknown("key", varies=True), Tensor(node, tensor.visit, tensor.state, None, 0, tensor.traits))]
    if name in ("div", "mul", "true_divide") and args:
        op = "*" if name == "mul" else "/"
        return arithmetic.binary(ev, op, tensor, args[0], node, node, _argument(node))
    if name in NONLINEAR and tensor.evidence:
        return arithmetic.nonlinear(ev, tensor, node, name)
    if name in ("isnan", "isinf", "isfinite", "any", "all"):
        return Tensor(node, tensor.visit, DETACHED, None, 0, frozenset({"mask"}))
    traits = tensor.traits & {"batch", "mask"}
    return Tensor(node, tensor.visit, tensor.state, None, 0, traits | arithmetic.spanning(tensor, *args))


def _chunks(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    count = args[0] if args else next(iter(kwargs.values()), None)
    key = arithmetic.static_key(count)
    return Chunks(key) if key is not None else ev.tensor(node, traits=frozenset({"batch"}))


def _list_method(
    ev: Evaluator, items: list[Any], name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call, receiver_node: ir.Expr
) -> Any:
    if name in ("append", "appendleft", "add") and args:
        value = args[0]
        if isinstance(value, Tensor) and (value.evidence or "nonlinear" in value.traits):
            value = arithmetic.linear(ev, value)
        if isinstance(value, Linear):
            held = arithmetic.path_text(receiver_node)
            ev.stored_figure(node, value, held)
            value = arithmetic.collected(ev, node, value, held)
            ev.keep(node, items, value, held)
        elif isinstance(value, (tuple, dict)) and arithmetic.tainted(value):
            ev.report(node, [value], "append")
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
        from losslint.interpreter import library

        total = library.call_builtin(ev, "sum", [items], {}, node, Scope({}, None, None))
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
        return [(key, value) for key, value in receiver.items()]
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


# ---------------------------------------------------------------- contract objects


def make_meter(name: str) -> Thing:
    """A running average of a library, by its usual names."""
    return Thing("meter", name, {"sum": 0, "count": 0, "avg": 0, "val": 0})


def without_graph(form: Linear, inputs: list[Any]) -> Linear:
    """A loss of which all inputs are detached is no part of a graph (what the loader gives never was one)."""
    tensors = [value for value in inputs if isinstance(value, (Tensor, Linear))]
    made = [value for value in tensors if not (isinstance(value, Tensor) and "batch" in value.traits)]
    return form.alias(DETACHED) if made and all(value.state != GRAPH for value in made) else form


def call_thing(ev: Evaluator, thing: Thing, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """Calls a contract object."""
    if thing.kind == "criterion":
        if "reduction" in kwargs:
            reduction = kwargs["reduction"] if isinstance(kwargs["reduction"], str) else None
        else:
            reduction = thing.data["reduction"]
        traits = thing.data.get("traits", frozenset()) | arithmetic.spanning(*args)
        return without_graph(ev.loss(node, reduction, 3, "", traits), [*args, *kwargs.values()])
    if thing.kind in ("model", "engine"):
        return ev.tensor(node, traits=_WITH_MEAN_LOSS if thing.data.get("loss") == "mean" else frozenset())
    if thing.kind == "scaler_callable":
        return frameworks.scaler_callable(ev, args, kwargs, node)
    if thing.kind == "meter":
        return _meter_method(ev, thing, "update", args, kwargs, node)
    if thing.kind == "progress":
        return args[0] if args else Unknown("progress")
    if thing.kind == "context":
        from losslint.interpreter.values import Closure as _Closure

        return args[0] if args and isinstance(args[0], _Closure) else Unknown("decorated")
    return ev.tensor(node) if ev.world.live else Unknown(f"{thing.path}()")


def _thing_method(ev: Evaluator, thing: Thing, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    kind = thing.kind
    if kind == "optimizer":
        return _optimizer_method(ev, thing, thing.path, name, args, kwargs, node)
    if kind == "scaler":
        return _scaler_method(ev, thing, name, args, node)
    if kind == "scheduler":
        if name == "step":
            ev.world.event("schedule", node, thing.path)
        return Unknown(f"{thing.path}.{name}()")
    if kind == "accelerator":
        return frameworks.accelerator_method(ev, thing, name, args, kwargs, node)
    if kind == "engine":
        return frameworks.engine_method(ev, thing, name, args, kwargs, node)
    if kind == "fabric":
        return _fabric_method(ev, thing, name, args, kwargs, node)
    if kind == "meter":
        return _meter_method(ev, thing, name, args, kwargs, node)
    if kind == "criterion":
        if name in ("to", "cuda", "cpu", "float", "half", "train", "eval"):
            return thing
        return call_thing(ev, thing, args, kwargs, node) if name == "forward" else Unknown(f"criterion.{name}()")
    if kind == "model":
        return _model_method(ev, thing, name, args, kwargs, node)
    if kind == "namespace":
        return thing.data if name in ("__dict__", "items") else Unknown(f"{thing.path}.{name}()")
    if kind == "shape":
        return Unknown("shape")
    if roles.is_report(name):
        ev.report(node, [*args, *kwargs.values()], name)
        return None
    return Unknown(f"{thing.path}.{name}()", varies=bool(ev.world.live))


def _model_method(ev: Evaluator, thing: Thing, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if name in ("train", "eval"):
        ev.world.event(name, node, thing.path)
        return thing
    if name == "zero_grad":
        ev.world.zero(node, thing.path, True)
        return None
    if name in ("to", "cuda", "cpu", "float", "half", "double", "apply", "requires_grad_"):
        return thing
    if name in ("parameters", "named_parameters", "state_dict", "modules", "children"):
        return Unknown(f"{thing.path}.{name}()")
    return unknown_call(ev, f"{thing.path}.{name}", name, args, kwargs, node)


def _optimizer_method(
    ev: Evaluator, owner: Any, path: str, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    from losslint.interpreter import calls

    world = ev.world
    if name in ("step", "zero_grad") and frameworks.is_gated(owner):
        return None
    if name == "step":
        if args or "closure" in kwargs:
            if args and not isinstance(args[0], (Unknown, Closure)):
                return None
            closure = args[0] if args else kwargs["closure"]
            if isinstance(closure, Closure):
                value = calls.invoke(ev, closure, [], {}, node)
                world.step(node, path, False)
                return value
            if closure is not None:
                world.doubt("the step is given a closure", node)
                return Unknown("loss", varies=True, tainted=True)
        world.step(node, path, False)
        return None
    if name == "zero_grad":
        world.zero(node, path, False)
        return None
    if name == "backward" and args:
        form = arithmetic.linear(ev, args[0])
        if form is not None:
            world.backward(node, form)
        return None
    if name in ("clip_grad_norm", "clip_master_grads"):
        world.clip(node)
        return Unknown("norm", varies=True)
    if name in ("train", "eval"):
        return None
    return Unknown(f"{path}.{name}()", varies=bool(world.live))


def optimizer_path(value: Any) -> str:
    """The path of an optimizer; of a project object that wraps one, the path of that one."""
    if isinstance(value, Instance):
        held = next((part for part in value.attributes.values() if isinstance(part, Thing) and part.kind == "optimizer"), None)
        if held is not None:
            return held.path
    return str(getattr(value, "path", "optimizer"))


def _scaler_method(ev: Evaluator, thing: Any, name: str, args: list[Any], node: ir.Call) -> Any:
    world = ev.world
    enabled = getattr(thing, "data", {}).get("enabled", True) is not False
    if name == "scale" and args:
        values = args[0] if isinstance(args[0], (list, tuple)) else [args[0]]
        forms = [_scaled(ev, value, node) if enabled else value for value in values]
        return forms if isinstance(args[0], (list, tuple)) else forms[0]
    if name == "step":
        optimizer = args[0] if args else Unknown("optimizer")
        if frameworks.is_gated(optimizer):
            return None
        world.step(node, optimizer_path(optimizer), enabled)
        return None
    if name == "unscale_":
        if enabled:
            world.unscale(node, optimizer_path(args[0]) if args else "optimizer")
        return None
    if name == "update":
        world.update(node)
        return None
    if name == "get_scale":
        return Number(units.SCALE, AMP, None)
    if name == "is_enabled":
        return enabled
    return Unknown(f"scaler.{name}()", varies=bool(world.live))


def _scaled(ev: Evaluator, value: Any, node: ir.Call) -> Any:
    if type(value) is Unknown and not value.tainted:
        value = ev.tensor(_argument(node))
    form = arithmetic.linear(ev, value)
    if form is None:
        return value
    ev.world.note_scaling(node, form, AMP, False)
    return ev.world.scaled(form, units.SCALE, (node, "scale", None, AMP, ""))


def _fabric_method(ev: Evaluator, thing: Thing, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if name == "backward" and args:
        form = arithmetic.linear(ev, args[0])
        if form is not None:
            ev.world.backward(node, form)
        return None
    if name in ("setup", "setup_dataloaders", "setup_module", "setup_optimizers"):
        return args[0] if len(args) == 1 else tuple(args)
    if name == "clip_gradients":
        return Unknown("norm", varies=True)
    if name in ("no_backward_sync", "autocast", "init_module", "rank_zero_first"):
        return Thing("context", name, {})
    if name in ("log", "log_dict", "print"):
        ev.report(node, [*args, *kwargs.values()], name)
        return None
    if name == "all_reduce" and args:
        return args[0]
    return Unknown(f"fabric.{name}()", varies=bool(ev.world.live))


def _meter_method(ev: Evaluator, thing: Thing, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    data = thing.data
    if name in ("update", "add", "__call__", "append") and (args or kwargs):
        value = args[0] if args else next(iter(kwargs.values()))
        count = args[1] if len(args) > 1 else kwargs.get("n", kwargs.get("weight", 1))
        # the parts of the call stand for the lines inside the meter: a line of provenance per node
        weight_node = node.arguments[1].value if len(node.arguments) > 1 else node
        weighted = arithmetic.binary(ev, "*", value, count, weight_node, _argument(node), weight_node)
        total = arithmetic.binary(ev, "+", data["sum"], weighted, node, _argument(node), _argument(node))
        if isinstance(total, Linear):
            total = arithmetic.accumulated(ev, node, total, _argument(node), thing.path)
        data["val"], data["sum"] = value, total
        data["count"] = arithmetic.binary(ev, "+", data["count"], count, node, node, node)
        data["avg"] = arithmetic.binary(ev, "/", total, data["count"], node.func, node, node.func)
        return None
    if name == "reset":
        data.update(sum=0, count=0, avg=0, val=0)
        return None
    if name in ("compute", "value", "mean", "get", "item", "average"):
        return data["avg"]
    return None


# ---------------------------------------------------------------- unknown receivers


def unknown_method(
    ev: Evaluator,
    receiver: Unknown,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    node: ir.Call,
    receiver_node: ir.Expr,
) -> Any:
    """A method of something that is not in sight: by the method's name, and the receiver's, which may be the name that
    the code gives it where its origin has none (`optimizer = state["optimizer"]`)."""
    world = ev.world
    path = receiver.path
    given = path_of(receiver_node)
    schedules = roles.is_scheduler(path) or roles.is_scheduler(given)
    optimizes = (roles.is_optimizer(path) or roles.is_optimizer(given)) and not schedules
    if name == "backward":
        return _unknown_backward(ev, receiver, args, kwargs, node)
    if name == "step" and optimizes:
        return _optimizer_method(ev, receiver, path, name, args, kwargs, node)
    if (roles.is_scaler(path) or roles.is_scaler(given)) and name in ("scale", "step", "unscale_", "update", "get_scale", "is_enabled"):
        return _scaler_method(ev, receiver, name, args, node)
    if name == "step" and schedules:
        world.event("schedule", node, path)
        return None
    if name == "zero_grad":
        world.zero(node, path, not optimizes)
        return None
    if roles.last(path) == "accelerator" and name in ("prepare", "accumulate", "gather", "clip_grad_norm_", "no_sync", "log", "print"):
        return _unknown_accelerator(ev, receiver, name, args, kwargs, node)
    if name in ("train", "eval") and len(args) <= 1 and (not args or isinstance(args[0], bool)):
        world.event(name, node, path)
        return receiver
    if name in ("to", "cuda", "cpu", "float", "half", "clone", "detach", "item", "contiguous", "unsqueeze", "copy"):
        return receiver
    if name == "parse_args" or name == "parse_known_args":
        args_value = Unknown("args")
        return (args_value, Unknown("rest")) if name == "parse_known_args" else args_value
    if name in CLIPPING:
        world.clip(node)
        return Unknown("norm", varies=True)
    if name == "get" and args and isinstance(args[0], str) and not receiver.varies:
        return ev.attribute(receiver, args[0], node)
    if name == "__len__":
        return length_of(ev, receiver, node)
    if path in world.fed and not args:
        # what a meter that is not in sight makes of the losses it was given
        return Unknown(f"{path}.{name}()", varies=True, tainted=True)
    if name in _FEEDING and arithmetic.tainted([*args, *kwargs.values()]):
        world.fed.add(path)
    return unknown_call(ev, f"{path}.{name}", name, args, kwargs, node)


def _unknown_backward(ev: Evaluator, receiver: Unknown, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    world = ev.world
    if args:
        form = arithmetic.linear(ev, args[0])
        owner = roles.last(receiver.path)
        if owner == "accelerator":
            world.doubt("the accelerator's window is not in sight", node)
        elif owner != "fabric" and form is not None:
            # an engine, a strategy or a wrapped optimizer: who divides is not known
            world.doubt("backward of something that is not in sight", node)
        if form is not None:
            world.backward(node, form)
        return None
    if receiver.tainted:
        world.doubt("backward on a value that was not followed", node)
        return None
    source = node.func.value if isinstance(node.func, ir.Attr) else node
    form = arithmetic.linear(ev, ev.tensor(source, evidence=1))
    assert form is not None
    world.backward(node, form)
    return None


def _unknown_accelerator(
    ev: Evaluator, receiver: Unknown, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    if name == "prepare":
        return args[0] if len(args) == 1 else tuple(args)
    if name == "accumulate":
        ev.world.doubt("the accelerator's window is not in sight", node)
        return Thing("context", name, {})
    if name == "gather":
        return args[0] if args else None
    if name == "clip_grad_norm_":
        return Unknown("norm", varies=True)
    if name in ("log", "print"):
        ev.report(node, [*args, *kwargs.values()], name)
        return None
    return Thing("context", name, {})


def unknown_call(
    ev: Evaluator, path: str, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    """A call of which nothing is known but its name and what goes into it."""
    everything = [*args, *kwargs.values()]
    if roles.is_criterion(name) and not arithmetic.tainted(everything) and (
        ev.world.live or arithmetic.varies(everything)
    ) and not roles.is_report(name):
        return without_graph(ev.loss(node, None, 2, "opaque"), everything)
    if roles.is_report(name):
        ev.report(node, everything, name)
        return None
    lossy = arithmetic.tainted(everything)
    if name in ("write_text", "writerow"):
        ev.report(node, everything, name)
        return None
    if lossy and name in _FEEDING:
        ev.report(node, everything, "meter")
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
        return ev.tensor(node)
    if ev.world.live and (roles.is_model(name) or roles.gives_batch(name)):
        return ev.tensor(node, traits=frozenset({"batch"}) if roles.gives_batch(name) else frozenset())
    if roles.is_loader(name) and name.startswith(("get", "make", "build", "create", "prepare", "load")):
        return Unknown(path if not args else f"{path}()")
    varies = ev.world.live > 0 and (arithmetic.varies(everything) or not everything)
    listed = ", ".join(shown(item) for item in everything)
    return Unknown(f"{path}({listed})", varies)


def shown(value: Any) -> str:
    """A value as part of the name of an unknown one."""
    if isinstance(value, Number):
        return str(value.value)
    return str(getattr(value, "path", value if isinstance(value, (str, int)) else type(value).__name__))


def _holds_tensor(values: list[Any]) -> bool:
    return any(isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value) for value in values)


__all__ = ["Fraction", "Instance", "ModuleValue", "attribute", "call_method", "call_thing", "item", "length_of"]
