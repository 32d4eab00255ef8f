"""The divisor counts something else than what was summed: another split, dictionary keys, one epoch of many.

## What it does
Compares the set over which a figure was summed with the set that its divisor counts, and reports the division when
they are not the same:

- the length of another split (`val_loss / len(train_loader)`);
- `len(batch)` where the batch is a dictionary: the number of its keys;
- `len(dataset)` although `drop_last` or a sampler leaves samples out;
- `len(loader)` after a `break` that ended the pass early;
- the index of the last batch, which is one less than their number (`total / step` after `enumerate(loader)`);
- one epoch's length under a sum that was never reset and is divided once, after all epochs (× epochs). A sum that is
  never reset but reported in each epoch is `misplaced-accumulator-reset`.

## Why it matters
The factor is the ratio of the two counts. With a 90/10 split, validation loss over the training length reads ÷9: it
"beats" training from the start and early stopping never fires. A dictionary of three tensors turns a mean over 32
samples into one over 3.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def fit(model, train_loader, val_loader, optimizer):
    model.train()
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    val_loss = 0.0
    with torch.no_grad():
        for inputs, targets in val_loader:
            val_loss += criterion(model(inputs), targets).item()
    return val_loss / len(train_loader)  # expect: LL205 warning
```

```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    model.train()
    total, seen = 0.0, 0
    for batch in loader:
        optimizer.zero_grad()
        loss = criterion(model(batch["inputs"]), batch["labels"])
        loss.backward()
        optimizer.step()
        total += loss.item() * batch["labels"].size(0)
        seen += len(batch)
    return total / seen  # expect: LL205 warning
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def fit(model, train_loader, val_loader, optimizer):
    model.train()
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
    model.eval()
    val_loss = 0.0
    with torch.no_grad():
        for inputs, targets in val_loader:
            val_loss += criterion(model(inputs), targets).item()
    return val_loss / len(val_loader)
```

## When it stays silent
- A `Subset`'s own length: it is the split that the loader walks, however the variable is called.
- A cumulative total over a cumulative count: neither is reset, both cover the same batches.
- `step + 1`, or an index that starts at 1, is the number of batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.reading import Reading
from losslint.interpreter.values import KEYS, SAMPLES, Step
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Binding, Remedy, Replace

_ENOUGH_BATCHES = 3


def check(loop: Loop) -> Iterator[Draft]:
    """A sum over one set of batches is divided by the size of another."""
    for reading in loop.readings:
        division = reading.division
        if division is None or reading.accumulated is None:
            continue
        mismatch = _mismatch(loop, reading)
        if mismatch is not None:
            message, factor, advice = mismatch
            trail = explain.trail(loop, reading.steps)
            remedies = partial(_remedies, loop, reading, division)
            yield Draft(
                division.node, Severity.WARNING, message, Factor(factor, None), trail, advice, remedies=remedies
            )


def _remedies(loop: Loop, reading: Reading, division: Step) -> Iterator[Remedy]:
    """The length of the loader that was iterated, where that of another one is divided by."""
    loader = repairs.loader_of_reading(loop, reading)
    if loop.other_split(reading) is None or loader is None or division.operand is None:
        return
    text = ("len(", loader, ".dataset)" if division.kinds & SAMPLES else ")")
    action = Replace(division.operand, text, Binding.ATOM)
    yield Remedy("divide by the length of the loader that was iterated", (action,))


def _mismatch(loop: Loop, reading: Reading) -> tuple[str, str, str] | None:
    """What is wrong with the divisor, by which factor, and what to do."""
    other = loop.other_split(reading)
    if other is not None:
        return (
            f"batches of `{other[0]}` are added up, and divided by the length of `{other[1]}`",
            f"× {other[0]} ÷ {other[1]}",
            "divide by the length of the loader that was iterated",
        )
    if loop.epochs_in_one_figure(reading):
        return (
            "the sum runs over all epochs and is divided by one epoch's length: reported = true mean × epochs",
            "× epochs",
            "set the sum to zero at the start of each epoch, or divide by the batches of all epochs",
        )
    left_out = loop.left_out(reading)
    if left_out:
        return left_out, "samples seen ÷ samples counted", "count the samples that were seen"
    if loop.left_early(reading) is not None:
        return (
            "the loop over batches may end early, and the divisor counts all of them",
            "batches seen ÷ batches counted",
            "count the batches that were run",
        )
    index = _last_index(loop, reading)
    if index:
        return (
            f"`{index}` is the index of the last batch, one less than the batches that were added up",
            f"{index} + 1 ÷ {index}",
            f"divide by `{index} + 1`",
        )
    if any(step.kinds & KEYS for step in reading.steps):
        return (
            "`len` of a dictionary is the number of its keys, not of samples",
            "keys ≠ samples",
            "take the length of one of its tensors",
        )
    return None


def _last_index(loop: Loop, reading: Reading) -> str:
    """The index of the last batch, where a mean over batches is divided by it; an empty string where it is not."""
    operand = reading.division.operand if reading.division is not None else None
    total, batches = reading.weights.get(1), reading.visits
    if not isinstance(operand, ir.Name) or not total or batches < _ENOUGH_BATCHES:
        return ""
    return operand.id if total / loop.loss_weight(reading.site.node) == Fraction(batches, batches - 1) else ""


RULE = Rule(
    code="LL205",
    name="sample-count-mismatch",
    summary="a sum of losses is divided by a count of something else than what was summed",
    law=Law.REPORT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_SHARE,
)
