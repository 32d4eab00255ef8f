"""Parameters are frozen between backward and step: their gradients are still there, and they are stepped once more.

## What it does
Reports `requires_grad = False` after a backward whose gradients are neither stepped on nor zeroed before it, where an
optimizer that holds the parameters steps next.

## Why it matters
`requires_grad = False` keeps the next backward from writing gradients. It does not take away those that are there, and
an optimizer skips a parameter only where its gradient is `None`. A frozen layer goes on moving with a stale gradient,
at each step until something sets it to `None`.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        for inputs, targets in loader:
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            if epoch >= 30:
                for parameter in model.backbone.parameters():
                    parameter.requires_grad = False  # expect: LL803 warning
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        if epoch == 30:
            for parameter in model.backbone.parameters():
                parameter.requires_grad = False
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
```

## When it stays silent
- The gradients are zeroed between the backward and the freeze, or between the freeze and the step.
- Another optimizer holds the parameters: a discriminator that is frozen for the step of the generator.
- Which parameters are frozen, or which the optimizer holds, is not in sight.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import freezing
from losslint.interpreter.ledger import Loop
from losslint.interpreter.world import OptimizerStep, World
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A step sees gradients of parameters that were frozen after their backward."""
    conditions = [node for node in loop.base.varying if isinstance(node, ir.If) and loop.program.freezes(node.facts)]
    for world in (loop.base, *(loop.again(node, False) for node in conditions)):
        for event in world.freezes:
            stale = _stale_step(world, event) if event.frozen and event.path else None
            if stale is not None:
                before = [backward for backward in world.backwards if backward.time < event.time]
                yield Draft(
                    event.node,
                    Severity.WARNING,
                    f"`{event.path}` is frozen after a backward: its gradients are still there, and the next step"
                    " moves it with them",
                    None,
                    [Mark(before[-1].node, "writes the gradients", "")],
                    "freeze before the backward, or call `zero_grad()` first",
                    related=[Mark(stale.node, "steps with them", "")],
                )


def _stale_step(world: World, event: freezing.Freeze) -> OptimizerStep | None:
    """The next step of an optimizer that holds what is frozen, where gradients of it are left."""
    step = next((step for step in world.steps if step.time > event.time and _holds(world, step, event.path)), None)
    if step is None:
        return None
    # what backward wrote before there was an optimizer of this model belongs to another one
    made = world.made[step.optimizer].time
    written = max((one.time for one in world.backwards if made < one.time < event.time), default=None)
    if written is None:
        return None
    gone = (zeroing.time for zeroing in world.zeroings if zeroing.optimizer in ("", step.optimizer))
    thawed = (other.time for other in world.freezes if not other.frozen and other.time > event.time)
    if any(written < time < step.time for time in gone) or any(time < step.time for time in thawed):
        return None
    return step


def _holds(world: World, step: OptimizerStep, path: str) -> bool:
    made = world.made.get(step.optimizer)
    return made is not None and any(freezing.related(path, model) for model in freezing.held(made))


RULE = Rule(
    code="LL803",
    name="frozen-after-backward",
    summary="parameters are frozen after a backward, and the next step still moves them",
    law=Law.SETUP,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
