"""An in-place operation on a detached alias changes the loss itself.

## What it does
`loss.detach()` and `loss.data` are views of the same storage. This rule reports `/=`, `*=`, `div_`, `mul_` and their
kin on such an alias while the loss is still needed.

## Why it matters
After `shown = loss.detach(); shown /= k` the tensor `loss` holds loss/k as well. Everything that reads it later (the
epoch total, the best-model check, a second logger) is ÷k without a division in sight, and backward through an
operation that saved its output fails with a version error.

## Bad
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    window_loss = 0.0
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        (loss / accum_steps).backward()
        shown = loss.detach()
        shown /= accum_steps  # expect: LL211 error
        window_loss += shown.item()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
            print(f"step {(i + 1) // accum_steps}: loss {window_loss:.4f}, finite: {loss.isfinite().item()}")
            window_loss = 0.0
```

## Good
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    window_loss = 0.0
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        (loss / accum_steps).backward()
        shown = loss.detach() / accum_steps
        window_loss += shown.item()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
            print(f"step {(i + 1) // accum_steps}: loss {window_loss:.4f}, finite: {loss.isfinite().item()}")
            window_loss = 0.0
```

## When it stays silent
- Out of place: `loss.detach() / k` is a new tensor.
- `.clone()` in between, or a Python float from `.item()`: nothing is shared any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Remedy, method_called


def check(loop: Loop) -> Iterator[Draft]:
    """In-place arithmetic on a detached alias changes the loss itself: they share their memory."""
    seen = set()
    for mutation in loop.high.mutations:
        if mutation.node in seen:
            continue
        seen.add(mutation.node)
        verb = "divided" if mutation.verb == "/" else "multiplied"
        yield Draft(
            mutation.node,
            Severity.ERROR,
            f"`{explain.text(mutation.node)}` is in place on a detached alias: the loss that it was detached from is"
            f" {verb} too",
            Factor("loss changed in place", None),
            (),
            "use an out-of-place operation, or `.detach().clone()`",
            remedies=partial(_remedies, loop, mutation.node),
        )


def _remedies(loop: Loop, mutation: ir.Node) -> Iterator[Remedy]:
    for alias in repairs.detached(loop, mutation):
        yield Remedy("copy the loss before it is changed: `.clone()`", (method_called(alias, "clone"),))


RULE = Rule(
    code="LL211",
    name="loss-alias-mutated",
    summary="in-place arithmetic on a detached alias changes the loss itself",
    law=Law.REPORT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.LOSS_CHANGED,
)
