"""Gradients are clipped where there are none to clip: after the step, or before backward.

## What it does
Reports a clip on every batch that comes before `backward` (the gradients were just set to zero) or after
`optimizer.step()` (they have been used).

## Why it matters
The clip changes nothing that any step will use. The run has no protection against the one large gradient it was put
there for, and the config says that it has.

## Bad
```python
import torch
import torch.nn.functional as F
from torch import nn


def train(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # expect: LL404 error
```

## Good
```python
import torch
import torch.nn.functional as F
from torch import nn


def train(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
```

## When it stays silent
- A clip whose result is used: it measures the norm.
- Gradients that a hook or a framework clips.
- Several optimizers in one loop: whose gradients are clipped is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.world import World
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Move, Remedy, Where


def check(loop: Loop) -> Iterator[Draft]:
    """No step uses what a clip has clipped."""
    world = loop.base
    if world.unclear or not world.steps or not world.backwards or len({step.optimizer for step in world.steps}) != 1:
        return
    clips: dict[ir.Node, list[int]] = {}
    for event in world.events:
        if event.kind == "clip":
            clips.setdefault(event.node, []).append(event.time)
    for node, times in clips.items():
        if not repairs.is_statement(loop, node) or any(_is_useful(world, time) for time in times):
            continue
        if any(event.node is node and _sees_all(loop.high, event.time) for event in loop.high.events):
            # with more than one micro-batch in a window it is the step that comes too early
            continue
        before = not any(backward.time < times[0] for backward in world.backwards)
        if not before and not _is_used_up(world, times[0]):
            # somebody has thrown the gradients away: that is another law's business
            continue
        yield Draft(
            node,
            Severity.ERROR,
            "gradients are clipped before backward has made any"
            if before
            else "gradients are clipped after the step has used them",
            None,
            [Mark(world.steps[0].node, "the optimizer step", "")],
            "clip between backward and the optimizer step",
            remedies=partial(_remedies, node, world.steps[0].node),
        )


def _remedies(clip: ir.Node, step: ir.Node) -> Iterator[Remedy]:
    yield Remedy("clip right before the optimizer steps", (Move(clip, Where.BEFORE, step),))


def _is_useful(world: World, time: int) -> bool:
    """Whether gradients that were there at a clip get to a step: a backward before it, and a step before they go."""
    start = max((step.time for step in world.steps if step.time < time), default=0)
    start = max([start, *(zeroing.time for zeroing in world.zeroings if zeroing.time < time)])
    if not any(start < backward.time < time for backward in world.backwards):
        return False
    end = min((zeroing.time for zeroing in world.zeroings if zeroing.time > time), default=None)
    return any(time < step.time and (end is None or step.time < end) for step in world.steps)


def _sees_all(world: World, time: int) -> bool:
    """Whether a clip is useful, and no backward comes between it and the step."""
    step = min((step.time for step in world.steps if step.time > time), default=time)
    return _is_useful(world, time) and not any(time < backward.time < step for backward in world.backwards)


def _is_used_up(world: World, time: int) -> bool:
    """Whether a step has come between the last backward and a clip."""
    backward = max((b.time for b in world.backwards if b.time < time), default=0)
    return any(backward < step.time < time for step in world.steps)


RULE = Rule(
    code="LL404",
    name="misplaced-gradient-clipping",
    summary="gradients are clipped after the step, or before backward",
    law=Law.ORDER,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.CLIP_ORDER,
)
