"""The short last window is stepped, but its losses are still divided by the full window.

## What it does
Reports, at info, a flushed tail whose micro-batches are divided by `k` although the window holds only `r < k` of them.

## Why it matters
The last step of the epoch is `r / k` of the size it should have: with one micro-batch left over and `k = 8`, an eighth.
It is one step per epoch, so curves seldom show it; it matters for short epochs, for fine-tuning on a few hundred
samples and for tests that compare an accumulated run with a large batch.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        loss = loss / accum_steps  # expect: LL107 info
        loss.backward()
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
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    n_batches = len(loader)
    full = n_batches - n_batches % accum_steps
    for i, (inputs, targets) in enumerate(loader):
        window = accum_steps if i < full else n_batches - full
        loss = criterion(model(inputs), targets) / window
        loss.backward()
        if (i + 1) % accum_steps == 0 or i + 1 == n_batches:
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- The last window is divided by its true length: its step has full weight.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A flushed tail is divided by the whole window, though it is shorter."""
    if loop.window is None or not loop.gradients_known or loop.gradient_exponent != 0:
        return
    if not loop.short_window_underweighted:
        return
    backward = loop.high.backwards[-1]
    window = explain.window_name(loop)
    divisions = laws.window_divisions(backward.steps)
    yield Draft(
        divisions[-1].node if divisions else backward.node,
        Severity.INFO,
        f"the last window of a pass can be shorter than `{window}`, and is still divided by `{window}`:"
        " its step is too small",
        Factor(f"true length ÷ {window}", None),
        explain.trail(loop, backward.steps),
        "divide the last window by its true length",
    )


RULE = Rule(
    code="LL107",
    name="short-window-underweighted",
    summary="a short last window is divided by the full window length",
    law=Law.GRADIENT,
    severity=Severity.INFO,
    check=check,
    module=__name__,
    claim=Claim.SHORT_WINDOW,
)
