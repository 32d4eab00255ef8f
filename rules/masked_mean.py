"""A masked loss is averaged over all positions, the masked ones included.

## What it does
Reports `(per_token * mask).mean()`: the mask zeroes the padded positions, but the mean still divides by their number.

## Why it matters
The loss is the true mean times the share of valid positions. A batch padded to twice its length reports half the loss
and gives half the gradient, so the learning rate follows the padding, and long-tailed length distributions train the
short sequences least. The curve looks better whenever a batch has more padding, and a change of the batch size or of
the bucketing moves it.

## Bad
```python
import torch
import torch.nn.functional as F


def train_epoch(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for tokens, labels, mask in loader:
        logits = model(tokens)
        per_token = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        loss = (per_token * mask).mean()  # expect: LL111 warning
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F


def train_epoch(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for tokens, labels, mask in loader:
        logits = model(tokens)
        per_token = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        loss = (per_token * mask).sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
```

## When it stays silent
- `(per_token * mask).sum() / mask.sum()`: the divisor counts the valid positions.
- `per_token[mask].mean()`: only valid positions are left when the mean is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain
from losslint.interpreter.ledger import Loop
from losslint.interpreter.program import path_of
from losslint.lowering import ir
from losslint.registry import Draft, Rule
from losslint.remedies import Binding, Remedy, Replace

_MASKS = ("mask", "valid", "keep")


def check(loop: Loop) -> Iterator[Draft]:
    """A masked loss is averaged over all entries, the masked ones included."""
    seen = set()
    records = [(one.notes, one.steps) for one in loop.base.backwards] + [
        (one.notes, one.steps) for one in loop.base.figures
    ]
    for notes, steps in records:
        if "masked mean" not in notes:
            continue
        step = next((step for step in reversed(steps) if step.verb == "mean"), None)
        if step is None or step.node in seen:
            continue
        seen.add(step.node)
        yield Draft(
            step.node,
            Severity.WARNING,
            "a masked loss is averaged over all entries: masked ones count as zeros and dilute it",
            Factor("share of entries that count", None),
            explain.trail(loop, steps),
            "divide the sum by the mask's: `(loss * mask).sum() / mask.sum()`",
            remedies=partial(_remedies, step.node),
        )


def _remedies(mean: ir.Node) -> Iterator[Remedy]:
    if not isinstance(mean, ir.Call) or mean.arguments or not isinstance(mean.func, ir.Attr):
        return
    product = mean.func.value
    if mean.func.name != "mean" or not isinstance(product, ir.Binary) or product.op != "*":
        return
    masks = [side for side in (product.left, product.right) if _is_mask(side)]
    if len(masks) == 1:
        text = (product, ".sum() / ", masks[0], ".sum()")
        yield Remedy("divide the sum by the mask's", (Replace(mean, text, Binding.PRODUCT),))


def _is_mask(node: ir.Expr) -> bool:
    name = path_of(node).lower()
    return any(word in name for word in _MASKS)


RULE = Rule(
    code="LL111",
    name="masked-mean",
    summary="a masked loss is averaged over the masked entries too",
    law=Law.GRADIENT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.MASKED_SHARE,
)
