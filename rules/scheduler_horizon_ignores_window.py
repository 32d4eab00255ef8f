"""The schedule is as long as the run has micro-batches, and steps with the optimizer, once a window.

## What it does
Reports a scheduler whose length is made from `len(loader)` without the accumulation window, and whose `step()` runs
with the optimizer, once per `k` micro-batches.

## Why it matters
The run ends after a `k`-th of the schedule: the learning rate never decays (a cosine over four times the run ends at
85 % of its start), and warm-up given as a share of the steps takes `k` times as long.

## Bad
```python
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR


def train(model, loader, epochs, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = CosineAnnealingLR(optimizer, T_max=epochs * len(loader))
    for epoch in range(epochs):
        model.train()
        for i, (inputs, targets) in enumerate(loader):
            loss = F.cross_entropy(model(inputs), targets) / accum_steps
            loss.backward()
            if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
                optimizer.step()
                scheduler.step()  # expect: LL413 warning
                optimizer.zero_grad()
```

## Good
```python
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR


def train(model, loader, epochs, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    updates = epochs * -(-len(loader) // accum_steps)
    scheduler = CosineAnnealingLR(optimizer, T_max=updates)
    for epoch in range(epochs):
        model.train()
        for i, (inputs, targets) in enumerate(loader):
            loss = F.cross_entropy(model(inputs), targets) / accum_steps
            loss.backward()
            if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
```

## When it stays silent
- The window is in the length, wherever it is divided.
- A framework that rescales the schedule (a prepared scheduler).
- The scheduler steps on every micro-batch: then the length is right.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, schedules
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A schedule over all micro-batches steps once a window."""
    if loop.window is None:
        return
    for schedule in schedules.schedules(loop):
        if schedule.horizon is None or schedule.cadence != schedules.STEP or schedule.counts != schedules.BATCH:
            continue
        window = explain.window_name(loop)
        yield Draft(
            schedule.node,
            Severity.WARNING,
            f"the schedule is × {window} too long: its length counts micro-batches, and it steps once per `{window}`",
            Factor(f"× {window}", None),
            [Mark(schedule.horizon, "how long the schedule is", "micro-batches")],
            f"divide its length by `{window}`",
            related=[Mark(loop.high.steps[0].node, f"one step per {window} micro-batches", "")],
        )


RULE = Rule(
    code="LL413",
    name="scheduler-horizon-ignores-window",
    summary="the length of the schedule counts micro-batches, and it steps once a window",
    law=Law.ORDER,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
