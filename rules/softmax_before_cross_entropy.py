"""Cross-entropy applies `log_softmax` itself, and is given probabilities.

## What it does
Reports `cross_entropy` (and `CrossEntropyLoss`) whose input is the result of a softmax: applied in the training loop,
in a helper, as the last layer of an `nn.Sequential`, or at the end of the model's `forward`.

## Why it matters
Softmax of a softmax: the entries lie between 0 and 1, so the second softmax can hardly tell them apart. With `C`
classes the loss cannot fall below `log(1 + (C - 1)/e)` (0.31 for two classes, 1.46 for ten), the gradient is a
fraction of what it should be, and it vanishes where the model is sure and wrong. The model still learns something,
which is why nobody notices: it needs more epochs, a higher learning rate, and ends below what it could reach.

## Bad
```python
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.head = nn.Linear(features, classes)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        return self.softmax(self.head(x))


def train(loader):
    model = Classifier(32, 10)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        loss = criterion(model(inputs), targets)  # expect: LL601 error
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.head = nn.Linear(features, classes)

    def forward(self, x):
        return self.head(x)


def train(loader):
    model = Classifier(32, 10)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for inputs, targets in loader:
        logits = model(inputs)
        loss = criterion(logits, targets)
        accuracy = (logits.softmax(dim=1).argmax(dim=1) == targets).float().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item(), accuracy.item())
```

## When it stays silent
- `log_softmax` into cross-entropy is idempotent: a hint (info), not a bug.
- Softmax for metrics, inside attention, or on the target (soft labels, distillation).
- A `forward` that applies softmax only outside of training, or only in a mode that the call does not choose.
- `log(softmax(x))` into `nll_loss` is the same arithmetic, done by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """The input of cross-entropy came out of a softmax, or of a log-softmax."""
    for call, output in laws.predictions(loop, "cross_entropy", "softmax"):
        yield Draft(
            call.node,
            Severity.ERROR,
            f"cross-entropy is given probabilities: softmax is applied{laws.made_in(output)}, and once more in the"
            " loss",
            None,
            [Mark(output.node, "softmax", "probabilities"), Mark(call.node, "softmax once more", "")],
            "give it the raw scores, and apply softmax only where probabilities are read",
        )
    for call, output in laws.predictions(loop, "cross_entropy", "log_softmax"):
        yield Draft(
            call.node,
            Severity.INFO,
            f"cross-entropy is given log-probabilities{laws.made_in(output)}: right, as `log_softmax` twice is once",
            None,
            [Mark(output.node, "log_softmax", "log-probabilities")],
            "`nll_loss` says the same with one `log_softmax`",
        )


RULE = Rule(
    code="LL601",
    name="softmax-before-cross-entropy",
    summary="the output of a softmax is given to cross-entropy, which applies softmax itself",
    law=Law.CONTRACT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
