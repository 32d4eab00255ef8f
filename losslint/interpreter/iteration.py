"""What a loop iterates over: batch after batch, micro-batches, epochs, or the parts of one value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.interpreter import arithmetic, lengths, roles
from losslint.interpreter.program import LoopRole
from losslint.interpreter.values import (
    BATCH_TRAITS,
    BATCHES,
    LITERAL,
    WINDOW,
    Chunks,
    Instance,
    Iteration,
    Key,
    Loader,
    Number,
    RangeValue,
    Tensor,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

_LIST_LIMIT = 12


EPOCHS = 2


STEPS = 4


def items(ev: Evaluator, value: Any, node: ir.For, role: LoopRole) -> Iterator[Any]:
    """What a loop iterates over, batch after batch where it is a loop over batches."""
    world = ev.world
    if isinstance(value, Iteration):
        return (value.wrap(place, item) for place, item in enumerate(items(ev, value.inner, node, role)))
    if isinstance(value, Loader):
        if value.dataset and world.live:
            return iter([Tensor(node, world.visit())])
        return _batches(ev, value, node)
    if isinstance(value, RangeValue):
        return _range(ev, value, node, role)
    if isinstance(value, Chunks):
        return _micro_batches(ev, value.key, node)
    if isinstance(value, (list, tuple)):
        if role.relevant and not role.outer and not world.live and value and all(lengths.is_data(ev, v) for v in value):
            return _batches(ev, Loader("the list of batches", assumed=True), node)
        return iter(list(value)[:_LIST_LIMIT])
    if isinstance(value, (dict, set)):
        return iter(list(value)[:_LIST_LIMIT])
    if isinstance(value, Unknown) and role.relevant:
        return _unknown_items(ev, value, node, role)
    if isinstance(value, Instance) and role.relevant:
        return _batches(ev, Loader(value.path, assumed=True), node)
    if isinstance(value, Tensor):
        return iter([Tensor(node, value.visit, value.state, traits=value.traits)] * 2)
    path = getattr(value, "path", "")
    return iter([Unknown(f"{path}[]", varies=True, tainted=arithmetic.tainted(value))])


def _unknown_items(ev: Evaluator, value: Unknown, node: ir.For, role: LoopRole) -> Iterator[Any]:
    world = ev.world
    if value.path.endswith((".items()", ".values()", ".keys()")) and not roles.is_loader(value.path):
        # the entries of a dictionary: terms of a loss, heads of a model
        return iter([Unknown(f"{value.path}[]", varies=value.varies, tainted=value.tainted)] * 2)
    if role.outer and not roles.is_loader(value.path):
        count = STEPS if role.steps_itself else EPOCHS
        return iter([Unknown(f"{value.path}[]") for _ in range(count)])
    if world.live:
        if role.backward and roles.is_batches(value.path):
            return _micro_batches(ev, value.path, node)
        if value.varies or not roles.is_loader(value.path):
            # the parts of one batch, the heads of a model, the terms of a loss: no batch of their own
            return iter([Tensor(node, world.visit())] * 2 if value.varies else [Unknown(f"{value.path}[]")] * 2)
    return _batches(ev, Loader(value.path, assumed=True), node)


def _batches(ev: Evaluator, loader: Loader, node: ir.For | ir.While) -> Iterator[Any]:
    limit = Number(1) if _takes_all(node) else arithmetic.number(ev, loader.limit) if loader.limit is not None else None
    if loader.count is not None:
        ev.world.lengths[node] = loader.count
    share = units.BATCH if loader.single else 1
    for place, visit in enumerate(ev.world.batches(loader.path, node, loader.assumed, share)):
        if limit is not None and place >= limit.value:
            return
        yield Tensor(node, visit, traits=BATCH_TRAITS)


def _takes_all(node: ir.For | ir.While) -> bool:
    """Whether a loop asks for everything in one batch: `buffer.get(batch_size=None)`."""
    call = node.iterable if isinstance(node, ir.For) else None
    return isinstance(call, ir.Call) and any(
        argument.keyword == "batch_size" and isinstance(argument.value, ir.Const) and argument.value.value is None
        for argument in call.arguments
    )


def _micro_batches(ev: Evaluator, key: Key, node: ir.For) -> Iterator[Any]:
    """A batch in pieces, each with its own backward."""
    count = _window_count(ev, key, node)
    for place in range(count):
        visit = ev.world.enter_visit(place, "", node, share=count)
        yield Tensor(node, visit, traits=BATCH_TRAITS)


def _window_count(ev: Evaluator, key: Key, node: ir.Node) -> int:
    """How often a loop that might be the accumulation window runs."""
    known = ev.world.settings.overrides.get(key)
    ev.world.candidates.setdefault(key, node)
    return int(known.value) if known is not None else 2


def _range(ev: Evaluator, value: RangeValue, node: ir.For, role: LoopRole) -> Iterator[Any]:
    world = ev.world
    numbers = [arithmetic.number(ev, argument) for argument in value.arguments]
    start = int(numbers[0].value) if len(numbers) > 1 and numbers[0] is not None else 0
    stop = numbers[1] if len(numbers) > 1 else numbers[0] if numbers else None
    upper = value.arguments[1] if len(value.arguments) > 1 else value.arguments[0] if value.arguments else None
    if not role.relevant:
        count = 1 if stop is None else max(0, int(stop.value) - start)
        return iter([start + i for i in range(min(count, EPOCHS if count > _LIST_LIMIT else _LIST_LIMIT))])
    if role.outer:
        key = arithmetic.static_key(upper)
        known = world.settings.overrides.get(key) if key is not None else None
        count = STEPS if role.steps_itself else EPOCHS
        if known is not None and known.kinds & WINDOW:
            count = int(known.value)
        elif stop is not None and not stop.kinds & LITERAL:
            # a pass that is counted in windows is walked whole
            count = int(stop.value) if stop.kinds & BATCHES else min(int(stop.value), STEPS)
        return _windows(ev, start, count) if role.steps_itself else iter([start + i for i in range(count)])
    whole_pass = stop is not None and stop.kinds & BATCHES and not world.live and world.drawn <= 0
    if (world.live or role.nested) and not whole_pass:
        key = arithmetic.static_key(upper)
        if key is None or not role.backward or not role.draws:
            count = 2 if stop is None else max(0, int(stop.value) - start)
            if role.backward and role.draws:
                return _counted_visits(ev, start, min(count, 4), node)
            return iter([start + i for i in range(min(count, 3))])
        return _counted_visits(ev, start, _window_count(ev, key, node), node)
    if role.backward and arithmetic.static_key(upper) is not None:
        world.weak_candidates.setdefault(arithmetic.static_key(upper), node)  # type: ignore[arg-type]
    return _counted_batches(ev, start, stop, node)


def _counted_batches(ev: Evaluator, start: int, stop: Number | None, node: ir.For) -> Iterator[int]:
    if stop is not None and stop.kinds == LITERAL:
        ev.world.lengths[node] = int(stop.value) - start
    for place, _ in enumerate(ev.world.batches("", node, True)):
        yield start + place


def _windows(ev: Evaluator, start: int, count: int) -> Iterator[int]:
    """A pass that is walked window by window: the batches that are drawn in it count on."""
    world = ev.world
    outer, world.drawn = world.drawn, 0
    try:
        for place in range(count):
            yield start + place
    finally:
        world.drawn = outer


def _counted_visits(ev: Evaluator, start: int, count: int, node: ir.For) -> Iterator[int]:
    # a window that is written as a loop may be the outermost loop over data
    world = ev.world
    world.live += 1
    try:
        for place in range(count):
            if world.drawn < 0:
                world.enter_visit(place, "", node)
            else:
                world.passage += world.drawn == 0
                world.enter_visit(world.drawn, "", node)
                world.drawn += 1
            yield start + place
    finally:
        world.live -= 1


def elements(ev: Evaluator, value: Any, node: ir.Comprehension) -> list[Any]:
    """The items of an iterable outside a loop over batches."""
    if isinstance(value, (list, tuple)):
        return list(value)[: 4 * _LIST_LIMIT]
    if isinstance(value, dict):
        return list(value)[:_LIST_LIMIT]
    if isinstance(value, Iteration):
        return [value.wrap(place, item) for place, item in enumerate(elements(ev, value.inner, node))]
    if isinstance(value, RangeValue):
        count = arithmetic.number(ev, value.arguments[-1]) if len(value.arguments) == 1 else None
        return list(range(min(int(count.value), _LIST_LIMIT))) if count is not None else [Unknown("i", varies=True)]
    if isinstance(value, Tensor):
        return [Tensor(node, value.visit, value.state, traits=value.traits)]
    if isinstance(value, Loader):
        return [Tensor(node, ev.world.visit(), traits=BATCH_TRAITS)]
    path = getattr(value, "path", "")
    return [Unknown(f"{path}[]", varies=arithmetic.varies(value), tainted=arithmetic.tainted(value))]
