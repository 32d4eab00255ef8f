"""A sum of batch means is divided by the number of samples.

## What it does
Adds up what a mean-reducing criterion returned, one value per batch (unit M after the loop), and divides it by a
number of samples: `len(loader.dataset)`, `len(dataset)`, a counter that adds the batch size.

- **error**: the reduction and the divisor both resolve;
- **warning**: one of them rests on an assumption (`.loss` of a model that is not visible is taken for a mean, a
  dataset is taken for the one behind the loader).

An opaque criterion is no evidence at all: then the rule says nothing.

## Why it matters
The report reads the true mean ÷ the batch size (÷32 with `batch_size = 32`). The loss starts suspiciously low (0.07
instead of ln 10 = 2.3 for ten classes), small differences vanish in the third decimal of the log, and doubling the
batch size seems to halve the loss.

## Bad
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    model.train()
    running_loss = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return running_loss / len(loader.dataset)  # expect: LL204 error
```

## Good
```python
from torch import nn

criterion = nn.CrossEntropyLoss(reduction="sum")


def train_epoch(model, loader, optimizer):
    model.train()
    running_loss = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        (loss / inputs.size(0)).backward()
        optimizer.step()
        running_loss += loss.item()
    return running_loss / len(loader.dataset)
```

```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    model.train()
    running_loss = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return running_loss / len(loader)
```

## When it stays silent
- Sum reduction, wherever the criterion is built: a sum over all samples divided by samples is the mean.
- A counter of batches whose name says otherwise (`n_samples += 1`): it is judged by what it adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.reading import Reading
from losslint.interpreter.values import Step
from losslint.registry import Draft, Rule
from losslint.remedies import Binding, Remedy, Replace, multiplied
from losslint.units import Unit

_OVER_BATCH = Unit(batch=-1)


def check(loop: Loop) -> Iterator[Draft]:
    """A sum of batch means is divided by the number of samples."""
    for reading in loop.readings:
        division = reading.division
        unit = reading.unit
        # whether the sum is one of divided losses or not: the divisor is the wrong one
        if unit is None or replace(unit, window=0) != _OVER_BATCH or division is None or reading.accumulated is None:
            continue
        # a criterion that is not in sight may be a sum: then the figure is right
        if loop.is_summed(reading.site) or (reading.site.evidence == 2 and reading.site.reduction is None):
            continue
        factor = explain.factor(loop, unit)
        operand = f"`{explain.text(division.operand)}`" if division.operand is not None else "a sample counter"
        yield Draft(
            division.node,
            explain.lowered(Severity.ERROR, explain.is_certain([reading.site]) and loop.counts_own_samples(reading)),
            f"a sum of batch means is divided by {operand}, which counts samples: reported = true mean {factor.text}"
            f"{explain.in_numbers(loop, unit)}{explain.assumption([reading.site])}",
            factor,
            explain.trail(loop, reading.steps),
            "divide by the number of batches, or multiply each batch's mean by its size",
            remedies=partial(_remedies, loop, reading, division),
        )


def _remedies(loop: Loop, reading: Reading, division: Step) -> Iterator[Remedy]:
    size, added = repairs.counted_size(loop, division.operand), reading.accumulated
    if size is not None and added is not None:
        for expression in repairs.added(loop, added.entry or added.node):
            yield Remedy("weigh each batch's mean by its size", (multiplied(expression, (size,)),))
    loader = repairs.loader_of_reading(loop, reading)
    if loader is not None and division.operand is not None:
        text = ("len(", loader, ")")
        yield Remedy("divide by the number of batches", (Replace(division.operand, text, Binding.ATOM),))


RULE = Rule(
    code="LL204",
    name="mean-loss-over-samples",
    summary="a sum of batch means is divided by the number of samples",
    law=Law.REPORT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_SCALE,
)
