"""A learning rate that is far out of the usual range of its optimizer.

A rule of opinion: it is off unless it is selected by its code, its name or `LL8`.

## What it does
Reports a learning rate, written as a number, that is outside the range in which the optimizer is commonly used: for the
Adam family 1e-7 to 1e-2 (1e-3 where a pretrained transformer is loaded), for RMSprop 1e-7 to 1e-2, for SGD 1e-6 to 1.

## Why it matters
Too high a rate drives a network into saturation within a few steps: the loss prints as a constant, or as `nan`. Too low
a one looks like a plateau. Both are mostly slips: a rate that was copied from another optimizer, an exponent that lost
its sign. The ranges are habits and no law: a schedule, a normalisation or a very large batch moves them.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.5)  # expect: LL814 info
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
```

## When it stays silent
- A scheduler is made in the run: the number may be a peak, or a factor.
- Tests, and files in folders of tests: their rates are chosen to make something happen.
- The rate is not written down as a number in sight.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from losslint.contracts.torch import USUAL_RATES
from losslint.findings import Law, Severity
from losslint.interpreter.ledger import Loop
from losslint.interpreter.values import LITERAL, Number
from losslint.registry import Draft, Rule

_FINE_TUNING = 1e-3


def check(loop: Loop) -> Iterator[Draft]:
    """An optimizer is made with a rate that nobody uses with it."""
    world = loop.base
    schedules = any(made.kind == "scheduler" for made in world.made.values())
    if schedules or any(event.kind == "schedule" for event in world.events) or _is_test(loop.program.module.path):
        return
    pretrained = "from_pretrained" in loop.program.module.facts.calls
    for made in world.made.values():
        usual = USUAL_RATES.get(made.name) if made.kind == "optimizer" else None
        rate = made.given(1, "lr")
        if usual is None or not isinstance(rate, Number) or rate.kinds != LITERAL or not rate.value:
            continue
        low, high = usual
        if pretrained and made.name.startswith("Adam"):
            high = _FINE_TUNING
        if not low <= rate.value <= high:
            yield Draft(
                made.node,
                Severity.INFO,
                f"a learning rate of {float(rate.value):g} is out of the usual range of `{made.name}`"
                f" ({low:g} to {high:g})",
                None,
                [],
                "check the exponent, and whether the rate was meant for another optimizer",
            )


def _is_test(path: str) -> bool:
    file = PurePath(path)
    return file.name.startswith("test_") or not {"test", "tests"}.isdisjoint(file.parts)


RULE = Rule(
    code="LL814",
    name="suspicious-learning-rate",
    summary="a learning rate far out of the usual range of its optimizer (opinion)",
    law=Law.SETUP,
    severity=Severity.INFO,
    check=check,
    module=__name__,
)
