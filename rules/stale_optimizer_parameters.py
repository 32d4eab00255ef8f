"""The optimizer holds parameters that no longer train: a layer was replaced after it was built, or all are frozen.

## What it does
Reports a layer that is put into a model after the optimizer was made from the model's parameters, and an optimizer all
of whose parameters are frozen when it steps.

## Why it matters
An optimizer keeps the tensors that it was given, not the model. A head that is replaced afterwards gets gradients and
is never stepped on: it keeps its random initialisation for the whole run, and the outputs stay what it makes of them.
With every parameter frozen nothing moves at all; the loss is flat, or the same in each epoch, and nothing fails.

## Bad
```python
import torch
import torch.nn.functional as F
from torch import nn


def finetune(model, loader):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model.fc = nn.Linear(512, 10)  # expect: LL802 error
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F
from torch import nn


def finetune(model, loader):
    model.fc = nn.Linear(512, 10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
```

## When it stays silent
- `add_param_group`, or another optimizer, takes the new layer in.
- Frozen on purpose: something that the optimizer holds still trains, a new head or one that was thawed.
- A copy of the model is frozen: a teacher, or an average of the weights.
- The model went through a function that is not in sight after it was frozen: it may have put adapters in.
- Which parameters the optimizer was made with is not in sight.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import freezing
from losslint.interpreter.ledger import Loop
from losslint.interpreter.world import Made, World
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """An optimizer steps, and what should train is not among what it holds."""
    world = loop.base
    for path, made in world.made.items():
        steps = [step.time for step in world.steps if step.optimizer == path and step.time > made.time]
        models = freezing.held(made) if made.kind == "optimizer" else []
        if steps and models:
            yield from _replaced(world, made, models, steps[-1])
            yield from _frozen(world, made, models, steps)


def _replaced(world: World, made: Made, models: list[str], last: int) -> Iterator[Draft]:
    for one in world.replacements:
        later = (event.kind == "group" and event.time > one.time for event in world.events)
        remade = (other.kind == "optimizer" and other.time > one.time for other in world.made.values())
        inside = any(freezing.is_inside(one.path, model) for model in models)
        if made.time < one.time < last and inside and not any(later) and not any(remade):
            yield Draft(
                one.node,
                Severity.ERROR,
                "this layer is put into the model after the optimizer was made: the optimizer does not hold its"
                " parameters, and they never change",
                None,
                [Mark(made.node, "holds the parameters that the model has here", "")],
                "make the optimizer after the model is complete",
            )


def _frozen(world: World, made: Made, models: list[str], steps: list[int]) -> Iterator[Draft]:
    frozen = [freezing.frozen_at(world, model, time) for model in models for time in steps]
    if frozen[0] is not None and all(frozen):
        yield Draft(
            made.node,
            Severity.ERROR,
            "every parameter that this optimizer holds is frozen: its steps change nothing",
            None,
            [Mark(frozen[0].node, "freezes all of them", "")],
            "freeze the layers that are to stay, and thaw or replace the head",
            related=[Mark(frozen[0].node, "freezes all of them", "")],
        )


RULE = Rule(
    code="LL802",
    name="stale-optimizer-parameters",
    summary="the optimizer holds a replaced layer, or nothing that trains",
    law=Law.SETUP,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
