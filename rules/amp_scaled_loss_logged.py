"""The loss times the AMP scale is logged.

## What it does
Follows what `scaler.scale(loss)` (or apex's `amp.scale_loss`) returned into a log call, a sum, a meter or a return
value.

## Why it matters
The report reads the true loss × the current scale, 65536 at the start. The scale doubles every 2000 good steps and
halves on an overflow, so the curve has steps that have nothing to do with learning.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, optimizer):
    scaler = torch.amp.GradScaler("cuda")
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(inputs), targets)
        loss = scaler.scale(loss)
        loss.backward()
        scaler.step(optimizer)
        scaler.update()
        if i % 50 == 0:
            print(f"step {i}: loss {loss.item():.4f}")  # expect: LL212 error
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, optimizer):
    scaler = torch.amp.GradScaler("cuda")
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(inputs), targets)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if i % 50 == 0:
            print(f"step {i}: loss {loss.item():.4f}")
```

## When it stays silent
- The unscaled tensor is logged, also where the scaled one lives on under another name.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.reading import Reading
from losslint.interpreter.values import AMP
from losslint.registry import Draft, Rule
from losslint.remedies import Binding, Delete, Remedy, Replace, passed_to


def check(loop: Loop) -> Iterator[Draft]:
    """The loss times the AMP scale is reported."""
    for reading in loop.readings:
        if reading.unit is None or reading.unit.scale == 0:
            continue
        scaled = [step for step in reading.steps if step.kinds & AMP]
        factor = explain.factor(loop, reading.unit)
        yield Draft(
            reading.added_at(*scaled) or reading.figure.node,
            Severity.ERROR,
            f"the reported loss carries the AMP scale: reported = true mean {factor.text}",
            factor,
            explain.trail(loop, reading.steps),
            "report the loss itself, not `scaler.scale(loss)`",
            remedies=partial(_remedies, loop, reading),
        )


def _remedies(loop: Loop, reading: Reading) -> Iterator[Remedy]:
    scaled = repairs.scale_call(reading.steps)
    if scaled is None:
        return
    call, scaler, loss = scaled
    title = "report the loss itself"
    place = reading.added_at() or reading.figure.node
    for name in repairs.spoken(place, repairs.assigned(loop, call)):
        yield Remedy(title, (Replace(name, (loss,), Binding.ATOM),))
    for backward in {b.node: None for b in loop.high.backwards}:
        raw = repairs.backpropagated(backward)
        if raw is not None and explain.text(raw) == explain.text(loss):
            yield Remedy(f"{title}, and scale it for backward", (Delete(call), passed_to(raw, (scaler, ".scale"))))


RULE = Rule(
    code="LL212",
    name="amp-scaled-loss-logged",
    summary="the loss times the AMP scale is reported",
    law=Law.REPORT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_SCALE,
)
