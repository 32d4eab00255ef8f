"""The mean of batch means weights the samples of a short last batch more than all others.

## What it does
Notes a figure that gives every batch the same weight although the last batch is short: a plain mean of batch means
over a loader that is seen to leave a remainder, or a meter fed with the loader's nominal batch size
(`update(loss, loader.batch_size)`).

## Why it matters
The figure is not exactly the mean over samples: each sample of a last batch of 8 under `batch_size = 64` counts eight
times as much as any other. On large sets that is noise in the third digit; on a small validation set it moves the
best epoch. A hazard, so info only.

## Bad
```python
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

dataset = TensorDataset(torch.randn(1000, 16), torch.randint(0, 4, (1000,)))
loader = DataLoader(dataset, batch_size=64, shuffle=True)
model = nn.Linear(16, 4)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for epoch in range(3):
    total = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()  # expect: LL206 info
    print(f"epoch {epoch}: loss {total / len(loader):.4f}")
```

## Good
```python
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

dataset = TensorDataset(torch.randn(1000, 16), torch.randint(0, 4, (1000,)))
loader = DataLoader(dataset, batch_size=64, shuffle=True)
model = nn.Linear(16, 4)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

for epoch in range(3):
    total, seen = 0.0, 0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item() * inputs.size(0)
        seen += inputs.size(0)
    print(f"epoch {epoch}: loss {total / seen:.4f}")
```

## When it stays silent
- `drop_last=True`: all batches are full, and the mean of their means is the mean.
- A progress display during the epoch: nobody compares it between runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """Batch means are averaged with equal weight, though the last batch may be short."""
    for reading in loop.readings:
        place = reading.added_at()
        if reading.unit is None or not reading.unit.is_one or place is None or reading.division is None:
            continue
        if reading.figure.live or not loop.weighs_short_batch_like_a_full_one(reading):
            continue
        yield Draft(
            place,
            Severity.INFO,
            "batch means are averaged with equal weight: a short last batch weighs as much as a full one",
            Factor("mean of batch means ≠ mean", None),
            explain.trail(loop, reading.steps),
            "weigh each mean by its batch size, or use `drop_last=True`",
        )


RULE = Rule(
    code="LL206",
    name="uneven-batch-mean",
    summary="a mean of batch means in which the last batch may be short",
    law=Law.REPORT,
    severity=Severity.INFO,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_LAST_BATCH,
)
