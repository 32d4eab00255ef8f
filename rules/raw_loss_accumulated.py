"""Under gradient accumulation the undivided loss is summed and then divided by something other than micro-batches.

## What it does
A loop with an accumulation window `k` holds two losses: the raw one, which the criterion returned (unit 1), and the
one divided by `k`, which goes to `backward` (unit 1/k). This rule follows the raw loss into the reported figure and
compares how often it was added with what the sum is divided by.

- **error**: the divisor counts optimizer steps, so `k` raw losses are summed for each one counted;
- **warning**: no divisor is found anywhere in the project, or the figure stands beside the same figure built from the
  divided loss;
- **info**: the divisor counts micro-batches. The figure is right; the finding is the proof.

What the counter counts is read from where it is incremented, never from its name.

## Why it matters
The report reads `k` times the true mean (×4 with `accum_steps = 4`), while training itself is untouched. The training
curve runs parallel to the validation curve, `k` times above it, and jumps whenever the window is changed: it looks
like a broken split or heavy regularisation, and people tune against it.

## Bad
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    train_loss, updates = 0.0, 0
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        raw_loss = criterion(model(inputs), targets)
        loss = raw_loss / accum_steps
        loss.backward()
        train_loss += raw_loss.item()  # expect: LL201 error
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
            updates += 1
    return train_loss / updates
```

Nothing in this project divides what the function returns:

```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    train_loss = 0.0
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        raw_loss = criterion(model(inputs), targets)
        (raw_loss / accum_steps).backward()
        train_loss += raw_loss.item()  # expect: LL201 warning
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
    return train_loss
```

## Good
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer, accum_steps=4):
    model.train()
    train_loss = 0.0
    optimizer.zero_grad()
    for i, (inputs, targets) in enumerate(loader):
        raw_loss = criterion(model(inputs), targets)
        loss = raw_loss / accum_steps
        loss.backward()
        train_loss += raw_loss.item()  # expect: LL201 info
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
    return train_loss / len(loader)
```

## When it stays silent
- The divisor counts micro-batches (`len(loader)`, a counter that adds 1 per batch, the length of the list, a meter's
  own count): one raw loss per one counted is the mean. This is shown at info only, as the proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import explain, laws, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.reading import Reading
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Remedy, divided
from losslint.units import Unit


def check(loop: Loop) -> Iterator[Draft]:
    """Under accumulation, the undivided loss is added up for the report."""
    if loop.window is None or loop.gradient_exponent != 0:
        return
    for reading in loop.readings:
        added = reading.accumulated
        if reading.unit is None or added is None or reading.site.node not in loop.trained:
            continue
        unit = reading.unit
        if unit.window > 0 and unit == Unit(window=unit.window) and reading.division is not None:
            certain = explain.is_certain([reading.site])
            yield _draft(loop, reading, explain.lowered(Severity.ERROR, certain), _times_window(loop, reading, unit))
        elif laws.window_divisions(reading.steps):
            continue
        elif unit.is_one and reading.division is not None:
            if laws.raw_beside_scaled(reading, loop.readings):
                yield _draft(loop, reading, Severity.WARNING, "stands beside a figure of the divided loss")
            else:
                yield _draft(loop, reading, Severity.INFO, "is divided by the number of micro-batches, which is right")
        elif unit.batches == 1 and reading.division is None and not loop.divided_elsewhere(reading):
            if loop.handed_to_other_files(reading):
                continue
            yield _draft(loop, reading, Severity.WARNING, "is divided by nothing in sight")


def _times_window(loop: Loop, reading: Reading, unit: Unit) -> str:
    """Where the window comes from that the sum is too large by."""
    multiplied = sum(step.verb == "*" for step in laws.window_divisions(reading.steps))
    words = [f"is multiplied by `{explain.window_name(loop)}`"] if multiplied else []
    if unit.window > multiplied:
        words.append("is divided by the number of optimizer steps")
    return " and ".join(words)


def _draft(loop: Loop, reading: Reading, severity: Severity, what: str) -> Draft:
    place = reading.added_at()
    assert place is not None
    assert reading.unit is not None
    right = reading.unit.is_one
    numbers = "" if right else explain.in_numbers(loop, reading.unit)
    factor = explain.factor(loop, reading.unit)
    consequence = "" if right else f": reported = true mean {factor.text}{numbers}"
    return Draft(
        place,
        severity,
        f"the undivided loss of each micro-batch is added up, and the sum {what}{consequence}",
        factor,
        explain.trail(loop, reading.steps),
        "divide the sum by the number of micro-batches, or add up the divided loss and divide by optimizer steps",
        remedies=None if right or reading.unit.window > 1 else partial(_remedies, loop, place),
    )


def _remedies(loop: Loop, place: ir.Node) -> Iterator[Remedy]:
    window = repairs.window(loop)
    if window is None:
        return
    for expression in repairs.added(loop, place):
        yield Remedy(f"add up the loss over `{explain.window_name(loop)}`", (divided(expression, window),))


RULE = Rule(
    code="LL201",
    name="raw-loss-accumulated",
    summary="under accumulation, the undivided loss is added up for the report",
    law=Law.REPORT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_SCALE,
)
