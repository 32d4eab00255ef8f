"""The optimizer steps before backward has run: each step sees gradients that were set to zero.

## What it does
Reports `step()` that comes before `backward()` in the iteration while `zero_grad()` clears the gradients in between:
`zero_grad(); step(); backward()`, also where the three stand in different functions or methods.

## Why it matters
The gradients of each batch are made after the step and thrown away before the next one: every step is taken with
gradients of zero. Nothing is learned, weight decay aside, while the loss is logged as ever.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        optimizer.step()  # expect: LL403 warning
        loss.backward()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
```

## When it stays silent
- Backward, step, zero: each step sees the gradients of its batch.
- Step, zero, backward: each step sees the gradients of the batch before, as a pipeline may want it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, laws, repairs
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Move, Remedy, Where


def check(loop: Loop) -> Iterator[Draft]:
    """Every step of an optimizer sees nothing, since it comes before backward and zeroing comes in between."""
    for lost in laws.steps_without_gradients(loop):
        if not lost.step_first:
            continue
        yield Draft(
            lost.step.node,
            Severity.WARNING,
            "the optimizer steps before backward, and the gradients are set to zero in between: the step sees none",
            Factor("× 0", 0.0),
            explain.trail(loop, lost.backward.steps),
            "step after `backward()`",
            related=[
                Mark(lost.backward.node, "the gradients are made here", ""),
                Mark(lost.zeroing.node, "and thrown away here", ""),
            ],
            remedies=partial(_remedies, loop, lost),
        )


def _remedies(loop: Loop, lost: laws.LostGradients) -> Iterator[Remedy]:
    if repairs.is_statement(loop, lost.step.node):
        yield Remedy("step after backward", (Move(lost.step.node, Where.AFTER, lost.backward.node),))


RULE = Rule(
    code="LL403",
    name="step-before-backward",
    summary="the optimizer steps before backward, and the gradients are set to zero in between",
    law=Law.ORDER,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.NO_GRADIENT,
)
