"""The scheduler steps on every micro-batch, the optimizer once a window.

## What it does
Reports `scheduler.step()` on every batch of a loop whose optimizer steps once per `k` of them: a warning where the
length of the schedule is seen to count optimizer steps, a hint (info) where what it counts is not in sight.

## Why it matters
A schedule that was laid out for optimizer steps is through after a `k`-th of the run: warm-up is over `k` times too
early, and the learning rate is at its end while most of the training is still to come. Whoever raises `k` to fit a
smaller card changes the schedule with it.

## Bad
```python
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR


def train(model, loader, epochs, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    updates = epochs * len(loader) // accum_steps
    scheduler = CosineAnnealingLR(optimizer, T_max=updates)
    for epoch in range(epochs):
        model.train()
        for i, (inputs, targets) in enumerate(loader):
            loss = F.cross_entropy(model(inputs), targets) / accum_steps
            loss.backward()
            if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
                optimizer.step()
                optimizer.zero_grad()
            scheduler.step()  # expect: LL411 warning
```

## Good
```python
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR


def train(model, loader, epochs, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    updates = epochs * len(loader) // accum_steps
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
- A schedule whose length is the number of micro-batches of the run: it ends when the run does.
- A scheduler that a framework has prepared: it decides itself when a step is real.
- A scheduler that is told where it is (`scheduler.step(epoch)`, `step_update`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, repairs, schedules
from losslint.interpreter.ledger import Loop
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Move, Remedy, Where


def check(loop: Loop) -> Iterator[Draft]:
    """A scheduler steps once a batch where the optimizer steps once a window."""
    if loop.window is None:
        return
    for schedule in schedules.schedules(loop):
        if schedule.cadence != schedules.BATCH or schedule.counts in (schedules.BATCH, schedules.EPOCH):
            continue
        window = explain.window_name(loop)
        yield Draft(
            schedule.node,
            Severity.WARNING if schedule.counts == schedules.STEP else Severity.INFO,
            f"the scheduler steps on every micro-batch, the optimizer once per `{window}`: the schedule runs"
            f" × {window} too fast",
            Factor(f"× {window}", None),
            [Mark(schedule.horizon, "how long the schedule is", "")] if schedule.horizon is not None else [],
            "step the scheduler right after the optimizer, inside the same condition",
            related=[Mark(loop.high.steps[0].node, f"one step per {window} micro-batches", "")],
            remedies=partial(_remedies, schedule.node, repairs.end_of_step(loop, loop.high)),
        )


def _remedies(schedule: ir.Node, step: ir.Node) -> Iterator[Remedy]:
    yield Remedy("step the scheduler right after the optimizer", (Move(schedule, Where.AFTER, step),), safe=False)


RULE = Rule(
    code="LL411",
    name="scheduler-per-micro-batch",
    summary="the scheduler steps on every micro-batch, the optimizer once a window",
    law=Law.ORDER,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.SCHEDULER_PACE,
)
