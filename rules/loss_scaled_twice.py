"""The loss is divided by the accumulation window twice on its way to the gradient.

## What it does
Follows the loss from the criterion to the optimizer step and reports the second division by the same window: two
statements, a helper that divides and a caller that does so again, the loss and later its gradients.

## Why it matters
Each step sees the mean gradient divided by `k` once more: the learning rate is in effect `k` times too small. With SGD
the run looks merely slow and gets "fixed" by a higher learning rate that then fits no other window. The logged loss
often carries the same mistake, so the curve starts `k` times too low, which reads like a very good start.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    torch.manual_seed(0)
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets) / accum_steps
        loss = loss / accum_steps  # expect: LL103 error
        loss.backward()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

Across a helper:

```python
import torch
import torch.nn.functional as F


def compute_loss(model, batch, accum_steps):
    inputs, targets = batch
    return F.cross_entropy(model(inputs), targets) / accum_steps


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for i, batch in enumerate(loader):
        loss = compute_loss(model, batch, accum_steps)
        (loss / accum_steps).backward()  # expect: LL103 error
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    torch.manual_seed(0)
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        loss = loss / accum_steps
        loss.backward()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- `/ k` and `/ n_tasks`: the second divisor is another quantity, and part of how the loss is defined.
- A division and a multiplication back: the two cancel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, laws, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.values import Step
from losslint.registry import Draft, Rule
from losslint.remedies import Remedy


def check(loop: Loop) -> Iterator[Draft]:
    """The weight of a loss in an optimizer step shrinks with the window, and no framework divides."""
    if loop.window is None or not loop.gradients_known or loop.gradient_exponent != -1:
        return
    backward = loop.high.backwards[-1]
    if backward.divided_by > 1:
        return
    divisions = laws.window_divisions(backward.steps)
    by_hand = loop.high.gradient_scalings
    factor = explain.factor(loop, laws.OVER_WINDOW)
    window = explain.window_name(loop)
    yield Draft(
        by_hand[0] if by_hand else divisions[-1].node if divisions else backward.node,
        explain.lowered(Severity.ERROR, explain.is_certain(laws.sites_of(backward))),
        f"the loss is divided by `{window}` twice: gradient = mean gradient {factor.text}"
        f"{explain.in_numbers(loop, laws.OVER_WINDOW)}",
        factor,
        explain.trail(loop, backward.steps),
        f"divide by `{window}` once",
        remedies=partial(_remedies, divisions, window),
    )


def _remedies(divisions: Sequence[Step], window: str) -> Iterator[Remedy]:
    for undone in repairs.undone_each(divisions):
        yield Remedy(f"divide by `{window}` once", undone)


RULE = Rule(
    code="LL103",
    name="loss-scaled-twice",
    summary="the loss is divided by the accumulation window twice on its way to backward",
    law=Law.GRADIENT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.GRADIENT_SCALE,
)
