"""Values that are not in sight, called or asked for a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint.contracts.torch import CLIPPING
from losslint.interpreter import arithmetic, figures, frameworks, lengths, opaque, roles, taught, tensors, things
from losslint.interpreter.program import path_of
from losslint.interpreter.values import (
    MISSING,
    Instance,
    Linear,
    Tensor,
    Thing,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator


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
    if ev.program.hints:
        # an object is called by what it is, by what made it, or by its name
        for owner in (path, path.split("(", 1)[0], given):
            made = taught.call(ev, f"{owner}.{name}", args, kwargs, node)
            if made is not MISSING:
                return made
    schedules = roles.is_scheduler(path) or roles.is_scheduler(given)
    optimizes = (roles.is_optimizer(path) or roles.is_optimizer(given)) and not schedules
    if name == "backward":
        return _unknown_backward(ev, receiver, args, kwargs, node)
    if name == "step" and optimizes:
        return things.optimizer_method(ev, receiver, path, name, args, kwargs, node)
    if (roles.is_scaler(path) or roles.is_scaler(given)) and name in (
        "scale",
        "step",
        "unscale_",
        "update",
        "get_scale",
        "is_enabled",
    ):
        return things.scaler_method(ev, receiver, name, args, node)
    if name == "step" and schedules:
        world.event("schedule", node, path)
        return None
    if name == "zero_grad":
        world.zero(node, path, not optimizes)
        return None
    if roles.last(path) == "accelerator" and name in (
        "prepare",
        "accumulate",
        "gather",
        "clip_grad_norm_",
        "no_sync",
        "log",
        "print",
    ):
        return _unknown_accelerator(ev, name, args, kwargs, node)
    if name == "no_sync" and not args:
        return frameworks.without_sync(node)
    if name in ("train", "eval") and not kwargs and (not args or _is_mode(args)):
        world.mode(name, args, node, path)
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
        return lengths.length_of(ev, receiver, node)
    if path in world.fed and not args:
        # what a meter that is not in sight makes of the losses it was given
        return Unknown(f"{path}.{name}()", varies=True, tainted=True)
    if name in opaque.FEEDING and arithmetic.tainted([*args, *kwargs.values()]):
        world.fed.add(path)
    return opaque.unknown_call(ev, f"{path}.{name}", name, args, kwargs, node)


def _is_mode(args: list[Any]) -> bool:
    """Whether the argument of `train` is a mode; `trainer.train(loader)` is a routine."""
    value = args[0]
    named = type(value) is Unknown and "train" in roles.last(value.path)
    return len(args) == 1 and (isinstance(value, bool) or named)


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
            world.backward(node, form, 1, frameworks.engine_name(ev, owner, kwargs))
        return None
    if receiver.tainted:
        world.doubt("backward on a value that was not followed", node)
        return None
    source = node.func.value if isinstance(node.func, ir.Attr) else node
    form = arithmetic.linear(ev, tensors.not_followed(ev, receiver, source, 1))
    assert form is not None
    world.backward(node, form)
    return None


def _unknown_accelerator(ev: Evaluator, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
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
        figures.report(ev, node, [*args, *kwargs.values()], name)
        return None
    return frameworks.without_sync(node)


def call_unknown(ev: Evaluator, callee: Unknown, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A call of something that is not in sight: what its name and its arguments suggest, at most."""
    name = roles.last(callee.path)
    everything = [*args, *kwargs.values()]
    if ev.program.hints:
        for path in (callee.path, path_of(node.func)):
            made = taught.call(ev, path, args, kwargs, node) if path else MISSING
            if made is not MISSING:
                return made
    if roles.is_optimizer(name) and name[:1].isupper():
        return ev.make("optimizer", name, args, kwargs, node)
    if name == "no_sync" and not args:
        return frameworks.without_sync(node)
    if args and isinstance(args[0], (Linear, Tensor)) and "scaler" in name.lower() and len(args) > 1:
        return frameworks.scaler_callable(ev, args, kwargs, node)
    # a loss function made by something out of sight is known by the name it was given
    given = roles.last(path_of(node.func))
    if (
        (roles.is_criterion(name) or roles.is_criterion(given))
        and not arithmetic.tainted(everything)
        and (ev.world.live or arithmetic.varies(everything))
    ):
        return tensors.without_graph(ev.loss(node, None, 2, "opaque"), everything)
    return opaque.unknown_call(ev, callee.path, name, args, kwargs, node)


def inherited_call(
    ev: Evaluator, receiver: Instance, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    """A method that a project object has from a base class outside the project."""

    world = ev.world
    if name == "zero_grad":
        world.zero(node, receiver.path, True)
        return None
    if name == "manual_backward" and args:
        form = arithmetic.linear(ev, args[0])
        if form is not None:
            world.backward(node, form)
        else:
            world.doubt("backward on a value that was not followed", node)
        return None
    if name == "optimizers":
        return Thing("optimizer", f"{receiver.path}.optimizers", {})
    if name == "lr_schedulers":
        return Thing("scheduler", f"{receiver.path}.lr_schedulers", {})
    if name in ("log", "log_dict"):
        figures.report(ev, node, [*args[1:], *kwargs.values()] if name == "log" else args, name)
        return None
    if name in ("backward", "training_step", "compute_loss", "optimizer_step"):
        world.doubt(f"`{name}` is inherited from outside the project", node)
    path = f"{receiver.path}.{name}"
    return opaque.unknown_call(ev, path, name, args, kwargs, node)
