"""A loss that is defined on probabilities, or on their logarithms, is given raw scores.

## What it does
Reports `BCELoss` on the output of a layer without a sigmoid, and `nll_loss` on raw scores or on probabilities instead
of log-probabilities. The layer is found through the model's `forward`, its `nn.Sequential` and its helpers.

## Why it matters
`BCELoss` takes the logarithm of what it is given: outside of 0 to 1 it stops with an error on the CPU and asserts on
the GPU, or is clamped and gives no gradient. `nll_loss` only picks an entry and changes its sign: on raw scores it is
unbounded below, so the loss falls for ever and the model learns to make one score large; on probabilities it lies
between -1 and 0 and its gradient vanishes for every sample that the model gets wrong.

## Bad
```python
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.scores = nn.Linear(32, 5)

    def forward(self, x):
        return self.scores(F.relu(self.hidden(x)))


def train(loader):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(inputs), targets)  # expect: LL603 error
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.scores = nn.Linear(32, 5)

    def forward(self, x):
        return F.log_softmax(self.scores(F.relu(self.hidden(x))), dim=1)


def train(loader):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.nll_loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
```

## When it stays silent
- The activation is the model's last function, or that of a helper.
- `log(softmax(x))` by hand.
- What the model ends with is not in sight, or depends on a mode.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule

_WRONG = {
    "binary_cross_entropy": {
        "linear": ("raw scores", "use `BCEWithLogitsLoss`, or apply `sigmoid` first"),
        "relu": ("the output of `relu`, which is no probability", "apply `sigmoid` to the raw scores instead"),
        "tanh": ("the output of `tanh`, which lies between -1 and 1", "apply `sigmoid` to the raw scores instead"),
        "log_softmax": ("log-probabilities", "use `nll_loss`, or give it probabilities"),
        "logsigmoid": ("log-probabilities", "use `BCEWithLogitsLoss` on the raw scores"),
    },
    "nll_loss": {
        "linear": ("raw scores", "use `cross_entropy`, or apply `log_softmax` first"),
        "softmax": ("probabilities", "use `cross_entropy` on the raw scores, or `log_softmax` instead of `softmax`"),
        "sigmoid": ("probabilities", "use `log_softmax` on the raw scores"),
        "relu": ("the output of `relu`", "use `cross_entropy` on the raw scores, or apply `log_softmax` first"),
    },
}
_WANTS = {"binary_cross_entropy": "probabilities", "nll_loss": "log-probabilities"}


def check(loop: Loop) -> Iterator[Draft]:
    """The input of the loss came out of something that does not give what the loss is defined on."""
    for function, wrong in _WRONG.items():
        for call, output in laws.predictions(loop, function, *wrong):
            words, advice = wrong[output.function]
            yield Draft(
                call.node,
                Severity.ERROR,
                f"`{function}` is defined on {_WANTS[function]} and is given {words}{laws.made_in(output)}",
                None,
                [Mark(output.node, f"`{output.function}`", words.split(",")[0]), Mark(call.node, "the loss", "")],
                advice,
            )


RULE = Rule(
    code="LL603",
    name="missing-activation-before-loss",
    summary="a loss that is defined on probabilities or their logarithms is given something else",
    law=Law.CONTRACT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
