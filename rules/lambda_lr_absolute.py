"""`LambdaLR` is given a function that returns a learning rate, and multiplies the base rate by it.

## What it does
Reports a `LambdaLR` whose function returns a product with the learning rate itself, as in
`lambda epoch: lr * 0.95**epoch`.

## Why it matters
`LambdaLR` sets `base_lr * f(epoch)`. A function that returns the rate gives the rate squared: with `lr = 1e-3` the run
trains at `1e-6`. The loss hardly moves, and the printed schedule has the right shape.

## Bad
```python
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import LambdaLR


def train(model, loader, epochs, lr=1e-3):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scheduler = LambdaLR(optimizer, lambda epoch: lr * 0.95**epoch)  # expect: LL415 error
    for epoch in range(epochs):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        scheduler.step()
```

## Good
```python
import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import LambdaLR


def train(model, loader, epochs, lr=1e-3):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scheduler = LambdaLR(optimizer, lambda epoch: 0.95**epoch)
    for epoch in range(epochs):
        model.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        scheduler.step()
```

## When it stays silent
- An optimizer with a base rate of 1: then the function is the rate.
- A function that divides by the base rate, or one whose body is not in sight.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Factor, Law, Severity
from losslint.interpreter import rates
from losslint.interpreter.program import Program, path_of
from losslint.registry import Draft, Mark, Rule


def examine(program: Program) -> Iterator[Draft]:
    """The function of a `LambdaLR` returns a product with the learning rate."""
    for call, rate in rates.squared(program):
        yield Draft(
            call,
            Severity.ERROR,
            "`LambdaLR` multiplies the base rate by what its function returns, and that holds"
            f" `{path_of(rate)}` once more: the rate is squared",
            Factor(f"× {path_of(rate)}", None),
            [Mark(rate, "the learning rate", "")],
            "return the factor alone, or give the optimizer a rate of 1",
        )


RULE = Rule(
    code="LL415",
    name="lambda-lr-absolute",
    summary="the function of a `LambdaLR` returns a rate, which is then multiplied by the base rate",
    law=Law.ORDER,
    severity=Severity.ERROR,
    examine=examine,
    module=__name__,
)
