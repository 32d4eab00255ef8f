"""Objects that a contract speaks of: called, and their methods (optimizer, scaler, meter, model, criterion …)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.contracts.torch import FUNCTION_OF
from losslint.interpreter import arithmetic, figures, frameworks, models, opaque, roles, tensors
from losslint.interpreter.values import (
    AMP,
    DETACHED,
    Closure,
    Instance,
    Linear,
    Number,
    Output,
    Thing,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

SHIFTING = "shifting model"
"""What stands for a loss function where a model that shifts its labels computes the loss."""
WITH_MEAN_LOSS = frozenset({"output with a mean loss"})


def make_meter(name: str, detaches: bool = False) -> Thing:
    """A running average of a library, by its usual names; `detaches`: what it adds up is not in the graph."""
    return Thing("meter", name, {"sum": 0, "count": 0, "avg": 0, "val": 0, "detaches": detaches})


def call_thing(ev: Evaluator, thing: Thing, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """Calls a contract object."""
    if thing.kind == "criterion":
        if "reduction" in kwargs:
            reduction = kwargs["reduction"] if isinstance(kwargs["reduction"], str) else None
        else:
            reduction = thing.data["reduction"]
        traits = thing.data.get("traits", frozenset()) | arithmetic.spanning(*args)
        if thing.data.get("known"):
            function = FUNCTION_OF.get(thing.path, thing.path)
            ev.world.loss_call(function, node, args, {**thing.data["options"], **kwargs})
        target = tensors.target_of(FUNCTION_OF.get(thing.path, thing.path), args, kwargs)
        return tensors.without_graph(ev.loss(node, reduction, 3, "", traits), [*args, *kwargs.values()], target)
    if thing.kind in ("model", "engine"):
        if thing.data.get("shifts") is True and kwargs.get("labels") is not None:
            ev.world.loss_call(SHIFTING, node, args, kwargs)
        given = ev.tensor(node, traits=WITH_MEAN_LOSS if thing.data.get("loss") == "mean" else frozenset())
        given.output = models.output_of(ev, thing, args, kwargs, node) or Output("", node, None, roles.last(thing.path))
        given.shape = given.output.shape if given.output is not None else ""
        return given
    if thing.kind == "scaler_callable":
        return frameworks.scaler_callable(ev, args, kwargs, node)
    if thing.kind == "meter":
        return _meter_method(ev, thing, "update", args, kwargs, node)
    if thing.kind == "progress":
        return args[0] if args else Unknown("progress")
    if thing.kind == "context":
        return args[0] if args and isinstance(args[0], Closure) else Unknown("decorated")
    return ev.tensor(node) if ev.world.live else Unknown(f"{thing.path}()")


def thing_method(ev: Evaluator, thing: Thing, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """`thing.name(…)`, by the kind of the thing."""
    kind = thing.kind
    if kind == "optimizer":
        return optimizer_method(ev, thing, thing.path, name, args, kwargs, node)
    if kind == "scaler":
        return scaler_method(ev, thing, name, args, node)
    if kind == "scheduler":
        if name == "step" and not frameworks.is_gated(thing, "step"):
            ev.world.event("schedule", node, thing.path, "prepared" in thing.data or "framework" in thing.data)
        return Unknown(f"{thing.path}.{name}()")
    if kind == "accelerator":
        return frameworks.accelerator_method(ev, thing, name, args, kwargs, node)
    if kind == "engine":
        return frameworks.engine_method(ev, thing, name, args, kwargs, node)
    if kind == "fabric":
        return frameworks.fabric_method(ev, name, args, kwargs, node)
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
        figures.report(ev, node, [*args, *kwargs.values()], name)
        return None
    return Unknown(f"{thing.path}.{name}()", varies=bool(ev.world.live))


def _model_method(
    ev: Evaluator, thing: Thing, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    if name == "forward":
        return call_thing(ev, thing, args, kwargs, node)
    if name in ("train", "eval"):
        ev.world.mode(name, [*args, *kwargs.values()], node, thing.path)
        return thing
    if name == "zero_grad":
        ev.world.zero(node, thing.path, True)
        return None
    if name == "no_sync" and not args:
        return frameworks.without_sync(node)
    if name in ("to", "cuda", "cpu", "float", "half", "double", "apply", "requires_grad_"):
        return thing
    if name in ("parameters", "named_parameters", "state_dict", "modules", "children"):
        return Unknown(f"{thing.path}.{name}()")
    return opaque.unknown_call(ev, f"{thing.path}.{name}", name, args, kwargs, node)


def optimizer_method(
    ev: Evaluator, owner: Any, path: str, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    """A method of an optimizer, which may be a project object or something out of sight: `path` names it."""
    world = ev.world
    if name in ("step", "zero_grad") and frameworks.is_gated(owner, name):
        return None
    if name == "step":
        if args or "closure" in kwargs:
            if args and not isinstance(args[0], (Unknown, Closure)):
                return None
            closure = args[0] if args else kwargs["closure"]
            if isinstance(closure, Closure):
                value = ev.apply(closure, [], {}, node)
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
    if name == "add_param_group":
        world.event("group", node, path)
    return Unknown(f"{path}.{name}()", varies=bool(world.live))


def optimizer_path(value: Any) -> str:
    """The path of an optimizer; of a project object that wraps one, the path of that one."""
    if isinstance(value, Instance):
        held = next(
            (part for part in value.attributes.values() if isinstance(part, Thing) and part.kind == "optimizer"), None
        )
        if held is not None:
            return held.path
    return str(getattr(value, "path", "optimizer"))


def scaler_method(ev: Evaluator, thing: Any, name: str, args: list[Any], node: ir.Call) -> Any:
    """A method of a GradScaler. One that is not enabled scales nothing."""
    world = ev.world
    enabled = getattr(thing, "data", {}).get("enabled", True) is not False
    if name == "scale" and args:
        values = args[0] if isinstance(args[0], (list, tuple)) else [args[0]]
        forms = [_scaled(ev, value, node) if enabled else value for value in values]
        return forms if isinstance(args[0], (list, tuple)) else forms[0]
    if name == "step":
        optimizer = args[0] if args else Unknown("optimizer")
        if frameworks.is_gated(optimizer, "step"):
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
        value = tensors.not_followed(ev, value, tensors.argument(node), 0)
    form = arithmetic.linear(ev, value)
    if form is None:
        return value
    ev.world.note_scaling(node, form, AMP, False)
    return ev.world.scaled(form, units.SCALE, (node, "scale", None, AMP, ""))


def _meter_method(
    ev: Evaluator, thing: Thing, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    data = thing.data
    if name in ("update", "add", "__call__", "append") and (args or kwargs):
        value = args[0] if args else next(iter(kwargs.values()))
        if data["detaches"] and isinstance(value, Linear):
            value = value.alias(min(value.state, DETACHED))
        count = args[1] if len(args) > 1 else kwargs.get("n", kwargs.get("weight", 1))
        # the parts of the call stand for the lines inside the meter: a line of provenance per node
        weight_node = node.arguments[1].value if len(node.arguments) > 1 else node
        weighted = arithmetic.binary(ev, "*", value, count, weight_node, tensors.argument(node), weight_node)
        total = arithmetic.binary(ev, "+", data["sum"], weighted, node, tensors.argument(node), tensors.argument(node))
        if isinstance(total, Linear):
            total = arithmetic.accumulated(ev, node, total, tensors.argument(node), thing.path)
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
