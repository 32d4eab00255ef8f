"""Why the gradients of a loop are not judged: the names of the doubts that keep the rules of the gradient law silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losslint.interpreter import laws

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop


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
    for holds, reason in (
        (laws.out_of_sight, "the loss is made out of sight"),
        (laws.spans_batches, "one loss spans several batches"),
        (laws.has_unknown_divisor, "something unknown divides the loss"),
    ):
        if any(holds(backward) for backward in world.backwards):
            found.append(reason)
    if loop.window is not None and loop.zeroed_inside is None and loop.gradient_exponent is None:
        found.append("the weight in a step is no power of the window")
    return tuple(found)
