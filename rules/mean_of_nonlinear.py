"""A nonlinear function of the loss or of a batch's predictions is averaged over batches.

## What it does
Finds `exp(loss)`, a square root, or an F1 score taken per batch, summed over the loop and divided by the number of
batches.

## Why it matters
The mean of a curved function is not the function of the mean (Jensen). Averaged perplexities are too high, and one
bad batch dominates them; averaged RMSE values are too low; an F1 averaged over batches changes with the batch size
and is hurt by every batch without a positive. Published figures are computed over the whole set: these do not
compare.

## Bad
```python
import math

from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    model.train()
    perplexity = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        perplexity += math.exp(loss.item())  # expect: LL209 warning
    return perplexity / len(loader)
```

## Good
```python
import math

from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    model.train()
    total = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return math.exp(total / len(loader))
```

## When it stays silent
- Per-sample metrics (accuracy, absolute error, a per-image score): their mean over samples is what they are defined
  as.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A nonlinear function of each batch's loss is averaged over batches."""
    for figure, added, site in loop.nonlinear_figures():
        yield Draft(
            added.entry or added.node,
            Severity.WARNING,
            f"`{explain.text(site.node)}` of each batch is averaged over batches: the mean of a nonlinear function is"
            " not the function of the whole set",
            Factor("mean of f(batch) ≠ f(set)", None),
            explain.trail(loop, figure.steps),
            "average the loss (or collect the predictions) first, and take the function once",
        )


RULE = Rule(
    code="LL209",
    name="mean-of-nonlinear",
    summary="a nonlinear function of the loss (its exponential, its root) is averaged over batches",
    law=Law.REPORT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_CURVE,
)
