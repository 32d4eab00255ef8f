"""`kl_div` is given probabilities where it wants logarithms, or averages over the classes too.

## What it does
Reports `kl_div` (and `KLDivLoss`) whose first argument is the result of a softmax or a sigmoid, without a logarithm: an
error. Reports the default `reduction="mean"` on a distribution over dimension 1 as a warning: the divergence is then
divided by the number of classes as well.

## Why it matters
`kl_div(input, target)` computes `target * (log(target) - input)`: `input` has to be a logarithm. With probabilities the
result is no divergence, can be negative, and its gradient pulls all entries in the same direction. With
`reduction="mean"` the sum over the classes is divided by their number: the distillation term is `C` times too small
beside the other terms, and the temperature's `T * T` does not make up for it. `batchmean` is the divergence.

## Bad
```python
import torch
import torch.nn.functional as F


def distill(student, teacher, loader, optimizer, temperature=2.0):
    student.train()
    for inputs, _ in loader:
        with torch.no_grad():
            soft = F.softmax(teacher(inputs) / temperature, dim=1)
        probabilities = F.softmax(student(inputs) / temperature, dim=1)
        loss = F.kl_div(probabilities, soft, reduction="batchmean")  # expect: LL604 error
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
```

The divergence divided by the number of classes:

```python
import torch
from torch import nn
import torch.nn.functional as F

divergence = nn.KLDivLoss()


def distill(student, teacher, loader, optimizer):
    student.train()
    for inputs, _ in loader:
        with torch.no_grad():
            soft = F.softmax(teacher(inputs), dim=1)
        loss = divergence(F.log_softmax(student(inputs), dim=1), soft)  # expect: LL604 warning
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F


def distill(student, teacher, loader, optimizer, temperature=2.0):
    student.train()
    for inputs, _ in loader:
        with torch.no_grad():
            soft = F.softmax(teacher(inputs) / temperature, dim=1)
        logs = F.log_softmax(student(inputs) / temperature, dim=1)
        loss = F.kl_div(logs, soft, reduction="batchmean") * temperature**2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
```

## When it stays silent
- `log_target=True`: both arguments are logarithms.
- `reduction="mean"` that is written down: it was chosen.
- A mean over the tokens of a sequence, where the distribution lies over the last dimension.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Factor, Law, Severity
from losslint.interpreter import laws
from losslint.interpreter.ledger import Loop
from losslint.interpreter.world import LossCall
from losslint.registry import Draft, Mark, Rule

_CHOICES = {"reduction", "size_average", "reduce", "**"}


def check(loop: Loop) -> Iterator[Draft]:
    """The first argument is no logarithm, or the divergence is averaged over the classes."""
    for call, output in laws.predictions(loop, "kl_div", "softmax", "sigmoid"):
        yield Draft(
            call.node,
            Severity.ERROR,
            f"`kl_div` wants the logarithm of the prediction and is given probabilities{laws.made_in(output)}",
            None,
            [Mark(output.node, f"`{output.function}`", "probabilities"), Mark(call.node, "taken for logarithms", "")],
            "give it `log_softmax` of the scores",
        )
    for call, output in laws.predictions(loop, "kl_div", "log_softmax"):
        if not _CHOICES & call.options.keys() and len(call.arguments) == 2 and _over_classes(call):
            yield Draft(
                call.node,
                Severity.WARNING,
                "the divergence is averaged over the classes too: `mean` is the divergence ÷ number of classes",
                Factor("÷ number of classes", None),
                [Mark(output.node, "`log_softmax` over the classes", "log-probabilities"), Mark(call.node, "mean", "")],
                'use `reduction="batchmean"`',
            )


def _over_classes(call: LossCall) -> bool:
    """Whether the distribution lies over dimension 1, so that what is left is the batch."""
    output = call.prediction.output
    return output is not None and output.dimension == 1


RULE = Rule(
    code="LL604",
    name="kl-div-misuse",
    summary="`kl_div` is given probabilities instead of logarithms, or averages over the classes too",
    law=Law.CONTRACT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
