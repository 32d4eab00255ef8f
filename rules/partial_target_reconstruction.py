"""A model of sequences is pretrained to reconstruct one fixed frame: the loss never sees the others.

A rule of opinion: it is off unless it is selected by its code, its name or `LL8`.

## What it does
Reports a reconstruction loss whose target is one fixed item of the batch's sequences (`images[:, 0]`), where that is
the only loss of the training.

## Why it matters
Whatever the model makes of the other frames does not count. Copying the one that does is enough, so the layers that
should read the sequence get no reason to; fine-tuning starts from features of a single frame. The evidence is one
post-mortem: where one frame is all there is to predict, the target is right.

## Bad
```python
import torch.nn.functional as F


def pretrain(model, optimizer, loader):
    for images in loader:
        optimizer.zero_grad()
        reconstruction = model(images)
        loss = F.mse_loss(reconstruction, images[:, 0])  # expect: LL815 info
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch.nn.functional as F


def pretrain(model, optimizer, loader):
    for images in loader:
        optimizer.zero_grad()
        reconstruction = model(images)
        loss = F.mse_loss(reconstruction, images)
        loss.backward()
        optimizer.step()
```

## When it stays silent
- The index is drawn or swept: `images[:, t]`.
- Another loss is computed beside it.
- What is indexed does not read like images, frames or video: a column of a table of targets, say.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter.attributes import ONE_FRAME
from losslint.interpreter.ledger import Loop
from losslint.interpreter.values import Tensor
from losslint.registry import Draft, Rule

_RECONSTRUCTION = frozenset(
    {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
)


def check(loop: Loop) -> Iterator[Draft]:
    """The one loss of a training compares with one frame of each sequence."""
    calls = [call for call in loop.base.loss_calls.values() if not call.no_grad]
    if not loop.base.backwards or len(calls) != 1 or calls[0].function not in _RECONSTRUCTION:
        return
    target = calls[0].target
    if isinstance(target, Tensor) and ONE_FRAME in target.traits:
        yield Draft(
            calls[0].node,
            Severity.INFO,
            "the loss sees one fixed frame of each sequence: nothing asks the model to read the others",
            None,
            [],
            "reconstruct every frame, or draw the index anew for each batch",
        )


RULE = Rule(
    code="LL815",
    name="partial-target-reconstruction",
    summary="a pretraining loss sees only one fixed frame of each sequence (opinion)",
    law=Law.SETUP,
    severity=Severity.INFO,
    check=check,
    module=__name__,
)
