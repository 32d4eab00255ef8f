"""Methods of losses, of tensors that are not followed, and of gradients."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.contracts.torch import CLASSIFYING, NONLINEAR, SCALAR_PRESERVING
from losslint.interpreter import arithmetic, graph, lengths, outputs, roles
from losslint.interpreter.values import (
    BATCH,
    BATCH_TRAITS,
    CONSTANT,
    DETACHED,
    FLOAT,
    GRAPH,
    Chunks,
    Cut,
    Linear,
    Number,
    RangeValue,
    Tensor,
    Thing,
    Unknown,
)
from losslint.interpreter.world import exact
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

APEX = "scaled by apex"
"""The note of a loss inside the block of `amp.scale_loss`."""


_COUNT_LIKE = frozenset({"numel", "nelement", "__len__"})


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


def linear_method(
    ev: Evaluator,
    form: Linear,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    node: ir.Call,
    receiver_node: ir.Expr,
) -> Any:
    """A method of a loss."""
    world = ev.world
    if name in ("item", "tolist", "numpy", "__float__"):
        return as_float(ev, form, name.strip("_"), node)
    if name in ("detach", "detach_"):
        return form.alias(min(form.state, DETACHED), *_left(ev, form, "detach", node))
    if name == "requires_grad_" and form.state != GRAPH and not (args and args[0] is False):
        graph.made_leaf(ev, form, node)
        return form
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
        result = arithmetic.binary(ev, _IN_PLACE[name], form, args[0], node, receiver_node, argument(node))
        return arithmetic.in_place(ev, node, form, result, _IN_PLACE[name]) if isinstance(result, Linear) else result
    if name == "add_" and args:
        result = arithmetic.binary(ev, "+", form, args[0], node, receiver_node, argument(node))
        if isinstance(result, Linear):
            result = arithmetic.accumulated(ev, node, result, argument(node), arithmetic.path_text(receiver_node))
            form.storage.weights, form.storage.steps = result.weights, result.steps
            return form
        return result
    if name in _OPERATORS and args:
        return arithmetic.binary(ev, _OPERATORS[name], form, args[0], node, receiver_node, argument(node))
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
    if (
        count is None
        or not 1 < count.value <= 4
        or not node.arguments
        or len({visit for _, visit in form.weights}) != 1
    ):
        return Unknown("parts", varies=True, tainted=True)
    visit = next(visit for _, visit in form.weights)
    # the parts of the call stand for the parts of its result: a place per figure
    places: list[ir.Node] = [node, node.func, node.arguments[0].value, node.arguments[0]]
    return [Tensor(place, visit, form.state, "none", 1) for place in places[: int(count.value)]]


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


def tensor_method(
    ev: Evaluator, tensor: Tensor, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    """A method of a tensor that is not followed."""
    if name == "size":
        known = arithmetic.number(ev, args[0]) if args else None
        if known is not None and known.value == 0:
            return lengths.batch_size(ev, tensor.visit)
        return Unknown("size") if args else Thing("shape", "shape", {"visit": tensor.visit})
    if name in _COUNT_LIKE:
        return lengths.batch_size(ev, tensor.visit)
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
    if name in ("item", "tolist", "numpy", "detach", "detach_"):
        name = name.strip("_")
        state = min(tensor.state, DETACHED) if name == "detach" else FLOAT
        made = Tensor(tensor.node, tensor.visit, state, tensor.reduction, tensor.evidence, tensor.traits)
        made.cut = ev.world.cut(name, node) if tensor.state == GRAPH else tensor.cut
        return made
    if name == "requires_grad_" and not tensor.evidence and not (args and args[0] is False):
        graph.made_leaf(ev, tensor, node)
        return tensor
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
        return arithmetic.binary(ev, op, tensor, args[0], node, node, argument(node))
    if name in NONLINEAR and tensor.evidence:
        return arithmetic.nonlinear(ev, tensor, node, name)
    if name in ("isnan", "isinf", "isfinite", "any", "all"):
        return Tensor(node, tensor.visit, DETACHED, None, 0, frozenset({"mask"}))
    if name.endswith("_"):
        for value in args:
            outputs.written(tensor, value)
    traits = tensor.traits & {"batch", "mask"}
    return Tensor(node, tensor.visit, tensor.state, None, 0, traits | arithmetic.spanning(tensor, *args))


def _chunks(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    count = args[0] if args else next(iter(kwargs.values()), None)
    key = arithmetic.static_key(count)
    return Chunks(key) if key is not None else ev.tensor(node, traits=BATCH_TRAITS)


def gradient_method(ev: Evaluator, gradient: Thing, name: str, args: list[Any], node: ir.Call) -> Any:
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


def not_followed(ev: Evaluator, value: Unknown, node: ir.Expr, evidence: int) -> Tensor:
    """What is backpropagated although it is not in sight: numbers that went into it may have been its divisor."""
    return ev.tensor(node, evidence=evidence, traits=frozenset({"out of sight"} if value.kinds else ()))


def as_float(ev: Evaluator, value: Linear | Tensor, name: str, node: ir.Node) -> Linear:
    """A loss as a plain number, which the function `name` makes of it: no graph, no shared memory."""
    form = arithmetic.linear(ev, value)
    assert form is not None
    notes = form.notes.union(_left(ev, form, name, node))
    return Linear(form.weights, form.steps, FLOAT, form.vector, notes)


def _left(ev: Evaluator, form: Linear, name: str, node: ir.Node) -> list[Cut]:
    """The cut by which a loss leaves the graph here; none where it has left it before."""
    return [ev.world.cut(name, node)] if form.state == GRAPH else []


def without_graph(form: Linear, inputs: list[Any], target: Any = None) -> Linear:
    """A loss of which all inputs are detached is no part of a graph (what the loader gives never was one). A `target`
    that is not in sight is data."""
    tensors = [value for value in inputs if isinstance(value, (Tensor, Linear))]
    made = [value for value in tensors if not (isinstance(value, Tensor) and value.traits & {"batch", CONSTANT})]
    if not made or any(value.state == GRAPH for value in made):
        return form
    # a loss function that is not in sight may have parameters of its own
    known = all(site.evidence >= 3 for site, _ in form.weights)
    if type(target) is Unknown and not target.tainted:
        inputs = [value for value in inputs if value is not target]
    # what is out of the graph although nobody took it out of it never was in one: a mask, a count, noise
    inputs = [v for v in inputs if not (type(v) is Tensor and _never_in_graph(v))]
    left = graph.outside(inputs) if known else frozenset()
    # with a memory of its own: no loss in a graph shares it
    return Linear(form.weights, form.steps, min(form.state, DETACHED), form.vector, form.notes | left)


def _never_in_graph(tensor: Tensor) -> bool:
    return CONSTANT in tensor.traits or (tensor.state != GRAPH and tensor.cut is None)


def target_of(function: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """What a loss function compares the prediction with: labels, or what reads like a target."""
    target = kwargs.get("target", args[1] if len(args) > 1 else None)
    reads = type(target) is Unknown and roles.is_target(target.path)
    return target if reads or function in CLASSIFYING else None


def argument(node: ir.Call) -> ir.Expr:
    """The first argument of a call as it is written; the call itself where there is none."""
    return node.arguments[0].value if node.arguments else node
