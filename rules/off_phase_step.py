"""The step gate is off by one: the first window holds a single micro-batch.

## What it does
Reports a gate such as `i % k == 0` on an index that starts at 0: it opens on the very first micro-batch, and every
later window ends one too early.

## Why it matters
The first step is made from one micro-batch weighted `1 / k`, so it is `k` times too small (and has the noise of one
micro-batch); the last `k - 1` micro-batches of the epoch are left over and dropped or carried into the next epoch.
With warm-up or Adam's bias correction that first step matters more than any other. A curve does not show it; a
comparison with the large-batch run does.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets) / accum_steps
        loss.backward()
        if i % accum_steps == 0:  # expect: LL108 warning
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader, 1):
        loss = criterion(model(inputs), targets) / accum_steps
        loss.backward()
        if i % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- `enumerate(..., 1)`: the index counts the micro-batches done.
- `i and i % k == 0`, `i > 0 and i % k == 0`: the gate stays shut on the first micro-batch.
- A global step that starts at 1, or is raised before it is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, laws
from losslint.interpreter.ledger import Loop
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Binding, Remedy, Rewrite


def check(loop: Loop) -> Iterator[Draft]:
    """The first window of a pass holds one micro-batch, the next ones a whole window."""
    if loop.window is None or not loop.gradients_known:
        return
    world = loop.high
    lengths = [
        len({contribution.atom[1] for contribution in step.fresh})
        for step in loop.steady(world)
        if world.visits[step.visit].passage == world.visits[loop.steady(world)[0].visit].passage
    ]
    if len(lengths) < 2 or lengths[0] != 1 or lengths[1] != world.settings.window:
        return
    step = loop.steady(world)[0]
    window = explain.window_name(loop)
    yield Draft(
        step.guards[-1] if step.guards else step.node,
        Severity.WARNING,
        f"the step is taken at batch 0: the first window holds one micro-batch instead of `{window}`",
        explain.factor(loop, laws.OVER_WINDOW),
        explain.trail(loop, world.backwards[0].steps),
        f"count from one: `(i + 1) % {window} == 0`",
        remedies=partial(_remedies, loop),
    )


def _remedies(loop: Loop) -> Iterator[Remedy]:
    gate = loop.window.node if loop.window is not None else None
    if isinstance(gate, ir.Binary) and gate.op == "%" and isinstance(gate.left, (ir.Name, ir.Attr)):
        yield Remedy("count from one", (Rewrite(gate.left, (), (" + 1",), Binding.SUM, Binding.SUM),))


RULE = Rule(
    code="LL108",
    name="off-phase-step",
    summary="the step gate is true at the first batch, so that the first window holds one micro-batch",
    law=Law.GRADIENT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.FIRST_WINDOW,
)
