"""A running total keeps the autograd graph of every batch alive.

## What it does
Reports `total += loss`, `losses.append(loss)` or a meter that adds the tensor itself, where `loss` still carries its
graph and the total is only ever reported.

## Why it matters
The total holds a `grad_fn` that reaches into every batch so far. Host and GPU memory grow with each iteration until
the run dies with an out-of-memory error hours into an epoch, with a model that fits easily. The reported figure
itself is right.

## Bad
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    model.train()
    total_loss = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total_loss += loss  # expect: LL210 warning
    return float(total_loss) / len(loader)
```

## Good
```python
from torch import nn

criterion = nn.CrossEntropyLoss()


def train_epoch(model, loader, optimizer):
    model.train()
    total_loss = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total_loss += loss.detach()
    return float(total_loss) / len(loader)
```

## When it stays silent
- Summed and then backpropagated: the graph is what the sum is for.
- Under `no_grad` or `inference_mode`: there is no graph.
- Already a float or detached, also when that happened in another function.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, repairs
from losslint.interpreter.ledger import Loop
from losslint.interpreter.program import path_of
from losslint.interpreter.values import GRAPH
from losslint.interpreter.world import Retained
from losslint.registry import Draft, Rule
from losslint.remedies import Remedy, method_called


def check(loop: Loop) -> Iterator[Draft]:
    """A sum of losses that are still in the graph, and is not backpropagated itself."""
    world = loop.base
    # sums that are backpropagated as a whole, and losses that are kept until their own backward comes
    used = [frozenset(backward.weights) for backward in world.backwards if len({v for _, v in backward.weights}) > 1]
    late = {atom for backward in world.backwards for atom in backward.weights if atom[1] != backward.visit}
    seen = set()
    for retained in world.retained:
        if retained.node in seen or not any(site.evidence for site, _ in retained.atoms):
            continue
        if any(len(retained.atoms & atoms) > 1 for atoms in [*used, late]) or loop.emptied_in_loop(retained):
            continue
        if not any(site.node in loop.trained for site, _ in retained.atoms) and not loop.keeps_graph(retained):
            continue
        seen.add(retained.node)
        yield Draft(
            retained.node,
            Severity.WARNING,
            f"`{retained.name}` keeps the graph of every batch alive: memory grows with each batch",
            Factor("memory × batches", None),
            explain.trail(loop, loop.steps_of(retained)),
            "add up `loss.item()` or `loss.detach()`",
            remedies=partial(_remedies, loop, retained),
        )


def _remedies(loop: Loop, retained: Retained) -> Iterator[Remedy]:
    added = repairs.added(loop, retained.node)
    # who is given the sum may backpropagate it
    out = [f for f in loop.base.figures if f.sink == "return" and f.state == GRAPH]
    returned = any(not retained.atoms.isdisjoint(figure.weights) for figure in out)
    plain = repairs.is_plain_number(loop, retained.node, retained.name)
    for expression in added:
        # what starts as a number has no graph to leave where nothing was added to it
        sure = not returned and not any(repairs.starts(loop, path_of(expression)))
        for name in ("item", "detach") if plain else ("detach",):
            action = method_called(expression, name)
            yield Remedy(f"add up without the graph: `.{name}()`", (action,), always_safe=sure)


RULE = Rule(
    code="LL210",
    name="graph-retained-by-accumulator",
    summary="an accumulator of losses keeps every batch's graph alive",
    law=Law.REPORT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.GRAPHS_ALIVE,
)
