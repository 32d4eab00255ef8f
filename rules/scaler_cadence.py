"""The scaler's `unscale_` and `update` do not run exactly once per optimizer step.

## What it does
Counts, between two steps of an optimizer, the scaler's calls. Reported are

- `unscale_` or `update` on every micro-batch of a window whose step waits for `k` of them;
- no `update` at all;
- `unscale_` twice without an `update` between.

## Why it matters
`unscale_` inside the window divides the gradients of the first micro-batches by the scale again and again: they
vanish from the sum (PyTorch refuses with a `RuntimeError` unless an `update` hides it). An `update` inside the window
may change the scale between two micro-batches of one sum. Without `update` the scale never adapts: after an overflow
each step is skipped, for good.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    scaler = torch.amp.GradScaler("cuda")
    model.train()
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(inputs), targets) / accum_steps
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)  # expect: LL304 error
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
```

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
        scaler.step(optimizer)  # expect: LL304 error
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    scaler = torch.amp.GradScaler("cuda")
    model.train()
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(inputs), targets) / accum_steps
        scaler.scale(loss).backward()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
```

## When it stays silent
- One scaler, several optimizers, one `update` at the end of the iteration: that is how PyTorch documents it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.world import Event
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Delete, Insert, Move, Remedy, Where


def check(loop: Loop) -> Iterator[Draft]:
    """`unscale_` and `update` out of step with the optimizer."""
    world = loop.high
    scaled = [step for step in world.steps if step.scaler]
    events = [event for event in world.events if event.kind in ("unscale", "update")]
    twice = next((event for event in events if event.kind == "unscale" and event.flag), None)
    if not any(event.kind == "update" for event in events):
        # a function of that name that was run has shown that it is none of the scaler's
        followed = {function.name for function in world.entered}
        if "update" not in followed and "update" in loop.program.module.facts.calls:
            return
        if scaled:
            yield _draft(
                scaled[0].node,
                "`scaler.step` without `scaler.update`: the scale never adapts",
                "call `scaler.update()` after the step",
                partial(_with_update, loop),
            )
        elif twice is not None:
            yield _draft(
                twice.node,
                "`unscale_` without `scaler.update`: the second call raises an error",
                "step with `scaler.step(optimizer)` and call `scaler.update()`",
                tuple,
            )
        return
    if twice is not None:
        yield _draft(
            twice.node,
            "`unscale_` runs again before `update`: it raises an error, or divides gradients twice",
            "call `unscale_` once per optimizer step",
            partial(_unscaled_once, loop, twice.node),
        )
        return
    if not scaled or loop.window is None or not loop.in_step:
        return
    stepped = {step.visit for step in scaled}
    for event in events:
        if event.visit not in stepped and event.visit < max(stepped):
            name = "unscale_" if event.kind == "unscale" else "update"
            yield _draft(
                event.node,
                f"`{name}` runs on every micro-batch, the step every `{explain.window_name(loop)}`: gradients of one"
                " window"
                " carry different scales",
                f"call `{name}` under the same gate as the step",
                partial(_under_the_gate, loop, event, name),
            )
            return


def _draft(node: ir.Node, message: str, advice: str, remedies: Callable[[], Iterable[Remedy]]) -> Draft:
    return Draft(node, Severity.ERROR, message, None, (), advice, remedies=remedies)


def _with_update(loop: Loop) -> Iterator[Remedy]:
    found = repairs.scaler_of(loop.high)
    step = next(step.node for step in reversed(loop.high.steps) if step.scaler)
    if found is not None:
        yield Remedy("update the scale after the step", (Insert((found[0], ".update()"), Where.AFTER, step),))


def _unscaled_once(loop: Loop, second: ir.Node) -> Iterator[Remedy]:
    if not repairs.is_statement(loop, second):
        return
    yield Remedy("unscale once per optimizer step", (Delete(second),))
    stepped = {step.visit for step in loop.high.steps}
    clips = [event.node for event in loop.high.events if event.kind == "clip" and event.visit in stepped]
    for user in (*clips[:1], loop.high.steps[0].node):
        yield Remedy("unscale once per optimizer step", (Move(second, Where.BEFORE, user),))


def _under_the_gate(loop: Loop, event: Event, name: str) -> Iterator[Remedy]:
    step = next(step.node for step in reversed(loop.high.steps) if step.scaler)
    if repairs.is_statement(loop, event.node):
        where = Where.BEFORE if event.kind == "unscale" else Where.AFTER
        yield Remedy(f"call `{name}` under the same gate as the step", (Move(event.node, where, step),))


RULE = Rule(
    code="LL304",
    name="scaler-cadence",
    summary="`unscale_` or `update` is missing, doubled, or called on every micro-batch of a window",
    law=Law.PRECISION,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.SCALER_ORDER,
)
