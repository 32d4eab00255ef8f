"""Predictions of shape `(N, 1)` against targets of shape `(N,)`: every prediction is compared with every target.

## What it does
Reports `mse_loss`, `l1_loss`, `smooth_l1_loss` and `huber_loss` (and their classes) where one argument has a dimension
of size 1 behind the batch and the other was made flat, or the other way round.

## Why it matters
The two are broadcast to `(N, N)`: the loss is the mean over all pairs, its minimum is where every prediction is the
mean of the targets of the batch, and that is what the model learns: a constant. The loss goes down to the variance of
the targets and stays there. Torch only warns, once.

## Bad
```python
import torch
from torch import nn


def train(loader):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets.float().view(-1))  # expect: LL606 error
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
from torch import nn


def train(loader):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs).squeeze(-1), targets.float().view(-1))
        loss.backward()
        optimizer.step()
```

## When it stays silent
- `view_as`, `squeeze(-1)`, `unsqueeze(1)`: both have the same shape.
- One of the two shapes is not in sight: what a loader gives may have either.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Factor, Law, Severity
from losslint.interpreter.explain import text
from losslint.interpreter.ledger import Loop
from losslint.interpreter.outputs import COLUMN, FLAT
from losslint.interpreter.values import Tensor
from losslint.registry import Draft, Mark, Rule

_BROADCASTING = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
_WORDS = {COLUMN: "(N, 1)", FLAT: "(N,)"}


def check(loop: Loop) -> Iterator[Draft]:
    """A column meets a flat vector in a loss that broadcasts."""
    for call in loop.base.loss_calls.values():
        prediction, target = call.prediction, call.target
        if call.function not in _BROADCASTING or type(prediction) is not Tensor or type(target) is not Tensor:
            continue
        shapes = (prediction.shape, target.shape)
        if set(shapes) != {COLUMN, FLAT}:
            continue
        yield Draft(
            call.node,
            Severity.ERROR,
            f"shapes {_WORDS[shapes[0]]} and {_WORDS[shapes[1]]} are broadcast to (N, N):"
            f" every prediction is compared with every target",
            Factor("mean over all pairs", None),
            [
                Mark(prediction.node, f"`{text(prediction.node)}`", _WORDS[shapes[0]]),
                Mark(target.node, f"`{text(target.node)}`", _WORDS[shapes[1]]),
            ],
            "give both one shape: `prediction.squeeze(-1)`, or `target.view_as(prediction)`",
        )


RULE = Rule(
    code="LL606",
    name="broadcast-loss",
    summary="predictions and targets are broadcast: each prediction is compared with every target",
    law=Law.CONTRACT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
