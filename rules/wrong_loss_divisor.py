"""A mean loss is divided by something other than the window that guards the step.

## What it does
Reports a loss that is already a mean and is then divided by the running index (`i + 1`), a counter inside the window,
the batch size, the number of batches in the epoch, or a window other than the one which guards `optimizer.step()`.

## Why it matters
The gradient no longer is the mean over the window: with `i + 1` the batches at the start of the epoch count most and
those at the end next to nothing; with the batch size or `len(loader)` the step shrinks with the data set, so the
learning rate that worked on a subset is hundreds of times too small on all of it.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        loss = loss / (i + 1)  # expect: LL104 warning
        loss.backward()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        loss = criterion(model(inputs), targets)
        loss = loss / accum_steps
        loss.backward()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- A sum reduction divided by the number of samples: that is what makes it a mean.
- A window that is the whole epoch: there `len(loader)` is the number of micro-batches per step.
- The true length of the window, also where the last one is shorter.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import defaults, explain, laws, repairs, roles
from losslint.interpreter.ledger import Loop
from losslint.interpreter.program import path_of
from losslint.interpreter.values import BATCH, BATCHES, COUNT, SAMPLES, Step
from losslint.interpreter.world import Backward
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Binding, Remedy, Replace
from losslint.units import Unit

_WRONG = (Unit(batch=-1), Unit(batches=-1), Unit(batch=-1, batches=-1))


def check(loop: Loop) -> Iterator[Draft]:
    """A mean loss is divided by something that is not the window on its way to backward."""
    if not loop.gradients_known:
        return
    backward = loop.base.backwards[-1]
    if any(site.reduction != "mean" or site.evidence < 3 for site in laws.sites_of(backward)):
        return
    if _by_position(loop):
        for other in loop.high.backwards:
            division = _division(other)
            if division is not None:
                yield _draft(loop, other, division, "1, 1/2, 1/3, … from batch to batch", None)
                return
    division = _division(backward)
    if division is None:
        return
    unit = laws.mean_weight(loop)
    if unit is None or unit.other:
        if loop.window is not None and loop.gradient_exponent == 1 and _other_window(loop, division):
            yield _draft(loop, backward, division, "not 1", None)
        return
    if unit in _WRONG:
        division = next(
            (s for s in reversed(backward.steps) if s.verb == "/" and s.kinds & (BATCH | BATCHES | SAMPLES)), division
        )
        factor = explain.factor(loop, unit)
        yield _draft(loop, backward, division, factor.text, factor)


def _division(backward: Backward) -> Step | None:
    return next((step for step in reversed(backward.steps) if step.verb == "/"), None)


def _by_position(loop: Loop) -> bool:
    """Whether the weight falls with the place of the batch in its pass or window: 1, 1/2, 1/3, …"""
    for world in (loop.base, loop.high):
        for pairs in loop.backward_weights(world).values():
            first = [Fraction(weight) for b, weight in pairs if world.visits[b.visit].passage == 1][:3]
            if len(first) == 3 and first[0] and all(w * (place + 1) == first[0] for place, w in enumerate(first)):
                return True
    return False


def _other_window(loop: Loop, division: Step) -> bool:
    """Whether the divisor is a number of its own that is known to differ from the window's."""
    assert loop.window is not None
    mine = defaults.known_number(loop.program, loop.window.key)
    if not isinstance(division.operand, (ir.Name, ir.Attr)) or mine is None:
        return False
    if not roles.is_window(path_of(division.operand)):
        return False
    other = defaults.number_of(loop.program, division.operand)
    return other is not None and other != mine.value


def _draft(loop: Loop, backward: Backward, division: Step, words: str, factor: Factor | None) -> Draft:
    operand = explain.text(division.operand) if division.operand is not None else "a counter"
    right = f"`{explain.window_name(loop)}`" if loop.window is not None else "nothing"
    kind = "a running counter" if division.kinds & COUNT and not division.kinds & (BATCH | BATCHES) else ""
    what = kind or explain.kinds_text(division.kinds)
    return Draft(
        division.node,
        Severity.WARNING,
        f"a mean loss is divided by `{operand}` ({what}) before backward: its weight in the gradient is {words}",
        factor,
        explain.trail(loop, backward.steps),
        f"a mean loss is divided by {right}: the criterion has already divided by the batch",
        remedies=partial(_remedies, loop, division),
    )


def _remedies(loop: Loop, division: Step) -> Iterator[Remedy]:
    window, undone = repairs.window(loop), repairs.undone(division)
    if window is not None and division.operand is not None:
        title = f"divide by `{explain.window_name(loop)}`"
        yield Remedy(title, (Replace(division.operand, window, Binding.ATOM),))
    if loop.window is None and undone is not None:
        yield Remedy("leave the mean loss undivided", (undone,))


RULE = Rule(
    code="LL104",
    name="wrong-loss-divisor",
    summary="a mean loss is divided by something that is not the accumulation window before backward",
    law=Law.GRADIENT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.GRADIENT_SCALE,
)
