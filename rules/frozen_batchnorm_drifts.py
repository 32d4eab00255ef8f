"""A frozen backbone is put into `train` mode: its batch norm goes on changing.

## What it does
Reports `model.train()` after all parameters of a network with batch normalisation (ResNet, DenseNet, MobileNet,
EfficientNet, Inception … of torchvision, timm or the hub) were frozen, where the frozen part is not put back into
`eval()` before it is trained.

## Why it matters
`requires_grad = False` stops the optimizer, and nothing else. In `train` mode batch normalisation normalises with the
statistics of the batch and moves its running mean and variance towards them at every forward. The features of the
"frozen" backbone change with each batch, they depend on which samples stand together, and what validation sees under
`eval()` is another network again: with small batches far worse than what training saw.

## Bad
```python
import torch
import torch.nn.functional as F
import torchvision
from torch import nn


def train(loader, epochs):
    model = torchvision.models.resnet18(weights="DEFAULT")
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.fc = nn.Linear(512, 10)
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
    for epoch in range(epochs):
        model.train()  # expect: LL704 warning
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
import torchvision
from torch import nn


def train(loader, epochs):
    model = torchvision.models.resnet18(weights="DEFAULT")
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.fc = nn.Linear(512, 10)
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
    for epoch in range(epochs):
        model.eval()
        model.fc.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
```

## When it stays silent
- `.eval()` on the frozen part after `train()`.
- Intended adaptation: the batch norm layers are picked out and thawed, or the parameters are thawed before training.
- Networks without batch normalisation, and those of which that is not in sight: a class of the project, a checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import freezing
from losslint.interpreter.ledger import Loop
from losslint.interpreter.world import Event, World
from losslint.registry import Draft, Mark, Rule

_WITH_BATCH_NORM = re.compile(
    r"res_?net|resnext|res2net|densenet|mobilenet|efficientnet|inception|googlenet|mnasnet|regnet|shufflenet|xception"
    r"|_bn\b",
    re.IGNORECASE,
)


def check(loop: Loop) -> Iterator[Draft]:
    """A model is put into `train` mode, a part of it with batch norm being frozen, and trained."""
    world = loop.base
    for freeze in world.freezes:
        if not (freeze.frozen and freeze.whole and _WITH_BATCH_NORM.search(freeze.path)):
            continue
        for event in world.events:
            if event.kind == "train" and event.time > freeze.time and freezing.is_inside(freeze.path, event.what):
                trained = next((backward for backward in world.backwards if backward.time > event.time), None)
                if trained is None or not _drifts(world, freeze, event, trained.time):
                    continue
                yield Draft(
                    event.node,
                    Severity.WARNING,
                    "the frozen part is in `train` mode: its batch norm goes on moving with every batch",
                    None,
                    [Mark(freeze.node, "all parameters frozen", ""), Mark(event.node, "batch norm set free", "")],
                    "call `.eval()` on the frozen part after `train()`",
                )
                break


def _drifts(world: World, freeze: freezing.Freeze, put: Event, end: int) -> bool:
    """Whether the frozen part is still frozen, and in `train` mode, when it is trained."""
    for other in world.freezes:
        # what thaws all of it, some layers that a condition picks, or something that is not in sight
        thaws = not other.frozen and freeze.time < other.time < end
        if thaws and (freezing.is_inside(freeze.path, other.path) or not other.path or not other.whole):
            return False
    return not any(
        event.kind in ("eval", "mode") and put.time < event.time < end and freezing.related(event.what, freeze.path)
        for event in world.events
    )


RULE = Rule(
    code="LL704",
    name="frozen-batchnorm-drifts",
    summary="a frozen backbone with batch norm is put into `train` mode: its statistics go on moving",
    law=Law.MODE,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
