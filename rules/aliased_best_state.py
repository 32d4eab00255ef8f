"""The best weights are kept as `model.state_dict()`: training goes on to change them.

## What it does
Reports a `state_dict()` (also `.copy()`, `dict(…)`, `copy.copy(…)`) that is kept under a name while the model trains
on, and is loaded, saved or returned afterwards: the best epoch of a loop, the best weights of an early stopping, the
first weights to which every fold is to be reset.

## Why it matters
`state_dict()` is a dictionary of the parameters themselves, no copy of them. The optimizer changes them in place, so
that at the end `best_state` is the last epoch, whatever epoch was the best one. Nothing fails: the figure that is
reported belongs to the best epoch, the model that is saved to the last. A shallow copy copies the dictionary only.

## Bad
```python
import torch
import torch.nn.functional as F


def fit(model, train_loader, evaluate, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    best, best_state = float("inf"), None
    for epoch in range(epochs):
        model.train()
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        score = evaluate(model)
        if score < best:
            best = score
            best_state = model.state_dict()  # expect: LL703 error
    model.load_state_dict(best_state)
    return model
```

## Good
```python
import copy

import torch
import torch.nn.functional as F


def fit(model, train_loader, evaluate, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    best, best_state = float("inf"), None
    for epoch in range(epochs):
        model.train()
        for inputs, targets in train_loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        score = evaluate(model)
        if score < best:
            best = score
            best_state = copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    return model
```

## When it stays silent
- A deep copy, or a copy of every tensor: `{k: v.clone() for k, v in model.state_dict().items()}`.
- Saved at once: a file is a copy.
- Kept on every iteration: it is the last state that is wanted.
- The loop ends where the weights are kept.
- Another model is trained than the one whose weights are kept, or a new one is made for every fold.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import snapshots
from losslint.interpreter.program import Program
from losslint.registry import Draft, Mark, Rule


def examine(program: Program) -> Iterator[Draft]:
    """A name for the weights of a model is used after they were trained further."""
    for kept in snapshots.aliased(program):
        yield Draft(
            kept.node.value,
            Severity.ERROR,
            f"`{kept.name}` holds the weights of `{kept.model}` themselves: training goes on to change them",
            None,
            [
                Mark(kept.node, f"the same tensors as in `{kept.model}`", ""),
                Mark(kept.used, "used after training has changed them", ""),
            ],
            "keep a copy: `copy.deepcopy(model.state_dict())`",
        )


RULE = Rule(
    code="LL703",
    name="aliased-best-state",
    summary="the best weights are kept as a `state_dict()` that training goes on to change",
    law=Law.MODE,
    severity=Severity.ERROR,
    examine=examine,
    module=__name__,
)
