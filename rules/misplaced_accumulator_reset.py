"""A loss accumulator is reset inside the batch loop, or not at all after the first epoch.

## What it does
Looks at the lifetime of a sum that is reported once per epoch:

- it is set to zero in every iteration of the batch loop, so that only the last batch is left of it (the reset is
  marked);
- it is initialised before the epoch loop and never again, yet divided by one epoch's count in each epoch (the
  accumulation is marked). If it is divided only once, after all epochs, that is `sample-count-mismatch`.

## Why it matters
Reset in the batch loop, the report is one batch's loss ÷ the number of batches: near zero from the first epoch. Never
reset, epoch *e* reports the sum of the first *e* epochs: ×1, ×2, ×3. A falling loss turns into a rising curve, and
the run is taken to diverge.

## Bad
```python
import torch
from torch import nn

model = nn.Linear(16, 4)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(loader, epochs=5):
    for epoch in range(epochs):
        model.train()
        for inputs, targets in loader:
            running_loss = 0.0  # expect: LL208 warning
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        print(f"epoch {epoch}: loss {running_loss / len(loader):.4f}")
```

```python
import torch
from torch import nn

model = nn.Linear(16, 4)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(loader, epochs=5):
    running_loss = 0.0
    for epoch in range(epochs):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()  # expect: LL208 warning
        print(f"epoch {epoch}: loss {running_loss / len(loader):.4f}")
```

## Good
```python
import torch
from torch import nn

model = nn.Linear(16, 4)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(loader, epochs=5):
    for epoch in range(epochs):
        model.train()
        running_loss = 0.0
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        print(f"epoch {epoch}: loss {running_loss / len(loader):.4f}")
```

## When it stays silent
- A reset at the end of a log window: the figure covers exactly the batches since the last log line.
- A cumulative sum over a cumulative count: a mean over the whole run so far, and nothing is out of step.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.reading import Reading
from losslint.interpreter.values import Step
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Insert, Move, Remedy, Where


def check(loop: Loop) -> Iterator[Draft]:
    """An accumulator is set to zero inside the batch loop, or never again after the first epoch."""
    for reading in loop.readings:
        added = reading.accumulated
        if added is None or reading.figure.live:
            continue
        if reading.visits == 1 and loop.ends_an_epoch(reading):
            reset = loop.reset_in_loop(added)
            if reset is not None:
                yield Draft(
                    reset,
                    Severity.WARNING,
                    "the accumulator is set to zero in every iteration: only the last batch is left in it",
                    Factor("one batch of the epoch", None),
                    explain.trail(loop, reading.steps),
                    "set it to zero once, before the loop over batches",
                    remedies=partial(_reset_before_batches, loop, reading, reset),
                )
        elif loop.grows_over_epochs(reading):
            yield Draft(
                reading.added_at() or added.node,
                Severity.WARNING,
                "the accumulator is never set to zero again after the first epoch: in epoch e the report is e times the"
                " mean",
                Factor("× epoch", None),
                explain.trail(loop, reading.steps),
                "set it to zero at the start of each epoch",
                remedies=partial(_reset_each_epoch, loop, reading, added),
            )


def _reset_before_batches(loop: Loop, reading: Reading, reset: ir.Node) -> Iterator[Remedy]:
    batches = repairs.loop_of_reading(loop, reading)
    if batches is not None:
        yield Remedy("set it to zero before the loop over batches", (Move(reset, Where.BEFORE, batches),))


def _reset_each_epoch(loop: Loop, reading: Reading, added: Step) -> Iterator[Remedy]:
    batches = repairs.loop_of_reading(loop, reading)
    if batches is None:
        return
    title = "set it to zero at the start of each epoch"
    for start in repairs.starts(loop, added.of):
        yield Remedy(title, (Move(start, Where.BEFORE, batches),))
        yield Remedy(title, (Insert((*start.targets, " = ", start.value), Where.BEFORE, batches),))


RULE = Rule(
    code="LL208",
    name="misplaced-accumulator-reset",
    summary="a loss accumulator is reset inside the batch loop, or never again after the first epoch",
    law=Law.REPORT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_BATCHES,
)
