"""A loop runs backward and steps, and nothing ever zeroes the gradients.

## What it does
Reports a training loop whose gradients are never cleared between two steps: not by `zero_grad` of the optimizer or the
model, not by `p.grad = None`, not in a helper, a method or the framework. A `zero_grad` before the loop does not help.

It is an info under a `GradScaler`: each of its steps divides all that the gradients hold by the AMP scale, what is
left of earlier batches too, so that they are `scale` times smaller than they seem.

## Why it matters
PyTorch adds to `.grad`. Step `n` uses the sum of all `n` gradients so far: the update grows with every step and keeps
pointing where the run began, like momentum 1.0 without decay. The loss falls at first, then oscillates and blows up;
with Adam it often only stops improving. Clipping turns it into a run that follows an average of stale directions.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        loss = criterion(model(inputs), targets)
        loss.backward()  # expect: LL401 error
        optimizer.step()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
```

## When it stays silent
- `zero_grad` after the step: the next backward starts from nothing all the same.
- `p.grad = None` over the parameters: it is what `zero_grad` does.
- A helper or method that zeroes, also in another file of the project.
- `model.zero_grad()`: the model's parameters are the optimizer's.
- Fused steps (optimizer in backward): the hook clears each gradient once it has been used.
- Deliberate full-epoch accumulation: one step and one `zero_grad` per epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

from losslint import units
from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.world import OptimizerStep, World
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Insert, Remedy, Where

_ENOUGH_STEPS = 3


def check(loop: Loop) -> Iterator[Draft]:
    """Every step sees the gradients of all steps before it, since nothing ever sets them to zero."""
    world = loop.base
    if world.unclear or not world.backwards or not loop.in_step or any(step.framework for step in world.steps):
        return
    steps = _unzeroed(world)
    if not _grow(steps):
        return
    # gradients that are kept only in a mode the user asks for are kept on purpose
    others = [other.base for other in loop.siblings if other is not loop and other.base.zeroings]
    if any(_first_steps(other) and not _grow(_unzeroed(other)) for other in others):
        return
    # a helper that zeroes and is called, but that the run did not get into, may do it
    if loop.calls_by_name({"zero_grad"}):
        return
    backward = world.backwards[0]
    # a scaler divides what is left over by the AMP scale at each step, so that next to nothing stays
    shrunk = all(Fraction(c.weight).denominator % units.SCALE == 0 for step in steps for c in step.stale)
    optimizer = repairs.optimizer_of(steps[0].node)
    some = len(steps) < len(_first_steps(world))
    whose = f" of `{explain.text(optimizer)}`" if some and optimizer is not None else ""
    seen = "only the division by the AMP scale keeps those of earlier steps small"
    yield Draft(
        backward.node,
        Severity.INFO if shrunk else Severity.ERROR,
        f"nothing sets the gradients{whose} to zero: "
        + (seen if shrunk else "every optimizer step sees those of all batches before it"),
        None if shrunk else Factor("× number of steps so far", None),
        explain.trail(loop, backward.steps),
        "call `optimizer.zero_grad()` once per step",
        related=[Mark(steps[0].node, "the optimizer steps here", "")],
        remedies=partial(_remedies, loop, steps),
    )


def _first_steps(world: World) -> list[OptimizerStep]:
    """The steps of the first pass."""
    return [step for step in world.steps if step.visit >= 0 and world.visits[step.visit].passage == 1]


def _unzeroed(world: World) -> list[OptimizerStep]:
    """The first steps of the optimizers whose gradients stay, where several step: of all of them, or of some."""
    steps = _first_steps(world)
    stepping, zeroed = {step.optimizer for step in steps}, {zeroing.optimizer for zeroing in world.zeroings} - {""}
    if len(stepping) < 2:
        return steps
    left = {name for name in stepping if _grow([step for step in steps if step.optimizer == name])}
    # what is zeroed under a name of its own may be any of them, and what was not made in sight may be no optimizer
    return (
        [step for step in steps if step.optimizer in left] if zeroed <= stepping and left <= world.made.keys() else []
    )


def _grow(steps: list[OptimizerStep]) -> bool:
    """Whether each step of an optimizer sees more old gradients than the one before it."""
    held = [len(step.stale) for step in steps if step.fresh and step.optimizer == steps[0].optimizer]
    return len(held) >= _ENOUGH_STEPS and held == sorted(set(held))


def _remedies(loop: Loop, steps: list[OptimizerStep]) -> Iterator[Remedy]:
    end = repairs.end_of_step(loop, loop.base)
    optimizers = [repairs.optimizer_of(node) for node in {step.node: None for step in steps}]
    actions = [Insert((one, ".zero_grad()"), Where.AFTER, end) for one in optimizers if one is not None]
    if actions and len(actions) == len(optimizers):
        yield Remedy("set the gradients to zero after each step", tuple(actions))


RULE = Rule(
    code="LL401",
    name="missing-zero-grad",
    summary="backward and step in a loop, and nothing ever sets the gradients to zero",
    law=Law.ORDER,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.STALE_GRADIENT,
)
