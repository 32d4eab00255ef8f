"""The loss is scaled by the window only inside a branch that not every step takes.

## What it does
Reports a division (or multiplication) of the loss by the accumulation window that stands inside a branch which some
steps take and others do not, while `backward` runs on every step: a first-batch check, a block that logs every so
many steps, a NaN test, at any nesting and through any alias (`x = loss * inv`).

## Why it matters
The steps that take the branch have the right gradient, all others one that is `k` times too large. A few prints in a
debug block look harmless, so the division is read as part of the loop. What the user sees: a learning rate that seems
`k` times too high, spikes after the first batch or at the log interval, and with clipping nothing but a run that is
slightly worse. Adam hides most of it.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    optimizer.zero_grad()
    for step, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        if step == 0:
            print("first loss", loss.item(), "on", torch.cuda.device_count(), "devices")
            loss = loss / accum_steps  # expect: LL101 error
        loss.backward()
        if (step + 1) % accum_steps == 0 or step + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

Through an alias, in a block that logs:

```python
import torch
from torch import nn

criterion = nn.MSELoss()


def train_epoch(model, loader, optimizer, accum_steps=8, log_every=50):
    inv = 1.0 / accum_steps
    torch.manual_seed(0)
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        if i % log_every == 0:
            print(f"step {i}: {loss.item():.4f}")
            loss = loss * inv  # expect: LL101 error
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


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    optimizer.zero_grad()
    for step, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        if step == 0:
            print("first loss", loss.item(), "on", torch.cuda.device_count(), "devices")
        loss = loss / accum_steps
        loss.backward()
        if (step + 1) % accum_steps == 0 or step + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- `if k > 1: loss = loss / k`: where the branch is not taken, `k` is 1 and there is nothing to divide by.
- A branch for the short last window: each window is divided by its own length.
- Every branch scales: whichever is taken, the factor is the same.
- Scale and `backward` stand in the same exclusive branch (AMP / fp32, phase G / D): no unscaled loss gets out of it.
- The branch depends on a run constant: all steps of one run agree (a run that never scales is LL102).
- A copy of the loss is scaled only to print it: the gradient does not see it.
- An auxiliary term is added in the branch: that changes what the loss is, not its scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, laws, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.values import Step
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Remedy


def check(loop: Loop) -> Iterator[Draft]:
    """Some micro-batches are divided by the window and some are not."""
    if loop.window is None or not loop.gradients_known:
        return
    found = laws.uneven(loop, loop.high) or laws.flipped(loop)
    if found is None:
        return
    # multiplied back too early on a few steps, or divided on a few steps: the line that is the exception is flagged
    back = [step for step in laws.window_divisions(found.undivided.steps) if step.guards]
    divisions = back or laws.window_divisions(found.divided.steps)
    node = divisions[-1].node if divisions else found.divided.node
    guard = found.divided.guards[-1] if found.divided.guards else None
    if divisions and divisions[-1].guards:
        guard = divisions[-1].guards[-1]
    share = f"{found.divided_count} of {found.backwards}"
    draft = _draft(loop, node, guard, share, found.undivided.node, found.divided)
    step = divisions[-1] if divisions else None
    yield replace(draft, remedies=lambda: _remedies(loop, step))


def _draft(loop: Loop, node: ir.Node, guard: ir.If | None, share: str, backward: ir.Node, divided: object) -> Draft:
    window = explain.window_name(loop)
    steps = getattr(divided, "steps", ())
    where = f" inside `if {explain.text(guard.test)}`" if guard is not None else ""
    factor = explain.factor(loop, laws.TIMES_WINDOW)
    return Draft(
        node,
        Severity.ERROR,
        f"the loss is divided by `{window}`{where}, on {share} micro-batches, while `{explain.text(backward)}` runs on"
        f" every one: the gradient is {factor.text} too large{explain.in_numbers(loop, laws.TIMES_WINDOW)} wherever it"
        " is not",
        factor,
        explain.trail(loop, steps),
        f"move the division by `{window}` out of the branch, so that every micro-batch is divided",
        related=[Mark(backward, "backward runs on every micro-batch", "")] if backward is not node else (),
    )


def _remedies(loop: Loop, step: Step | None) -> Iterator[Remedy]:
    if step is None:
        return
    window = explain.window_name(loop)
    if repairs.is_only_a_scaling(loop, step.node):
        for move in repairs.out_of_branch(loop, step.node, step.guards):
            yield Remedy(f"move the division by `{window}` out of the branch", move)
    undone = repairs.undone(step)
    if undone is None:
        return
    for division in repairs.divide_at_backward(loop, step):
        yield Remedy(f"divide by `{window}` before backward, on every micro-batch", (undone, *division))


RULE = Rule(
    code="LL101",
    name="loss-scaled-in-branch",
    summary="the loss is divided by the accumulation window only inside a branch that not every step takes",
    law=Law.EVERY_STEP,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.MICRO_BATCH_RATIO,
)
