"""The forward runs under `no_grad`, and `backward` is called on its loss.

## What it does
Reports a `backward` whose loss was made under `torch.no_grad()` or `torch.inference_mode()`: in a block, in a function
with that decorator, or from the output of a model that was called there.

## Why it matters
Nothing is recorded under `no_grad`. `backward` stops with "does not require grad and does not have a grad_fn"; where
somebody has made it silent with `requires_grad_()`, no parameter ever moves. Most often the block was meant for one
line, the metric or the frozen part, and has grown.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        with torch.no_grad():
            scores = model(inputs)
            accuracy = (scores.argmax(dim=1) == targets).float().mean()
        loss = F.cross_entropy(scores, targets)
        loss.backward()  # expect: LL504 error
        optimizer.step()
        print(accuracy.item())
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        scores = model(inputs)
        loss = F.cross_entropy(scores, targets)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            accuracy = (scores.argmax(dim=1) == targets).float().mean()
        print(accuracy.item())
```

## When it stays silent
- Only the metric, the teacher or a frozen backbone is under it: the rest of the loss is in the graph.
- `enable_grad()` inside of it.
- `set_grad_enabled(training)`: whether it is on is not in sight.
- A loss that another mode of the same code makes in the graph.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import graph, laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A backward gets a loss that was made without a graph."""
    for dead, cut in laws.dead_backwards(loop, lambda cut: cut.kind == graph.NO_GRAD):
        yield Draft(
            dead.node,
            Severity.ERROR,
            "backward on a loss whose forward ran without a graph: no parameter gets a gradient",
            None,
            [Mark(cut.node, "made under `no_grad`", ""), Mark(dead.node, "backward", "")],
            "take the forward out of the `no_grad` block",
        )


RULE = Rule(
    code="LL504",
    name="backward-under-no-grad",
    summary="the forward runs under `no_grad`, and `backward` is called on its loss",
    law=Law.GRAPH,
    severity=Severity.ERROR,
    check=check,
    claim=Claim.DEAD_BACKWARD,
    module=__name__,
)
