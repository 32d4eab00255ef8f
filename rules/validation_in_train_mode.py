"""The validation loop runs without gradients, and with the model in training mode.

## What it does
Reports a loop under `no_grad` that computes the loss of the model in the same run that trains it, where the model was
put into `train()` and nothing puts it into `eval()`.

## Why it matters
Dropout throws activations away while the model is judged, and batch normalisation takes the statistics of the
validation batch: the figure depends on the batch size and on chance, the running statistics are updated from validation
data, and the model that is judged is not the one that will be used.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, train_loader, val_loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        model.train()
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        total = 0.0
        with torch.no_grad():
            for inputs, targets in val_loader:
                total += F.cross_entropy(model(inputs), targets).item()  # expect: LL702 warning
        print(epoch, total / len(val_loader))
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, train_loader, val_loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        model.train()
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        total = 0.0
        model.eval()
        with torch.no_grad():
            for inputs, targets in val_loader:
                total += F.cross_entropy(model(inputs), targets).item()
        print(epoch, total / len(val_loader))
```

## When it stays silent
- `eval()` in the caller, in the helper, or on a part of the model.
- Dropout that is wanted while predicting (Monte Carlo dropout), and batch norm that is calibrated: a name says so.
- The model's mode was never chosen in sight.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import modes
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule

_ON_PURPOSE = re.compile(
    r"mc_?drop|monte_?carlo|calibrat|recompute|update_bn|bn_stat|warm_?up_?bn|bn_?warm_?up", re.IGNORECASE
)


def check(loop: Loop) -> Iterator[Draft]:
    """A loss is computed without gradients while the model that is trained is in training mode."""
    world = loop.base
    models = modes.trained_models(world)
    if len(models) != 1:
        return
    [model] = models
    training = modes.training_passes(world, model)
    if not training:
        return
    if any(event.kind in ("eval", "mode") for event in world.events if event.kind in modes.MODES):
        return
    if any(_ON_PURPOSE.search(name) for name in loop.program.module.facts.calls | loop.program.module.facts.read):
        return
    for call in world.loss_calls.values():
        if not call.no_grad or call.passage in training or call.visit < 0:
            continue
        mode = modes.mode_at(world, model, call.time)
        if mode is not None and mode.kind == "train":
            yield Draft(
                call.node,
                Severity.WARNING,
                "the model is judged in training mode: dropout is on, and batch norm takes the statistics of the batch",
                None,
                [Mark(mode.node, "`train` mode, and never `eval`", "")],
                "call `model.eval()` before the loop, and `model.train()` after it",
            )
            return


RULE = Rule(
    code="LL702",
    name="validation-in-train-mode",
    summary="the loss of the validation set is computed with the model in training mode",
    law=Law.MODE,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
