"""The training and the validation figure of one run have different units.

## What it does
Compares the units of the two figures that a run reports for its training and its validation loss, and marks the line
where they stand side by side (else the line of the figure whose unit is not 1). It does not replace the finding that
says why one of them is off: both are shown.

## Why it matters
This is the report that reads "train loss is 3.6× validation". The gap between the curves is what people diagnose
over- and underfitting by, what early stopping and schedules act on; here it is a constant factor (a number of
batches, a batch size, an accumulation window) that no amount of training closes.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def fit(model, train_loader, val_loader, optimizer, epochs=5):
    for epoch in range(epochs):
        model.train()
        train_loss = 0.0
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            train_loss += loss.item()
        model.eval()
        val_loss = 0.0
        with torch.no_grad():
            for inputs, targets in val_loader:
                val_loss += criterion(model(inputs), targets).item()
        val_loss /= len(val_loader)
        print(f"epoch {epoch}: train {train_loss:.4f}, validation {val_loss:.4f}")  # expect: LL214 warning
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def fit(model, train_loader, val_loader, optimizer, epochs=5):
    for epoch in range(epochs):
        model.train()
        train_loss = 0.0
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            train_loss += loss.item()
        train_loss /= len(train_loader)
        model.eval()
        val_loss = 0.0
        with torch.no_grad():
            for inputs, targets in val_loader:
                val_loss += criterion(model(inputs), targets).item()
        val_loss /= len(val_loader)
        print(f"epoch {epoch}: train {train_loss:.4f}, validation {val_loss:.4f}")
```

## When it stays silent
- Both figures have the same unit, however each of them is built: a weighted mean over samples beside a mean of batch
  means, a sum reduction over samples beside a mean reduction over batches.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain
from losslint.interpreter.ledger import Loop
from losslint.interpreter.reading import Reading
from losslint.registry import Draft, Mark, Rule
from losslint.units import Unit


def check(loop: Loop) -> Iterator[Draft]:
    """The training and the validation figure of one line have different units."""
    by_node: dict[object, list[Reading]] = {}
    for reading in loop.readings:
        if reading.unit is not None and not reading.figure.live:
            by_node.setdefault(reading.figure.node, []).append(reading)
    for readings in by_node.values():
        trained = [reading for reading in readings if loop.is_training(reading)]
        validated = [reading for reading in readings if not loop.is_training(reading)]
        for train in trained:
            for validation in validated:
                ratio = _ratio(train.unit, validation.unit)
                if ratio is not None and not ratio.is_one and loop.have_one_reference(train, validation):
                    yield _draft(loop, train, validation, ratio)
                    break
            else:
                continue
            break


def _ratio(train: Unit | None, validation: Unit | None) -> Unit | None:
    if train is None or validation is None:
        return None
    return Unit(
        train.batch - validation.batch,
        train.batches - validation.batches,
        train.log - validation.log,
        train.scale - validation.scale,
        train.processes - validation.processes,
        train.window - validation.window,
    )


def _draft(loop: Loop, train: Reading, validation: Reading, ratio: Unit) -> Draft:
    factor = explain.factor(loop, ratio)
    return Draft(
        train.figure.node,
        Severity.WARNING,
        f"the training figure has the unit {explain.unit_text(loop, train.unit)} and the validation figure"
        f" {explain.unit_text(loop, validation.unit)}: train = validation {factor.text} for the same loss"
        f"{explain.in_numbers(loop, ratio)}",
        factor,
        explain.trail(loop, train.steps),
        "compute both as a mean over the same thing",
        related=[
            Mark(mark.node, f"validation: {mark.message}", mark.unit) for mark in explain.trail(loop, validation.steps)
        ],
    )


RULE = Rule(
    code="LL214",
    name="train-validation-unit-mismatch",
    summary="the training and the validation figure of one report have different units",
    law=Law.REPORT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_PAIR,
)
