"""A term of the loss is a plain number: it is added, and nothing is learnt from it.

## What it does
Reports `a + b.item()` and `a + b.detach()` (also `float(b)`, `.data`, `.numpy()`), both losses of the same batch, where
the sum is backpropagated.

## Why it matters
The reported loss holds both terms, the gradient only one. The regulariser, the auxiliary head or the second task looks
as if it were trained, and its value drifts with what the other term does to the shared layers. The call usually came
along from the line that prints the terms.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, loader, weight):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for inputs, targets, rotations in loader:
        optimizer.zero_grad()
        scores, turns = model(inputs)
        main = F.cross_entropy(scores, targets)
        auxiliary = F.cross_entropy(turns, rotations)
        loss = main + weight * auxiliary.item()  # expect: LL503 warning
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, loader, weight):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for inputs, targets, rotations in loader:
        optimizer.zero_grad()
        scores, turns = model(inputs)
        main = F.cross_entropy(scores, targets)
        auxiliary = F.cross_entropy(turns, rotations)
        loss = main + weight * auxiliary
        loss.backward()
        optimizer.step()
        print(main.item(), auxiliary.item())
```

## When it stays silent
- Weights with a stopped gradient: `a + (a / b).detach() * b`.
- Advantages and targets: they stand inside a term, not beside it.
- The same loss with and without its graph: `loss - loss.detach() + other`.
- A term that is backpropagated by itself: the sum then only shows both.
- A sum that is only reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Law, Severity
from losslint.interpreter import laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A loss that is backpropagated holds a term that was taken out of the graph."""
    backwards = loop.base.backwards
    for term in loop.base.dead_terms.values():
        holders = [backward for backward in backwards if term.atoms <= backward.weights.keys()]
        if not holders or not term.beside <= holders[0].weights.keys() or term.atoms & term.beside:
            continue
        sites = {site.node for site, _ in term.atoms}
        others = [backward for backward in backwards if backward.node is not holders[0].node]
        if any(site.node in sites for backward in others for site, _ in backward.weights):
            continue
        yield Draft(
            term.cut.node,
            Severity.WARNING,
            f"this term of the loss is a plain number after {laws.words_of(term.cut)}: it adds nothing to the gradient",
            None,
            [
                Mark(term.cut.node, "leaves the graph", ""),
                Mark(term.node, "added to the loss", ""),
                Mark(holders[0].node, "backward", ""),
            ],
            "add the term as it is, and take its number only where it is reported",
        )


RULE = Rule(
    code="LL503",
    name="detached-loss-term",
    summary="a term of the loss is taken out of the graph before it is added",
    law=Law.GRAPH,
    severity=Severity.WARNING,
    check=check,
    claim=Claim.GRADIENT_SHARE,
    module=__name__,
)
