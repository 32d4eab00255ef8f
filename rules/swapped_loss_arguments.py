"""The target is given where the loss function takes the prediction, and the prediction where it takes the target.

## What it does
Reports `cross_entropy`, `nll_loss`, `kl_div` and the binary cross-entropies whose first argument comes straight from
the loader while the second is the output of the model.

## Why it matters
These losses are not symmetric. Cross-entropy takes the second argument as a class or a distribution: swapped, it stops
with an error at best, and with float labels it runs and computes the entropy of something else. Binary cross-entropy
takes the logarithm of its first argument: of the labels it is 0 or minus infinity (clamped to -100), so the loss reads
as a large constant times the error, and its gradient does not depend on how wrong the model is.

## Bad
```python
import torch
from torch import nn


def train(loader):
    model = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(targets.float(), model(inputs))  # expect: LL607 error
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
from torch import nn


def train(loader):
    model = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters())
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets.float())
        loss.backward()
        optimizer.step()
```

## When it stays silent
- Symmetric losses (`MSELoss`, `L1Loss`): the order does not matter.
- Both arguments come from models, as in distillation.
- A loss of the project's own, whose order is its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import laws
from losslint.interpreter.explain import text
from losslint.interpreter.ledger import Loop
from losslint.interpreter.values import Tensor
from losslint.registry import Draft, Mark, Rule

_ORDERED = frozenset(
    {"cross_entropy", "nll_loss", "kl_div", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
)


def check(loop: Loop) -> Iterator[Draft]:
    """The first argument comes from the loader, the second from a model."""
    for call in loop.base.loss_calls.values():
        first, second = call.prediction, call.target
        if call.function not in _ORDERED or not laws.is_data(call) or type(second) is not Tensor:
            continue
        if second.output is None:
            continue
        if not second.output.model and second.output.function != "linear":
            continue
        of_batch = type(first) is Tensor
        place = laws.prediction_place(call)
        yield Draft(
            call.node,
            Severity.ERROR,
            f"`{call.function}` takes the prediction first, and is given `{text(place)}`{' of the batch' * of_batch}",
            None,
            [Mark(place, "from the loader" if of_batch else "the target", ""), Mark(second.node, "from the model", "")],
            "swap the arguments: prediction first, then target",
        )


RULE = Rule(
    code="LL607",
    name="swapped-loss-arguments",
    summary="a loss function gets the target as its prediction, and the prediction as its target",
    law=Law.CONTRACT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
