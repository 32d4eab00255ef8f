"""The gradients are set to zero between backward and the step: the step sees none.

## What it does
Reports `zero_grad()` that runs after `backward()` and before the `step()` that was to use the gradients, in every
iteration, also where the three stand in different functions or methods.

## Why it matters
Every step is taken with gradients of zero. With plain SGD nothing is learned at all; with momentum or Adam the state
stays at zero too, and with weight decay the weights shrink towards nothing. The loss is computed, logged and noisy as
ever, so the run looks like one that does not converge.

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
        loss.backward()
        optimizer.zero_grad()  # expect: LL402 error
        optimizer.step()
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
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
```

## When it stays silent
- Two networks: the other one's gradients are set to zero between this one's backward and step.
- A second backward after the zeroing, as in adversarial training: the step sees its gradients.
- A backward that a helper out of sight may run.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, laws, repairs
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Delete, Insert, Move, Remedy, Where


def check(loop: Loop) -> Iterator[Draft]:
    """Every step of an optimizer sees nothing, since the gradients were set to zero after backward."""
    for lost in laws.steps_without_gradients(loop):
        if lost.step_first:
            continue
        yield Draft(
            lost.zeroing.node,
            Severity.ERROR,
            "the gradients are set to zero after backward and before the step: the step sees none",
            Factor("× 0", 0.0),
            explain.trail(loop, lost.backward.steps),
            "set the gradients to zero after the step, or before backward",
            related=[Mark(lost.backward.node, "the gradients are made here", ""), Mark(lost.step.node, "the step", "")],
            remedies=partial(_remedies, loop, lost),
        )


def _remedies(loop: Loop, lost: laws.LostGradients) -> Iterator[Remedy]:
    zeroing = lost.zeroing.node
    if not repairs.is_statement(loop, zeroing):
        return
    title, end = "set the gradients to zero after the step", repairs.end_of_step(loop, loop.base)
    yield Remedy(title, (Move(zeroing, Where.AFTER, end),))
    yield Remedy(title, (Delete(zeroing), Insert((zeroing,), Where.AFTER, end)))


RULE = Rule(
    code="LL402",
    name="zero-grad-before-step",
    summary="the gradients are set to zero between backward and the step",
    law=Law.ORDER,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.NO_GRADIENT,
)
