"""The loss was scaled for `backward`, but the optimizer steps without the scaler.

## What it does
Reports a plain `optimizer.step()` on gradients that came from `scaler.scale(loss).backward()`, also when the two
stand in different functions or methods. If `scaler.unscale_(optimizer)` came first the gradients are right and only
the check for overflow is missing: info.

## Why it matters
The optimizer sees gradients 65536× too large. SGD diverges in one step. Adam survives, because it divides the factor
out again, and the bug stays until weight decay, clipping or a change of the scale lets it show; one overflow writes
NaN into the weights, since nothing skips the step.

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
        optimizer.step()  # expect: LL302 error
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
        scaler.step(optimizer)
        scaler.update()
```

## When it stays silent
- `unscale_` was called on this optimizer first: the update has the right size (shown at info, since overflows are no
  longer skipped).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

from losslint import units
from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.world import Backward
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Action, Binding, Insert, Remedy, Replace, Where
from losslint.units import Unit

_TIMES_SCALE = Unit(scale=1)


def check(loop: Loop) -> Iterator[Draft]:
    """A plain optimizer step consumes gradients that still carry the AMP scale."""
    world = loop.high
    seen = set()
    for step in world.steps:
        if step.scaler or step.node in seen:
            continue
        scaled = [c for c in step.fresh if Fraction(c.weight).numerator % units.SCALE == 0]
        if not scaled and not step.unscaled:
            continue
        seen.add(step.node)
        backward = world.backwards[step.fresh[0].backward] if step.fresh else None
        if backward is None:
            continue
        if scaled:
            factor = explain.factor(loop, _TIMES_SCALE)
            yield Draft(
                step.node,
                Severity.ERROR,
                f"the step consumes gradients that carry the AMP scale: gradient = true gradient {factor.text}",
                factor,
                explain.trail(loop, backward.steps),
                "step with `scaler.step(optimizer)` and call `scaler.update()`",
                related=[Mark(backward.node, "backward on the scaled loss", "AMP scale")],
                remedies=partial(_remedies, loop, step.node, backward),
            )
        else:
            yield Draft(
                step.node,
                Severity.INFO,
                "the gradients were unscaled, but a plain step does not skip batches with inf or NaN gradients",
                None,
                explain.trail(loop, backward.steps),
                "step with `scaler.step(optimizer)`",
                remedies=partial(_remedies, loop, step.node, backward),
            )


def _remedies(loop: Loop, step: ir.Node, backward: Backward) -> Iterator[Remedy]:
    scaled, optimizer = repairs.scale_call(backward.steps), repairs.optimizer_of(step)
    if scaled is None or optimizer is None or not isinstance(step, ir.Call) or step.arguments:
        return
    scaler = scaled[1]
    actions: list[Action] = [Replace(step, (scaler, ".step(", optimizer, ")"), Binding.ATOM)]
    if not any(event.kind == "update" for event in loop.high.events):
        actions.append(Insert((scaler, ".update()"), Where.AFTER, step))
    yield Remedy("step with the scaler", tuple(actions))


RULE = Rule(
    code="LL302",
    name="scaler-step-bypassed",
    summary="backward on the scaled loss, and then a plain optimizer step",
    law=Law.PRECISION,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.GRADIENT_SCALE,
)
