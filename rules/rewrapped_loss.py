"""The loss is put into a new tensor before `backward`: no parameter gets a gradient.

## What it does
Reports a loss that is made anew (`torch.tensor(loss, requires_grad=True)`, `Variable(loss, requires_grad=True)`) or
that is out of the graph and told to require a gradient (`loss.requires_grad_()`, `loss.requires_grad = True`), where
`backward` is called on the result.

## Why it matters
`backward` complained that the loss does not require grad, and now it is silent. But the new tensor is a leaf: the
gradient of the loss with respect to itself is 1, and that is where it ends. The parameters keep `grad = None`, the
optimizer skips all of them, the loss moves only with the data, and training "runs" for as long as one likes.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        value = F.mse_loss(model(inputs), targets).item()
        loss = torch.tensor(value, requires_grad=True)  # expect: LL501 error
        loss.backward()
        optimizer.step()
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
        loss = F.mse_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
```

## When it stays silent
- Leaf inputs: an adversarial perturbation, an image that is optimised, the input of one part of a network.
- A start value to which the terms of the loss are added: `loss = torch.tensor(0.0, requires_grad=True)`.
- A copy that is only logged.
- `requires_grad_()` on a loss that is in the graph: it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import graph, laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A backward gets a leaf that was made of a loss."""
    for dead, cut in laws.dead_backwards(loop, lambda cut: cut.kind == graph.REWRAPPED):
        if not laws.is_of_losses(dead):
            continue
        earlier = sorted((one for one in dead.cuts if one.kind != graph.REWRAPPED), key=lambda one: one.order)
        yield Draft(
            cut.node,
            Severity.ERROR,
            "the loss is a new leaf from here on: `backward` ends at it, and no parameter gets a gradient",
            None,
            [
                *(Mark(one.node, f"{laws.words_of(one)} takes the loss out of the graph", "") for one in earlier),
                Mark(cut.node, "a new leaf", ""),
                Mark(dead.node, "backward ends here", ""),
            ],
            "call `backward` on the loss as the loss function gave it",
        )


RULE = Rule(
    code="LL501",
    name="rewrapped-loss",
    summary="the loss is put into a new tensor before `backward`: no parameter gets a gradient",
    law=Law.GRAPH,
    severity=Severity.ERROR,
    check=check,
    claim=Claim.DEAD_BACKWARD,
    module=__name__,
)
