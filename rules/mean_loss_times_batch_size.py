"""A mean loss is multiplied by the batch size and then divided by the number of batches.

## What it does
`loss.item() * batch_size` turns a batch's mean into its sum (unit B). That is half of a weighted average: the other
half is a divisor that counts samples. This rule follows the product into the figure and looks at the divisor.

- **error**: it counts batches (`len(loader)`, a counter that adds 1, a meter fed with weight 1, `np.mean` of a list);
- **warning**: no quotient is found anywhere in the project;
- **info**: it counts samples. The figure is right; the finding is the proof.

## Why it matters
The report reads the true mean × the batch size (×32 with `batch_size = 32`). A cross-entropy of 2.3 shows up as 73.7,
the curve moves when the batch size does, and thresholds (early stopping, loss spikes, a plateau's `threshold`) set
for losses around 1 are off by that factor. A fix that divides again by a batch size hides it until the last, shorter
batch.

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
        running_loss += loss.item() * inputs.size(0)  # expect: LL203 error
    return running_loss / len(loader)
```

## Good
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    model.train()
    running_loss, seen = 0.0, 0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * inputs.size(0)  # expect: LL203 info
        seen += inputs.size(0)
    return running_loss / seen
```

## When it stays silent
- How the criterion reduces is not in sight, and its result is divided by the batch size first: after a sum the figure
  is too large, after a mean it is right.
- `Σ loss·n / Σ n`, as counters, a weighted meter (`update(loss, n)`) or two reduced tensors: the exact mean over
  samples, shown at info only.
- `/ len(dataset)` of the split that the loader walks: the same divisor, known in advance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from losslint import units
from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.reading import Reading
from losslint.interpreter.values import BATCH, Step
from losslint.registry import Draft, Rule
from losslint.remedies import Binding, Remedy, Replace
from losslint.units import Unit

_TIMES_BATCH = Unit(batch=1)
_TIMES_SAMPLES = Unit(batch=1, batches=1)


def check(loop: Loop) -> Iterator[Draft]:
    """A mean loss is multiplied by the batch size, added up, and divided by something that counts batches."""
    for reading in loop.readings:
        times = _times_batch_size(reading)
        if reading.unit is None or reading.accumulated is None or not times or loop.is_summed(reading.site):
            continue
        if replace(reading.unit, window=0) == _TIMES_BATCH:
            if _may_undo_a_division(loop, reading):
                continue
            known = explain.is_certain([reading.site]) or reading.site.assumption == "a mean is assumed"
            yield _draft(loop, reading, explain.lowered(Severity.ERROR, known), "divided by the number of batches")
        elif reading.unit.is_one and reading.division is not None:
            yield _draft(loop, reading, Severity.INFO, "divided by the number of samples, which is right")
        elif reading.unit != _TIMES_SAMPLES or reading.division is not None:
            continue
        elif not loop.divided_elsewhere(reading) and not loop.handed_to_other_files(reading):
            yield _draft(loop, reading, Severity.WARNING, "divided by nothing in sight")


def _times_batch_size(reading: Reading) -> list[Step]:
    return [step for step in reading.steps if step.verb == "*" and step.kinds & BATCH]


def _may_undo_a_division(loop: Loop, reading: Reading) -> bool:
    """Whether the loss was divided by the batch size before, and may have been a mean already: then only its gradient
    is too small."""
    return reading.site.reduction is None and loop.loss_weight(reading.site.node).denominator % units.BATCH == 0


def _draft(loop: Loop, reading: Reading, severity: Severity, what: str) -> Draft:
    place = reading.added_at(*_times_batch_size(reading))
    unit = reading.unit
    assert place is not None
    assert unit is not None
    factor = explain.factor(loop, unit)
    wrong = "" if unit.is_one else f": reported = true mean {factor.text}{explain.in_numbers(loop, unit)}"
    return Draft(
        place,
        severity,
        f"a mean loss is multiplied by the batch size, added up, and {what}{wrong}",
        factor,
        explain.trail(loop, reading.steps),
        "divide by the number of samples that were added up, or add up the plain mean and divide by batches",
        remedies=partial(_remedies, loop, reading),
    )


def _remedies(loop: Loop, reading: Reading) -> Iterator[Remedy]:
    division = reading.division
    dataset = repairs.dataset_of(loop, reading)
    if dataset is not None and division is not None and division.operand is not None:
        text = ("len(", *dataset, ")")
        yield Remedy("divide by the number of samples", (Replace(division.operand, text, Binding.ATOM),))
    for undone in repairs.undone_each(_times_batch_size(reading)):
        if reading.unit == _TIMES_BATCH:
            yield Remedy("add up the plain mean of each batch", undone)


RULE = Rule(
    code="LL203",
    name="mean-loss-times-batch-size",
    summary="a mean loss is multiplied by the batch size and divided by the number of batches",
    law=Law.REPORT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_SCALE,
)
