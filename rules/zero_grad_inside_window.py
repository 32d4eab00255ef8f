"""Gradients are zeroed on every micro-batch although the step waits for `k` of them.

## What it does
Reports `zero_grad()` (or `p.grad = None`) that runs between two micro-batches of one accumulation window.

## Why it matters
Only the last micro-batch of each window reaches the step, weighted `1 / k`: `k - 1` of `k` forward and backward passes
are thrown away and the gradient is `k` times too small. Training still converges, at `k` times the cost per useful
sample, and the run looks like plain small-batch training with a low learning rate.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        optimizer.zero_grad()  # expect: LL109 error
        loss = criterion(model(inputs), targets) / accum_steps
        loss.backward()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets) / accum_steps
        loss.backward()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- An optimizer that accelerate prepared, under `accumulate()`: its `zero_grad` does nothing inside a window.
- `zero_grad` under the same gate as the step: it runs once per window.
- `k = 1`: every micro-batch is a window of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, laws, repairs
from losslint.interpreter.ledger import Loop
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Delete, Insert, Move, Remedy, Where


def check(loop: Loop) -> Iterator[Draft]:
    """Gradients are zeroed on every micro-batch while the step waits for a window."""
    if loop.window is None or not loop.in_step or loop.high.unclear or not loop.high.steps:
        return
    world = loop.high
    zeroing = loop.zeroed_inside
    if zeroing is None or any(laws.steps_without_gradients(loop)):
        return
    window = explain.window_name(loop)
    gated = sum(other.node is zeroing.node for other in world.zeroings) <= len(world.steps)
    when = "right before the last micro-batch of a window" if gated else "on every micro-batch"
    yield Draft(
        zeroing.node,
        Severity.ERROR,
        f"gradients are set to zero {when} while the optimizer steps every `{window}`:"
        f" only the last micro-batch of a window counts{explain.in_numbers(loop, laws.OVER_WINDOW)}",
        explain.factor(loop, laws.OVER_WINDOW),
        explain.trail(loop, world.backwards[-1].steps),
        "set them to zero under the same gate as the step",
        related=[Mark(world.steps[0].node, f"one step per {window} micro-batches", "")],
        remedies=partial(_remedies, loop, zeroing.node),
    )


def _remedies(loop: Loop, zeroing: ir.Node) -> Iterator[Remedy]:
    if not repairs.is_statement(loop, zeroing):
        return
    world = loop.high
    if any(other.node is not zeroing for other in world.zeroings):
        yield Remedy("set gradients to zero once per step only", (Delete(zeroing),))
    title, end = "set gradients to zero under the same gate as the step", repairs.end_of_step(loop, world)
    yield Remedy(title, (Move(zeroing, Where.AFTER, end),))
    yield Remedy(title, (Delete(zeroing), Insert((zeroing,), Where.AFTER, end)))


RULE = Rule(
    code="LL109",
    name="zero-grad-inside-window",
    summary="gradients are zeroed on every micro-batch while the step waits for a whole window",
    law=Law.GRADIENT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.SURVIVING_SHARE,
)
