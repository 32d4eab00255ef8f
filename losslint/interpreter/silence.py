"""Why a loop or a figure is not judged: the names of the doubts that keep the rules silent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from losslint.interpreter import laws

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop
    from losslint.interpreter.reading import Reading
    from losslint.interpreter.world import Backward


def reasons(loop: Loop) -> tuple[str, ...]:
    """The doubts of one loop in one fork, by name; none where its gradients are judged."""
    world = loop.high
    found = [f"unclear: {doubt}" for doubt in world.unclear]
    if not world.backwards:
        return (*found, "no backward was reached")
    if not world.steps:
        return (*found, "no optimizer step was reached")
    if not loop.in_step:
        found.append("several optimizers step apart")
    if loop.nominal_batch:
        found.append("the window is a nominal batch size")
    if laws.hooked(loop):
        found.append("hooks may change the gradients")
    for holds, reason in (
        (laws.out_of_sight, "the loss is made out of sight"),
        (laws.spans_batches, "one loss spans several batches"),
        (laws.has_unknown_divisor, "something unknown divides the loss"),
        (laws.all_summed, "the loss is a sum over the batch: it may be normalised elsewhere"),
        (_of_unknown_reduction, "how the criterion reduces is not in sight"),
    ):
        if any(holds(backward) for backward in world.backwards):
            found.append(reason)
    if loop.window is not None and loop.zeroed_inside is None and loop.gradient_exponent is None:
        found.append("the weight in a step is no power of the window")
    if world.switched:
        found.append("whether the scaler is enabled is not known")
    if loop.window is None and _waits(loop):
        found.append("no number is found that says how many micro-batches reach a step")
    return tuple(found)


def tail_reasons(loop: Loop) -> tuple[str, ...]:
    """Why nothing is said of an incomplete last window."""
    world = loop.tail
    if any(step.framework for step in world.steps):
        return ("a framework decides about the last window",)
    if not all(world.visits[backward.visit].loader for backward in world.backwards if backward.visit >= 0):
        return ("the loader is not in sight",)
    return ()


def _of_unknown_reduction(backward: Backward) -> bool:
    return any(site.evidence < 3 and site.reduction is None for site in laws.sites_of(backward))


def _waits(loop: Loop) -> bool:
    """Whether something decides about the steps that no run could change: a condition, or what a framework was told."""
    world = loop.high
    decides = {id(node) for node in (*world.condition_nodes.values(), *world.varying)}
    guards = [guard for step in world.steps for guard in step.guards]
    return bool(world.told) or any(id(guard) in decides or id(guard.test) in decides for guard in guards)


def open_readings(loop: Loop) -> Iterator[tuple[Reading, str]]:
    """The figures whose unit is not judged, with the doubt that keeps the rules of the report law silent."""
    for reading in loop.readings:
        if reading.unit is None:
            yield reading, "the figure has no unit that is a product of powers"
        elif reading.unit.batches == 1 and (reading.division is None or reading.division_is_window):
            yield reading, "a total that nothing in sight divides"
        elif loop.is_summed(reading.site) and reading.unit.batch > 1:
            yield reading, "the loss is a sum over the batch: it may be normalised elsewhere"
        elif reading.visits == 1 and not reading.loader:
            yield reading, "the loader is not in sight"
        elif reading.site.evidence < 3 and reading.site.reduction is None:
            yield reading, "how the criterion reduces is not in sight"
        elif loop.window is not None and (loop.gradient_exponent != 0 or loop.zeroed_inside is not None):
            yield reading, "the gradient law is broken first: what the loss is, is open"
