"""The loss is divided by the window only after `backward` has run.

## What it does
Reports `loss.backward()` followed by `loss = loss / k` (or `/=`, `div_`) in a loop that accumulates over `k`
micro-batches and scales neither the loss nor the gradients anywhere else.

## Why it matters
The gradient is a matter of what the loss was when `backward` ran; dividing the number afterwards changes what is
logged and nothing else. Each step gets `k` times the mean gradient, and because a division by `k` stands in the loop,
review after review passes it.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        loss.backward()
        loss = loss / accum_steps  # expect: LL105 error
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        loss = loss / accum_steps
        loss.backward()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- The division only feeds a log of that name and the gradient is right already: it was scaled before `backward`.
- Nothing is accumulated: the optimizer steps on every batch, so there is no window to divide by.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, laws, repairs
from losslint.interpreter.ledger import Loop
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Move, Remedy, Unscale, Where


def check(loop: Loop) -> Iterator[Draft]:
    """The division by the window comes after backward: the gradient never saw it."""
    if loop.window is None or not loop.gradients_known or loop.gradient_exponent != 1:
        return
    late = laws.late_divisions(loop)
    if not late:
        return
    backward = loop.high.backwards[0]
    if laws.all_summed(backward) or laws.out_of_sight(backward):
        return
    factor = explain.factor(loop, laws.TIMES_WINDOW)
    window = explain.window_name(loop)
    yield Draft(
        late[0].node,
        explain.lowered(Severity.ERROR, explain.is_certain(laws.sites_of(backward))),
        f"the loss is divided by `{window}` after backward: gradient = mean gradient {factor.text}"
        f"{explain.in_numbers(loop, laws.TIMES_WINDOW)}",
        factor,
        explain.trail(loop, backward.steps),
        "move the division in front of `backward()`",
        related=[Mark(backward.node, "the undivided loss is backpropagated here", "1")],
        remedies=partial(_remedies, loop, late[0].node, backward.node),
    )


def _remedies(loop: Loop, division: ir.Node, backward: ir.Node) -> Iterator[Remedy]:
    if repairs.is_only_a_scaling(loop, division):
        yield Remedy("move the division in front of `backward()`", (Move(division, Where.BEFORE, backward),))
    divided = repairs.divide_before_backward(loop)
    if divided and isinstance(division, (ir.Binary, ir.Augment)):
        undone = Unscale(division, division.right if isinstance(division, ir.Binary) else division.value)
        yield Remedy("divide before backward instead", (undone, *divided))


RULE = Rule(
    code="LL105",
    name="loss-scaled-after-backward",
    summary="the loss is divided by the window only after backward",
    law=Law.GRADIENT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.GRADIENT_SCALE,
)
