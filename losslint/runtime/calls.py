"""What comes out of calls of things: judged by the name that is called and by what it got."""

from __future__ import annotations

import re
from typing import Any

import torch

from losslint.contracts import torch as contract
from losslint.runtime import roles
from losslint.runtime.objects import Loader
from losslint.runtime.outline import is_lossy
from losslint.runtime.things import ANY, DATA, DATASET, DECIDING, DETACHED, MODEL, OUT, Guess, Thing, batch_of, kind_of
from losslint.runtime.world import World

_TOUCHES = re.compile(r"grad", re.I)
_HARMLESS = re.compile(
    r"no_grad|requires_grad|zero_grad|grad_norm|clip|set_grad|enable_grad|checkpoint|log|watch|hist|grad_scaler", re.I
)


def call_thing(one: World, thing: Thing, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What comes out of a call of a thing, judged by its name and by what it got."""
    name = re.split(r"[.\[]", thing._name)[-1]
    values = (*arguments, *options.values())
    if thing._kind == MODEL:
        return model_call(one, options, values)
    for value in values:
        if isinstance(value, Loader):
            return value
    if name == "zero_grad":
        return one.zero_all()
    if _TOUCHES.search(name) and not _HARMLESS.search(name):
        one.taint(f"`{name}` may touch gradients")
    if name == "backward":
        return one.backward(arguments[0]) if arguments else None
    if "clip_grad" in name or name == "clip_grads_with_norm_":
        return one.clipped(*arguments, **options)
    if re.search(r"optim", name, re.I):
        return one.new_optimizer(name)
    if is_lossy(name) and name[:1].isupper() and batch_of(*values) is None:
        return roles.Criterion(name)
    if is_lossy(name) and "log" not in name.lower():
        one.assume(f"`{name}` returns the batch mean")
        return one.criterion(name, arguments, options)
    if re.search(r"loader|iterator", name, re.I):
        return roles._loader(one, name)
    if name in ("get_batch", "next_batch", "sample_batch", "get_next_batch"):
        return one.draw(name)
    if re.search(r"dataset$", name, re.I):
        return Thing(name, DATASET)
    if re.search(r"model|forward|net$|train(ing)?_step$", name, re.I):
        kind = OUT if batch_of(*values) is not None else MODEL
        return Thing(name, kind, batch_of(*values))
    if any(isinstance(value, torch.Tensor) and value.requires_grad for value in values):
        # what an unknown function makes of a loss: nothing to be relied on
        return Thing(name, OUT, one.current(), float("nan"))
    kind = kind_of(*values)
    if kind != ANY:
        return Thing(name, kind if kind in (OUT, DETACHED) else DATA, batch_of(*values))
    return Thing(f"{thing._name}()", ANY)


def model_call(one: World, options: dict[str, Any], values: tuple[Any, ...]) -> Any:
    for key in options:
        if re.search(r"num_items|num_tokens|normalizer|denom", key):
            one.taint(f"the model is given `{key}`")
    kind = OUT if torch.is_grad_enabled() else DETACHED
    return Thing("model(…)", kind, batch_of(*values) or one.current())


def call_function(one: World, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What comes out of a function of torch or numpy that got a thing."""
    values = (*arguments, *options.values())
    if "clip_grad" in name:
        return one.clipped(*arguments, **options)
    if name in contract.FUNCTIONAL:
        return one.criterion(name, arguments, options)
    if name in ("isnan", "isinf", "isfinite", "any", "all", "is_tensor", "is_nonzero", "allclose", "equal"):
        return Guess(name in ("isfinite", "is_tensor"))
    kind = kind_of(*values)
    whole = len(arguments) == 1 and options.get("dim") is None and options.get("axis") is None
    if kind == OUT and name in ("mean", "sum") and whole and isinstance(arguments[0], Thing):
        return getattr(arguments[0], name)()
    if kind not in (ANY, OUT) and name in ("sum", "count_nonzero", "numel", "mean") and isinstance(arguments[0], Thing):
        return getattr(arguments[0], name)(*arguments[1:], **options)
    if name in ("chunk", "split") and isinstance(arguments[0], Thing) and kind != ANY:
        return getattr(arguments[0], name)(*arguments[1:], **options)
    if name == "where" and len(arguments) == 3 and isinstance(arguments[1], torch.Tensor):
        return arguments[1]
    if name in DECIDING and kind == OUT:
        kind = DETACHED
    return Thing(name, kind, batch_of(*values))


def collective(one: World, value: Any) -> Any:
    """What other processes add to a value: nothing, or as much as the experiment says."""
    one.foreign_calls += 1
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value + one.settings.foreign
    return value + one.settings.foreign if isinstance(value, float) else value
