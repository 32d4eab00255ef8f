"""Between the model and the loss stands a function without a gradient: the parameters get none.

## What it does
Reports a loss that is backpropagated though everything that the model has to do with it went through `argmax`,
`round`, `one_hot`, a comparison, `.item()`, `.numpy()`, `.data` or `.detach()`.

## Why it matters
The derivative of these functions is zero wherever they have one, or they hand out a plain number. Either `backward`
stops with "does not require grad", and the next edit hides that (see `rewrapped-loss`); or, as with `round`, it runs,
writes zeros into every gradient, and nothing is learnt. A loss needs the scores; the decision that is made of them is
for the metrics.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        predicted = torch.round(torch.sigmoid(model(inputs)))  # expect: LL502 error
        loss = F.binary_cross_entropy(predicted, targets)
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        logits = model(inputs)
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        loss.backward()
        optimizer.step()
        correct = (logits > 0) == targets.bool()
        print(loss.item(), correct.float().mean().item())
```

## When it stays silent
- Straight-through estimators: `x + (x.round() - x).detach()`.
- Targets of a teacher, or of an average of the weights, which are detached by intention.
- Rewards and advantages: the gradient goes through the log-probabilities.
- Metrics: what is not backpropagated.
- Anything that is not in sight enters the loss as well: the gradient may come from there.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import graph, laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A backward gets a loss whose inputs were all cut off from the model."""
    for dead, cut in laws.dead_backwards(loop, lambda cut: cut.kind not in (graph.REWRAPPED, graph.NO_GRAD)):
        if not laws.is_of_losses(dead):
            continue
        yield Draft(
            cut.node,
            Severity.ERROR,
            f"{laws.words_of(cut)} has no gradient: the loss that is backpropagated does not depend on the parameters",
            None,
            [Mark(cut.node, "leaves the graph", ""), Mark(dead.node, "backward reaches no parameter", "")],
            "give the loss what the model puts out, and take the decision only for metrics",
        )


RULE = Rule(
    code="LL502",
    name="non-differentiable-before-loss",
    summary="a function without a gradient stands between the model and the loss that is backpropagated",
    law=Law.GRAPH,
    severity=Severity.ERROR,
    check=check,
    claim=Claim.DEAD_BACKWARD,
    module=__name__,
)
