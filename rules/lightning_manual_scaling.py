"""A LightningModule divides a loss that Lightning divides by itself, or leaves out a division that it does not do.

## What it does
Reports two ways of getting wrong who divides. Under automatic optimisation, `training_step` returns a loss that it has
divided by the window. Under manual optimisation, `manual_backward` gets an undivided loss on every batch and the
optimizer steps once a window.

## Why it matters
With automatic optimisation Lightning divides what `training_step` returns by `accumulate_grad_batches`; divided by hand
as well, the gradient is `k` times too small. With manual optimisation it divides by nothing: the gradient is the sum
of the window, `k` times the mean. Both act like another learning rate, and neither fails.

## Bad
```python
import lightning as L
import torch.nn.functional as F


class Classifier(L.LightningModule):
    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        loss = F.cross_entropy(self.net(inputs), targets)
        return loss / self.trainer.accumulate_grad_batches  # expect: LL903 error
```

```python
import lightning as L
import torch.nn.functional as F


class Classifier(L.LightningModule):
    def __init__(self, net, window=4):
        super().__init__()
        self.automatic_optimization = False
        self.net = net
        self.window = window

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        optimizer = self.optimizers()
        loss = F.cross_entropy(self.net(inputs), targets)
        self.manual_backward(loss)  # expect: LL903 error
        if (batch_idx + 1) % self.window == 0 or self.trainer.is_last_batch:
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import lightning as L
import torch.nn.functional as F


class Classifier(L.LightningModule):
    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return F.cross_entropy(self.net(inputs), targets)
```

## When it stays silent
- The converse: an undivided loss that automatic optimisation gets, a divided one that `manual_backward` gets.
- A division by anything but a window. A divisor that only reads like one is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.contracts.frameworks import LIGHTNING, LIGHTNING_MANUAL
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import drafts, explain, laws, repairs, windows
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """Lightning and the module divide both, or neither does."""
    yield from _divided_twice(loop)
    yield from _undivided(loop)


def _divided_twice(loop: Loop) -> Iterator[Draft]:
    if any(name in loop.program.module.facts.calls for name in LIGHTNING_MANUAL.backward):
        return
    for backward in loop.high.backwards:
        if backward.framework != LIGHTNING.name:
            continue
        found = list(windows.divisions(loop.program, backward, LIGHTNING.window_argument))
        for division, certain in found[-1:]:
            yield Draft(
                division.node,
                explain.lowered(Severity.ERROR, certain),
                f"the loss is divided by `{windows.divisor(division)}` here, and Lightning divides what"
                " `training_step` returns by `accumulate_grad_batches` again",
                Factor(f"÷ {windows.divisor(division)}", None, laws.OVER_WINDOW),
                explain.trail(loop, backward.steps),
                "return the undivided loss",
                remedies=partial(repairs.left_to, "Lightning", [division]),
            )


def _undivided(loop: Loop) -> Iterator[Draft]:
    for backward in laws.undivided(loop):
        if windows.is_manual(backward):
            window = explain.window_name(loop)
            yield drafts.undivided(
                loop,
                backward,
                f"`manual_backward` divides by nothing, and `{window}` batches reach each step:",
                f"divide the loss: `self.manual_backward(loss / {window})`",
                remedies=partial(repairs.divided_by_window, loop),
            )


RULE = Rule(
    code="LL903",
    name="lightning-manual-scaling",
    summary="a loss divided by hand that Lightning divides, or left undivided where it does not",
    law=Law.GRADIENT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
    claim=Claim.GRADIENT_SCALE,
)
