"""A schedule laid out in epochs steps on every batch, or one laid out in batches steps once an epoch.

## What it does
Reports a scheduler whose length counts epochs and whose `step()` runs on every batch, and one whose length is made from
`len(loader)` and whose `step()` runs once an epoch.

## Why it matters
`CosineAnnealingLR(optimizer, T_max=epochs)` that steps on every batch reaches its minimum after `epochs` batches and
goes up again: the learning rate swings through the whole range many times an epoch. The other way round the schedule
never leaves its first percent: warm-up never ends, or the rate never falls.

## Bad
```python
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR


def train(model, loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        model.train()
        for inputs, targets in loader:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()  # expect: LL412 warning
```

A schedule over all batches that steps once an epoch:

```python
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import OneCycleLR


def train(model, loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=epochs * len(loader))
    for epoch in range(epochs):
        model.train()
        for inputs, targets in loader:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()  # expect: LL412 warning
```

## Good
```python
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR


def train(model, loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = CosineAnnealingLR(optimizer, T_max=epochs)
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
- Schedules that are meant to start over (`CosineAnnealingWarmRestarts`, `CyclicLR`).
- A length that says neither: a literal, or a name without a unit.
- A scheduler that is told where it is: `scheduler.step(epoch + i / len(loader))`.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import schedules
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule

_TOO_FAST = "the schedule is laid out in epochs and steps on every batch: it is through after a few batches"
_TOO_SLOW = "the schedule is laid out in batches and steps once an epoch: it hardly moves"


def check(loop: Loop) -> Iterator[Draft]:
    """What a scheduler's length counts is not what its steps count."""
    for schedule in schedules.schedules(loop):
        fast = schedule.cadence in (schedules.BATCH, schedules.STEP) and schedule.counts == schedules.EPOCH
        slow = schedule.cadence == schedules.EPOCH and schedule.counts in (schedules.BATCH, schedules.STEP)
        if schedule.horizon is None or not (fast or slow):
            continue
        yield Draft(
            schedule.node,
            Severity.WARNING,
            _TOO_FAST if fast else _TOO_SLOW,
            None,
            [Mark(schedule.horizon, "how long the schedule is", "epochs" if fast else "batches")],
            "step it once an epoch, outside of the loop over batches" if fast else "step it after each optimizer step",
        )


RULE = Rule(
    code="LL412",
    name="scheduler-unit-mismatch",
    summary="the length of the schedule counts epochs and its steps count batches, or the other way round",
    law=Law.ORDER,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
