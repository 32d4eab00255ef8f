"""What is reported as the epoch's loss is the loss of its last batch.

## What it does
Reports a `print`, log call, `append` or `return` after the batch loop whose value is the loss variable of the loop's
last iteration, with nothing accumulated in between.

## Why it matters
The figure is one draw from the batch distribution, and the last batch is often the shortest: its noise is √(batches)
times that of the mean. Curves zigzag, two epochs cannot be told apart, and "best epoch" picks a lucky batch.

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
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: train loss {loss.item():.4f}")  # expect: LL207 warning
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
        total = 0.0
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: train loss {total / len(loader):.4f}")
```

## When it stays silent
- The label says so (`last batch loss`, `final_batch`): the reader knows what they see.
- Full-batch training: there is one batch, and its loss is the epoch's.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain
from losslint.interpreter.ledger import Loop
from losslint.interpreter.values import GRAPH
from losslint.registry import Draft, Rule

_LABELS = ("last", "final", "latest", "current", "batch", "iter", "step")


def check(loop: Loop) -> Iterator[Draft]:
    """What is reported for an epoch is the loss of its last batch."""
    for reading in loop.readings:
        figure = reading.figure
        if figure.live or reading.accumulated is not None or reading.unit is None or not reading.unit.is_one:
            continue
        # an attached loss that is handed out where nothing is trained is a term for the caller's backward
        if figure.sink == "return" and figure.state == GRAPH and not loop.base.backwards:
            continue
        if reading.visits != 1 or not loop.ends_an_epoch(reading) or loop.judges_while_training(reading):
            continue
        if any(word in figure.label.lower() for word in _LABELS):
            continue
        yield Draft(
            reading.handed_out,
            Severity.WARNING,
            "the loss reported for the epoch is that of its last batch",
            Factor("one batch of the epoch", None),
            explain.trail(loop, reading.steps),
            "add up the loss over the epoch, or label the figure as the last batch's",
        )


RULE = Rule(
    code="LL207",
    name="last-batch-reported",
    summary="the loss reported for an epoch is its last batch's",
    law=Law.REPORT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_BATCHES,
)
