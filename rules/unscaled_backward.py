"""The scaler steps the optimizer, but the loss was never scaled before `backward`.

## What it does
Reports a plain `loss.backward()` whose gradients reach `scaler.step(optimizer)`, also when the two stand in different
functions or methods.

## Why it matters
`scaler.step` divides the gradients by the scale (65536 at the start) although nothing multiplied them: the update is
65536× too small. With SGD the model does not move. Adam normalises the factor away until its `eps` and fp16 underflow
bite, so the curve merely looks slow, and gradient clipping never acts.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    scaler = torch.amp.GradScaler("cuda")
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(inputs), targets)
        loss.backward()  # expect: LL301 error
        scaler.step(optimizer)
        scaler.update()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    scaler = torch.amp.GradScaler("cuda")
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(inputs), targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
```

## When it stays silent
- `GradScaler(enabled=False)`: its `step` is the optimizer's.
- The branch without AMP, which has its own `optimizer.step()`.
- bf16 without a scaler: its range is that of fp32, and nothing has to be scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

from losslint import units
from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Remedy, passed_to
from losslint.units import Unit

_OVER_SCALE = Unit(scale=-1)


def check(loop: Loop) -> Iterator[Draft]:
    """`scaler.step` divides by a scale that the gradient never got."""
    world = loop.high
    # what a plain step of another optimizer takes belongs to a network without a scaler
    plain = {contribution.backward for step in world.steps if not step.scaler for contribution in step.fresh}
    seen = set()
    for step in world.steps:
        if not step.scaler:
            continue
        for contribution in step.fresh:
            backward = world.backwards[contribution.backward]
            weight = Fraction(contribution.weight)
            if backward.node in seen or contribution.backward in plain or weight.denominator % units.SCALE:
                continue
            seen.add(backward.node)
            factor = explain.factor(loop, _OVER_SCALE)
            yield Draft(
                backward.node,
                Severity.ERROR,
                "backward on an unscaled loss, but the step is `scaler.step`, which divides by the AMP scale:"
                f" gradient = true gradient {factor.text}",
                factor,
                explain.trail(loop, backward.steps),
                "call `scaler.scale(loss).backward()`",
                related=[Mark(step.node, "divides the gradients by the AMP scale", "")],
                remedies=partial(_remedies, loop, backward.node),
            )


def _remedies(loop: Loop, backward: ir.Node) -> Iterator[Remedy]:
    found, loss = repairs.scaler_of(loop.high), repairs.backpropagated(backward)
    if found is not None and loss is not None:
        yield Remedy("scale the loss before backward", (passed_to(loss, (found[0], ".scale")),))


RULE = Rule(
    code="LL301",
    name="unscaled-backward",
    summary="plain backward on a path whose step is `scaler.step`",
    law=Law.PRECISION,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.GRADIENT_SCALE,
)
