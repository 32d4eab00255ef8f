"""The loss divided by the accumulation window is reported as if it were the loss.

## What it does
Follows the loss that was divided by the window `k` for `backward` into the figures that are reported: summed and
averaged over micro-batches, fed to a meter, collected in a list, logged on the spot, or returned by a helper whose
caller averages it.

- **error**: the figure resolves and has unit 1/k;
- **warning**: the divided loss is summed and no divisor is found in the project, or it goes to a meter that is not
  part of it.

## Why it matters
The report reads the true mean ÷ k (÷4 with `accum_steps = 4`). The training loss looks better than it is and lies
below validation from the first epoch, which reads as overfitting; runs with different windows cannot be compared, and
raising the window "improves" the loss. It is the most frequent reporting bug in real training code.

## Bad
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    total_loss = 0.0
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        loss = loss / accum_steps
        loss.backward()
        total_loss += loss.item()  # expect: LL202 error
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
    return total_loss / len(loader)
```

Logged on the spot:

```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, optimizer, writer, accum_steps=4):
    model.train()
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets) / accum_steps
        loss.backward()
        writer.add_scalar("train/loss", loss.item(), i)  # expect: LL202 error
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    total_loss = 0.0
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        (loss / accum_steps).backward()
        total_loss += loss.item()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
    return total_loss / len(loader)
```

```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    total_loss, updates = 0.0, 0
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets) / accum_steps
        loss.backward()
        total_loss += loss.item()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
            updates += 1
    return total_loss / updates
```

## When it stays silent
- Divided by optimizer steps: `k` losses of unit 1/k per step counted are the mean, whatever the counter is called.
- Multiplied back: `loss.item() * accum_steps` has unit 1 again.
- The sum over one window, logged at the step and then reset: `k` times 1/k is that window's mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, laws, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.reading import Reading
from losslint.interpreter.values import Step
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Remedy, multiplied
from losslint.units import Unit


def check(loop: Loop) -> Iterator[Draft]:
    """The loss that was divided for backward is reported as if it were the loss."""
    if loop.window is None:
        return
    for reading in loop.readings:
        unit = reading.unit
        if unit is None or not laws.window_divisions(reading.steps) or reading.site.node not in loop.trained:
            continue
        if unit.batch == 1 and loop.is_summed(reading.site):
            # the loss itself is a sum over its batch
            unit = replace(unit, batch=0)
        if unit == laws.OVER_WINDOW:
            # how a meter averages that is not in sight is not known
            certain = explain.is_certain([reading.site]) and reading.figure.sink != "meter"
            yield _draft(loop, reading, unit, explain.lowered(Severity.ERROR, certain))
        elif unit.window >= 0 or unit.batches != 1 or not reading.division_is_window:
            continue
        elif not loop.divided_elsewhere(reading):
            yield _draft(loop, reading, unit, Severity.WARNING)


def _draft(loop: Loop, reading: Reading, unit: Unit, severity: Severity) -> Draft:
    place = reading.added_at(*laws.window_divisions(reading.steps))
    factor = explain.factor(loop, unit)
    what = "added up over micro-batches" if place is not None else "reported"
    if unit == laws.OVER_WINDOW:
        consequence = f"reported = true mean {factor.text}{explain.in_numbers(loop, unit)}"
    else:
        consequence = f"whatever counts micro-batches is too large a divisor for it ({factor.text})"
    return Draft(
        place or reading.figure.node,
        severity,
        f"the loss that was divided by `{explain.window_name(loop)}` for backward is {what}: {consequence}"
        f"{explain.assumption([reading.site])}",
        factor,
        explain.trail(loop, reading.steps),
        f"report the undivided loss, or multiply by `{explain.window_name(loop)}`",
        remedies=partial(_remedies, loop, reading, place or reading.figure.node),
    )


def _remedies(loop: Loop, reading: Reading, place: ir.Node) -> Iterator[Remedy]:
    divisions = laws.window_divisions(reading.steps)
    window, name = repairs.window(loop), explain.window_name(loop)
    if window is not None:
        names = repairs.assigned(loop, divisions[-1].node)
        spoken = repairs.reported(place, names) or repairs.kept(loop, place, names)
        shown = spoken if len(spoken) == 1 else repairs.added(loop, place)
        if len(shown) == 1:
            yield Remedy(f"report the undivided loss: times `{name}`", (multiplied(shown[0], window),))
    # every figure of the divided loss is wrong alike: the division belongs to backward alone
    undone = repairs.undone(divisions[-1])
    if undone is not None and all(_is_divided(other) for other in loop.readings if _is_made_by(other, divisions[-1])):
        for division in repairs.divide_at_backward(loop, divisions[-1]):
            yield Remedy(f"divide by `{name}` for backward only", (undone, *division))


def _is_made_by(reading: Reading, division: Step) -> bool:
    return any(step.node is division.node for step in reading.steps)


def _is_divided(reading: Reading) -> bool:
    return reading.unit is not None and reading.unit.window == -1


RULE = Rule(
    code="LL202",
    name="scaled-loss-accumulated",
    summary="the loss divided for backward is reported, or averaged over micro-batches, as if it were the loss",
    law=Law.REPORT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_SCALE,
)
