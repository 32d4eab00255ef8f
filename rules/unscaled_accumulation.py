"""Gradients of `k` micro-batches are summed for one step, and the loss is never divided by `k`.

## What it does
Reports a `backward` that runs on every micro-batch while the optimizer steps once per `k`, with no division by `k`
anywhere on the way: not on the loss, not in the helper or method that calls `backward`, not on the gradients. A
division whose result nobody backpropagates (an unused copy, a callee's own variable) does not count. It is a warning
where a link is unresolved, such as the `.loss` of a model's output or a scaling that the user can switch off.

## Why it matters
Each step gets `k` times the mean gradient. With SGD that is a learning rate `k` times higher than the one in the
config; with clipping, nearly every step is clipped; with Adam the updates hardly change, but weight decay, epsilon and
clipping now mean something else, so "the same effective batch size" no longer gives the same run. The curves diverge
as soon as somebody changes `k` to fit the memory of another card.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, device, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs.to(device)), targets.to(device))
        loss.backward()  # expect: LL102 error
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

The divided copy is never used:

```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, scaler, accum_steps=4):
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(inputs), targets)
        scaled_loss = loss / accum_steps
        scaler.scale(loss).backward()  # expect: LL102 error
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, device, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs.to(device)), targets.to(device))
        (loss / accum_steps).backward()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- A sum reduction with later normalisation: the sum over the window is what is divided.
- The gradients are divided before the step, or a hook that hangs on them may do it: the same division, done later.
- Cached-feature contrastive accumulation: each pass adds the gradient of another part of one loss.
- Several losses of one batch: their sum is the loss, and no window exists.
- A delayed second optimizer (GAN, RL) with its own `backward` inside the gate: one backward for each of its steps.
- Nominal-batch rescaling (`accumulate = round(nbs / bs)` with scaled weight decay): the recipe wants the sum.
- Frameworks that divide (accelerate with a window, DeepSpeed, Lightning's automatic optimisation).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import drafts, explain, laws, repairs, windows
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """The weight of a loss in an optimizer step grows with the window."""
    for backward in laws.undivided(loop):
        # LL903 speaks of what Lightning leaves to the module
        if not windows.is_manual(backward):
            window = explain.window_name(loop)
            yield drafts.undivided(
                loop,
                backward,
                f"`{window}` micro-batches reach each optimizer step undivided:",
                f"divide before backward: `loss = loss / {window}`",
                remedies=partial(repairs.divided_by_window, loop),
            )


RULE = Rule(
    code="LL102",
    name="unscaled-accumulation",
    summary="backward on every micro-batch, a step every window, and nothing divides by the window",
    law=Law.GRADIENT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.GRADIENT_SCALE,
)
