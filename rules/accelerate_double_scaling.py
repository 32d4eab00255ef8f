"""`Accelerator(gradient_accumulation_steps=k)` divides the loss, and the loop divides it again.

## What it does
Reports a division of the loss by the window before `accelerator.backward(loss)` where the accelerator was built with
that window: `backward` itself divides by `gradient_accumulation_steps`.

## Why it matters
The gradient is the mean divided by `k` once more: in effect a learning rate `k` times too small. The code looks like
every hand-written accumulation loop, and nothing fails: the run is slow, and the logged loss, taken after the
division, starts `k` times too low.

## Bad
```python
import torch
from accelerate import Accelerator
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, accum_steps=4):
    accelerator = Accelerator(gradient_accumulation_steps=accum_steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for inputs, targets in loader:
        with accelerator.accumulate(model):
            loss = criterion(model(inputs), targets)
            loss = loss / accum_steps  # expect: LL901 error
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import torch
from accelerate import Accelerator
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, accum_steps=4):
    accelerator = Accelerator(gradient_accumulation_steps=accum_steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for inputs, targets in loader:
        with accelerator.accumulate(model):
            loss = criterion(model(inputs), targets)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- A bare `Accelerator()`: it divides by nothing, so the division by hand is needed.
- `loss * k * num_processes / num_items`: a sum over the window's items that takes the library's own division back.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.contracts.frameworks import ACCELERATE
from losslint.findings import Law, Severity
from losslint.interpreter import explain, laws, repairs
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """The loss is divided by the window by hand, and `accelerator.backward` divides it again."""
    if loop.window is None or loop.high.unclear or not loop.high.steps or loop.gradient_exponent != -1:
        return
    for backward in loop.high.backwards:
        divisions = laws.window_divisions(backward.steps)
        if backward.framework == ACCELERATE.name and backward.divided_by > 1 and divisions:
            factor = explain.factor(loop, laws.OVER_WINDOW)
            yield Draft(
                divisions[-1].node,
                Severity.ERROR,
                f"the loss is divided by `{explain.window_name(loop)}` here and again by `accelerator.backward`:"
                f" gradient = mean gradient {factor.text}{explain.in_numbers(loop, laws.OVER_WINDOW)}",
                factor,
                explain.trail(loop, backward.steps),
                "leave the division to the accelerator",
                related=[Mark(backward.node, "divides by `gradient_accumulation_steps`", "")],
                remedies=partial(repairs.left_to, "the accelerator", divisions),
            )
            return


RULE = Rule(
    code="LL901",
    name="accelerate-double-scaling",
    summary="the loss is divided by the window by hand and again by `accelerator.backward`",
    law=Law.GRADIENT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.GRADIENT_SCALE,
)
