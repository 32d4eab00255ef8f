"""Micro-batches after the last full window never reach a step, or leak into the next epoch.

## What it does
Reports a step gate that only full windows open (`(i + 1) % k == 0`) where nothing flushes the rest. It is a warning
where a tail is shown to exist (the sizes in the code do not divide), or where the leftover gradients stay in `.grad`
and join the first window of the next epoch; otherwise, as most loops are written like this, an info.

## Why it matters
Up to `k - 1` micro-batches of each epoch are computed for nothing. Where they leak, the first step of every epoch
holds up to `2k - 1` micro-batches, each weighted `1 / k`: a gradient of nearly twice the size, in part from weights
that are an epoch's first step old, at the moment when a scheduler may just have raised the rate. The curve shows a
small regular kick at each epoch's start. On small data sets the lost tail is a good part of the data.

## Bad
The leftover gradients leak into the next epoch:

```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, epochs=10, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        for i, (inputs, targets) in enumerate(loader):
            loss = criterion(model(inputs), targets) / accum_steps
            loss.backward()
            if (i + 1) % accum_steps == 0:  # expect: LL106 warning
                optimizer.step()
                optimizer.zero_grad()
```

They are dropped, and whether there are any cannot be seen:

```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets) / accum_steps
        loss.backward()
        if (i + 1) % accum_steps == 0:  # expect: LL106 info
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, epochs=10, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        for i, (inputs, targets) in enumerate(loader):
            loss = criterion(model(inputs), targets) / accum_steps
            loss.backward()
            if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
                optimizer.step()
                optimizer.zero_grad()
```

## When it stays silent
- The gate also opens on the last batch (`or i + 1 == len(loader)`): the tail is stepped.
- A flush after the loop steps what is left.
- The loader is trimmed to full windows: there is no tail.
- The sizes divide: batches per epoch are a multiple of the window.
- An endless loader counted by a global step: windows run on across epochs.
- The framework's `accumulate()`: it steps at the end of the loader by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Remedy


def check(loop: Loop) -> Iterator[Draft]:
    """With a short last window, some micro-batches reach no step of their own pass."""
    if loop.window is None or not loop.gradients_known:
        return
    left = loop.leftover
    if left is None:
        return
    window = explain.window_name(loop)
    step = loop.high.steps[0]
    anchor = step.guards[-1] if step.guards else step.node
    leaks = left.leaked and loop.visible_epochs
    fate = "leak into the first step of the next epoch" if left.leaked else "never reach a step"
    yield Draft(
        anchor,
        Severity.WARNING if leaks or left.shown else Severity.INFO,
        f"when the number of batches is no multiple of `{window}`, the gradients of the last ones {fate}",
        Factor("up to " + window + " - 1 micro-batches per pass", None),
        explain.trail(loop, loop.high.backwards[-1].steps),
        "also step on the last batch (`or i + 1 == len(loader)`), with a division by the true length of that window",
        related=[Mark(step.node, f"one step per {window} micro-batches", "")],
        remedies=partial(_remedies, loop),
    )


def _remedies(loop: Loop) -> Iterator[Remedy]:
    action = repairs.also_on_last_batch(loop)
    if action is not None:
        yield Remedy("also step on the last batch", (action,), safe=False)


RULE = Rule(
    code="LL106",
    name="leftover-micro-batches",
    summary="the gradients of an incomplete last window are dropped, or leak into the next epoch",
    law=Law.GRADIENT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.LEFT_OVER,
)
