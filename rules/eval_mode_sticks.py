"""`model.eval()` inside the epoch loop and `model.train()` before it: only the first epoch trains in training mode.

## What it does
Reports an `eval()` that is still in force when the next epoch trains the same model: `train()` stands before the epoch
loop, or nowhere.

## Why it matters
After the first validation, dropout is off and batch normalisation uses its running statistics and never updates them
again. The first epoch trains one model, all others another: regularisation is gone, the training loss drops at epoch
two as if something had been understood, and the validation loss stops following it.

## Bad
```python
import torch
import torch.nn.functional as F


def evaluate(model, loader):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for inputs, targets in loader:
            total += F.cross_entropy(model(inputs), targets).item()
    return total / len(loader)


def train(model, train_loader, val_loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(epochs):
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)  # expect: LL701 error
            loss.backward()
            optimizer.step()
        print(epoch, evaluate(model, val_loader))
```

## Good
```python
import torch
import torch.nn.functional as F


def evaluate(model, loader):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for inputs, targets in loader:
            total += F.cross_entropy(model(inputs), targets).item()
    return total / len(loader)


def train(model, train_loader, val_loader, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        model.train()
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        print(epoch, evaluate(model, val_loader))
```

## When it stays silent
- `train()` in each epoch, in the loop or in the helper that trains.
- The mode is put back: `model.train(was_training)`.
- Another model: a teacher, a critic or an average of the weights may stay in `eval()`.
- A model that is in `eval()` from its first training step on: that was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import modes
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A model that trained in training mode before trains in `eval` mode now."""
    for model in modes.trained_models(loop.base):
        stuck = modes.stuck(loop.base, model)
        if stuck is None or modes.is_made_anew(loop, model):
            continue
        first, backward, event = stuck
        place = next((site.node for site, _ in backward.weights), backward.node)
        yield Draft(
            place,
            Severity.ERROR,
            "the model is still in `eval` mode when the next epoch trains it: dropout is off, and batch norm is frozen",
            None,
            [Mark(first.node, "`train` mode before", "")] if first is not None else [],
            "call `model.train()` at the start of every epoch",
            related=[Mark(event.node, "`eval` mode from here on", "")],
        )
        return


RULE = Rule(
    code="LL701",
    name="eval-mode-sticks",
    summary="the model is still in `eval` mode when the next epoch trains it",
    law=Law.MODE,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
