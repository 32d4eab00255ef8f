"""The scheduler steps before the optimizer has stepped: the first value of its schedule is skipped.

## What it does
Reports `scheduler.step()` that runs ahead of the loop's first `optimizer.step()`: at the top of the epoch, or before
the optimizer in the body.

## Why it matters
A scheduler has set its first rate when it was made. Stepped before the optimizer it moves on at once, so the whole
schedule is one step early: the first epoch of a `StepLR` is one short, a warm-up from 0 loses its first value. Before
torch 1.1 this was the order to use, which is why so many scripts have it. Torch warns once, among a page of others.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30)
    for epoch in range(epochs):
        scheduler.step()  # expect: LL414 warning
        model.train()
        for inputs, targets in loader:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30)
    for epoch in range(epochs):
        model.train()
        for inputs, targets in loader:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
```

## When it stays silent
- `scaler.step(optimizer)` is the optimizer's step.
- At the end of the epoch, or after the optimizer in the body.
- A scheduler that is told where it is (`scheduler.step(epoch)`): it sets the rate of that epoch.
- A scheduler that was not made in sight, or of a class that is not torch's own: it may count otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.contracts.torch import SCHEDULERS
from losslint.findings import Law, Severity
from losslint.interpreter import schedules
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A scheduler steps for the first time before the optimizer does, and then goes on."""
    world = loop.high
    if not world.steps or world.unclear:
        return
    first = world.steps[0]
    for schedule in schedules.schedules(loop):
        made = schedule.made
        if (
            made is None
            or made.name not in SCHEDULERS
            or schedule.events[0].time > first.time
            or len(schedule.events) < 2
        ):
            continue
        if loop.window is not None and schedule.cadence == schedules.BATCH:
            # it steps on micro-batches that the optimizer waits for: that is another law's business
            continue
        yield Draft(
            schedule.node,
            Severity.WARNING,
            f"`{made.name}` steps before the optimizer does: the first value of its schedule is skipped",
            None,
            [Mark(schedule.node, "the schedule moves on", ""), Mark(first.node, "the first optimizer step", "")],
            "step the scheduler after the optimizer",
        )


RULE = Rule(
    code="LL414",
    name="scheduler-before-optimizer",
    summary="the scheduler steps ahead of the loop's first optimizer step",
    law=Law.ORDER,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
