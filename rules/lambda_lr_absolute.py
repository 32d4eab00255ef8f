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
from losslint.interpreter.ledger import Loop
from losslint.interpreter.program import path_of, statements
from losslint.interpreter.roles import last
from losslint.interpreter.values import Closure, Number, Thing
from losslint.interpreter.world import Made
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule

_RATES = frozenset({"lr", "learning_rate", "base_lr", "init_lr", "initial_lr", "lr0", "max_lr", "peak_lr"})


def check(loop: Loop) -> Iterator[Draft]:
    """The function of a `LambdaLR` returns a product with the learning rate."""
    for made in loop.base.made.values():
        if made.name != "LambdaLR" or _base_is_one(loop, made):
            continue
        given = made.given(1, "lr_lambda")
        for function in given if isinstance(given, list) else [given]:
            rate = _returned_rate(function.function) if isinstance(function, Closure) else None
            if rate is not None:
                yield Draft(
                    made.node,
                    Severity.ERROR,
                    "`LambdaLR` multiplies the base rate by what its function returns, and that holds"
                    f" `{path_of(rate)}` once more: the rate is squared",
                    Factor(f"× {path_of(rate)}", None),
                    [Mark(rate, "the learning rate", "")],
                    "return the factor alone, or give the optimizer a rate of 1",
                )
                break


def _base_is_one(loop: Loop, made: Made) -> bool:
    optimizer = made.given(0, "optimizer")
    base = loop.base.made.get(optimizer.path) if isinstance(optimizer, Thing) else None
    rate = base.given(1, "lr") if base is not None else None
    return (isinstance(rate, Number) and rate.value == 1) or rate == 1


def _returned_rate(function: ir.Function) -> ir.Expr | None:
    """The learning rate as a factor of what a function returns."""
    for statement in statements(function.body):
        if isinstance(statement, ir.Return) and statement.value is not None:
            rate = _rate_in(statement.value)
            if rate is not None:
                return rate
    return None


def _rate_in(node: ir.Expr) -> ir.Expr | None:
    if isinstance(node, (ir.Name, ir.Attr)):
        return node if last(path_of(node)).lower() in _RATES else None
    if isinstance(node, ir.Choice):
        return _rate_in(node.body) or _rate_in(node.orelse)
    if isinstance(node, ir.Binary) and node.op == "*":
        return _rate_in(node.left) or _rate_in(node.right)
    return None


RULE = Rule(
    code="LL415",
    name="lambda-lr-absolute",
    summary="the function of a `LambdaLR` returns a rate, which is then multiplied by the base rate",
    law=Law.ORDER,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
