"""Gradients are clipped while they still carry the AMP scale.

## What it does
Reports `clip_grad_norm_` or `clip_grad_value_` between `scaler.scale(loss).backward()` and `scaler.step(optimizer)`
with no `scaler.unscale_(optimizer)` before it, across helpers, methods and clip functions that a builder returned.

## Why it matters
The norm that is compared with `max_norm` is 65536 times the true one, so every step is clipped, and after the
scaler's division the update is about 65536× smaller than the threshold allows: training stands still, or crawls under
Adam. The logged gradient norm is wrong by the same factor.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    scaler = torch.amp.GradScaler("cuda")
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(inputs), targets)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # expect: LL303 error
        scaler.step(optimizer)
        scaler.update()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    scaler = torch.amp.GradScaler("cuda")
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(inputs), targets)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
```

## When it stays silent
- `unscale_` came first, also in a helper.
- `accelerator.clip_grad_norm_`: it unscales by itself.
- The branch without AMP, where nothing was scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Insert, Move, Remedy, Where
from losslint.units import Unit

_TIMES_SCALE = Unit(scale=1)


def check(loop: Loop) -> Iterator[Draft]:
    """Gradients are clipped while they still carry the AMP scale."""
    world = loop.high
    if not any(step.scaler for step in world.steps):
        return
    seen = set()
    for event in world.events:
        if event.kind != "clip" or event.what != "scaled" or event.node in seen:
            continue
        backward = next((b for b in reversed(world.backwards) if b.time < event.time), None)
        if backward is not None and any(backward.time < zero.time < event.time for zero in world.zeroings):
            # nothing is left to be clipped: LL404 speaks of that
            continue
        seen.add(event.node)
        factor = explain.factor(loop, _TIMES_SCALE)
        yield Draft(
            event.node,
            Severity.ERROR,
            f"gradients are clipped while they carry the AMP scale: they are {factor.text} too large for the threshold,"
            " and what is left after unscaling is next to nothing",
            factor,
            explain.trail(loop, backward.steps) if backward is not None else (),
            "call `scaler.unscale_(optimizer)` before clipping",
            remedies=partial(_remedies, loop, event.node),
        )


def _remedies(loop: Loop, clip: ir.Node) -> Iterator[Remedy]:
    found = repairs.scaler_of(loop.high)
    for event in loop.high.events:
        if event.kind == "unscale" and repairs.is_statement(loop, event.node):
            yield Remedy("unscale the gradients before clipping", (Move(event.node, Where.BEFORE, clip),))
    if found is not None:
        text = (found[0], ".unscale_(", found[1], ")")
        yield Remedy("unscale the gradients before clipping", (Insert(text, Where.BEFORE, clip),))


RULE = Rule(
    code="LL303",
    name="clip-before-unscale",
    summary="gradients are clipped while they still carry the AMP scale",
    law=Law.PRECISION,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.CLIPPED_SCALE,
)
