"""`BCEWithLogitsLoss` applies the sigmoid itself, and is given probabilities.

## What it does
Reports `binary_cross_entropy_with_logits` (and `BCEWithLogitsLoss`) whose input is the result of a sigmoid: applied in
the training loop, in a helper, as the last layer of an `nn.Sequential`, or at the end of the model's `forward`.

## Why it matters
The second sigmoid sees numbers between 0 and 1 and gives probabilities between 0.5 and 0.73: no negative can ever be
predicted with certainty, the loss of a negative cannot fall below 0.69, and the gradient of a confident mistake
vanishes. The loss goes down a little and stays there.

## Bad
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters())


def train_epoch(loader):
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs).squeeze(1), targets)  # expect: LL602 error
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
from torch import nn

model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters())


def train_epoch(loader):
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        logits = model(inputs).squeeze(1)
        loss = criterion(logits, targets)
        loss.backward()
        optimizer.step()
        predicted = torch.sigmoid(logits) > 0.5
        print(loss.item(), (predicted == targets.bool()).float().mean().item())
```

## When it stays silent
- A loss that takes the value before the sigmoid: the sigmoid is for the metrics.
- `BCELoss` after a sigmoid, which is its contract.
- A `forward` that applies the sigmoid only outside of training.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """The input of the loss with logits came out of a sigmoid."""
    for call, output in laws.predictions(loop, "binary_cross_entropy_with_logits", "sigmoid"):
        yield Draft(
            call.node,
            Severity.ERROR,
            f"the loss with logits is given probabilities: sigmoid is applied{laws.made_in(output)}, and once more in"
            " the loss",
            None,
            [Mark(output.node, "sigmoid", "probabilities"), Mark(call.node, "sigmoid once more", "")],
            "give it the raw scores, or use `BCELoss` on the probabilities",
        )


RULE = Rule(
    code="LL602",
    name="sigmoid-before-bce-with-logits",
    summary="the output of a sigmoid is given to a loss that applies the sigmoid itself",
    law=Law.CONTRACT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
