"""`optimizer.step` stands there without parentheses: nothing happens.

## What it does
Reports a statement that only names `step`, `zero_grad` or `backward` of an optimizer, a scheduler or a loss, without
calling it.

## Why it matters
Python evaluates the attribute and throws it away. The loop runs, the loss is computed and reported, and no parameter
ever moves: the curve is flat, or the gradients of all batches add up.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step  # expect: LL406 error
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
```

## When it stays silent
- The method is handed on: `run(optimizer.step)`, `step = optimizer.step`.
- Something else that has a `step` (an environment, a progress bar).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.findings import Law, Severity
from losslint.interpreter import roles
from losslint.interpreter.ledger import Loop
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Binding, Remedy, Rewrite


def check(loop: Loop) -> Iterator[Draft]:
    """A statement names a method of the step and does not call it."""
    for node, path in loop.base.uncalled.items():
        assert isinstance(node, ir.Attr)
        steps = node.name == "step" and (roles.is_optimizer(path) or roles.is_scheduler(path) or roles.is_scaler(path))
        zeroes = node.name == "zero_grad" and (roles.is_optimizer(path) or roles.is_model(path))
        if steps or zeroes or (node.name == "backward" and roles.is_loss(roles.last(path))):
            yield Draft(
                node,
                Severity.ERROR,
                f"`{path}.{node.name}` is named and not called: nothing happens here",
                None,
                [],
                f"call it: `{path}.{node.name}()`",
                remedies=partial(_remedies, node),
            )


def _remedies(node: ir.Attr) -> Iterator[Remedy]:
    yield Remedy(f"call `{node.name}`", (Rewrite(node, (), ("()",), Binding.ATOM, Binding.ATOM),))


RULE = Rule(
    code="LL406",
    name="step-not-called",
    summary="`optimizer.step` (or `zero_grad`, `backward`) is named without being called",
    law=Law.ORDER,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
