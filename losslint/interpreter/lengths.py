"""How many: batches in a pass, samples behind a loader, samples in a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.interpreter import roles
from losslint.interpreter.values import (
    BATCH,
    BATCHES,
    KEYS,
    SAMPLES,
    Chunks,
    Iteration,
    Linear,
    Loader,
    Number,
    RangeValue,
    Tensor,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

_DATA = ("rand", "ones", "zeros", "full", "tensor", "arange", "normal")


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
        return _keys(ev, node) if value.node in ev.world.mappings else batch_size(ev, value.visit)
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


def batch_size(ev: Evaluator, visit: int) -> Number:
    """Samples in the batch of a visit."""
    size = ev.world.visits[visit].size if 0 <= visit < len(ev.world.visits) else units.BATCH
    return Number(size, BATCH, None)


def is_data(ev: Evaluator, value: Any) -> bool:
    """Whether a value is data that was there before the loop: a tensor made outside it, or something of such."""
    if isinstance(value, (list, tuple)):
        return any(is_data(ev, entry) for entry in value)
    if isinstance(value, dict):
        return any(is_data(ev, entry) for entry in value.values())
    if isinstance(value, Tensor):
        return value.visit >= 0 and ev.world.visits[value.visit].loop is None
    return isinstance(value, Unknown) and value.path.startswith(_DATA)


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
