"""Cross-entropy or a softmax over a single score: the loss is exactly 0, and so is its gradient.

## What it does
Reports cross-entropy on a model whose last layer gives one score, and any loss on a softmax (or log-softmax) over one
score.

## Why it matters
The softmax of one number is 1, whatever the number is. Cross-entropy is then `-log(1) = 0` for every sample, its
gradient is 0, and nothing is learnt. The run looks perfect: the loss reads 0.0000 from the first step on.

## Bad
```python
import torch
from torch import nn


def train(loader):
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)  # expect: LL605 error
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
from torch import nn


def train(loader):
    model = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs).squeeze(1), targets.float())
        loss.backward()
        optimizer.step()
```

## When it stays silent
- More than one score, or a number of them that is configured out of sight.
- Dense predictions, whose classes lie in another dimension.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Factor, Law, Severity
from losslint.interpreter import laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule

_OVER_CLASSES = ("cross_entropy", "nll_loss", "kl_div", "mse_loss", "binary_cross_entropy")


def check(loop: Loop) -> Iterator[Draft]:
    """The softmax of a loss, or the one before it, is over one score."""
    found = [one for one in laws.predictions(loop, "cross_entropy", "linear") if one[1].features == 1]
    for function in _OVER_CLASSES:
        softmaxes = laws.predictions(loop, function, "softmax", "log_softmax")
        found += [one for one in softmaxes if one[1].features == 1 and one[1].dimension in (None, 1, -1)]
    for call, output in found:
        yield Draft(
            call.node,
            Severity.ERROR,
            f"the softmax of a single score is always 1{laws.made_in(output)}: the loss does not depend on the model",
            Factor("× 0", 0.0),
            [Mark(output.node, "one score", ""), Mark(call.node, "softmax of one score is 1", "")],
            "use `BCEWithLogitsLoss`, or give the last layer a score for each class",
        )


RULE = Rule(
    code="LL605",
    name="single-class-softmax",
    summary="cross-entropy or a softmax over a single score: the loss and its gradient are 0",
    law=Law.CONTRACT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
