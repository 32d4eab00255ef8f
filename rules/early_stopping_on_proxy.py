"""A regression stops early on its loss alone, and nothing watches how far its predictions spread.

A rule of opinion: it is off unless it is selected by its code, its name or `LL8`.

## What it does
Reports early stopping, by hand or by a callback, in a file whose only losses are those of a regression and in which no
measure of spread or correlation appears.

## Why it matters
A model that predicts the mean of the targets for every input has a decent squared error, and one that is hard to leave:
the loss plateaus early. Stopped there, the run looks finished. R², a correlation, or the standard deviation of the
predictions over that of the targets tells such a model from one that has learnt something; the loss does not. The
evidence is one post-mortem. Whether the predictions did collapse only a run can show.

## Bad
```python
import torch.nn.functional as F


def train(model, optimizer, loader, validate, epochs, patience=5):
    best_loss, waited = float("inf"), 0
    for epoch in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.mse_loss(model(inputs), targets).backward()
            optimizer.step()
        val_loss = validate(model)
        waited = 0 if val_loss < best_loss else waited + 1
        best_loss = min(best_loss, val_loss)
        if waited > patience:  # expect: LL813 info
            break
```

## Good
```python
import torch.nn.functional as F
from sklearn.metrics import r2_score


def train(model, optimizer, loader, predict, epochs, patience=5):
    best, waited = float("-inf"), 0
    for epoch in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.mse_loss(model(inputs), targets).backward()
            optimizer.step()
        r2 = r2_score(*predict(model))
        waited = 0 if r2 > best else waited + 1
        best = max(best, r2)
        if waited > patience:
            break
```

## When it stays silent
- R², a correlation, a standard deviation or a variance is computed anywhere in the file.
- The loss is not that of a regression, or is not known.
- What is watched is a score.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import stopping
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Rule

_REGRESSION = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
_SPREAD = re.compile(r"(^|_)(r2|std|var|variance|corr\w*|ccc)(_|$)|r2|pearson|spearman|concordance|explained", re.I)


def check(loop: Loop) -> Iterator[Draft]:
    """A regression trains here, the module stops early, and nothing in it measures spread."""
    functions = {call.function for call in loop.base.loss_calls.values()}
    if not loop.base.backwards or not functions or not functions <= _REGRESSION:
        return
    if any(_SPREAD.search(name) for facts in loop.facts for name in (*facts.calls, *facts.read, *facts.assigned)):
        return
    for stop in stopping.stops(loop.program):
        if stop.manner == stopping.PATIENT and not stopping.is_score(stop.watched):
            yield Draft(
                stop.node,
                Severity.INFO,
                "a regression stops early, and nothing watches the spread of its predictions: a constant has a low loss"
                " too",
                None,
                [],
                "also watch R², or the standard deviation of the predictions over that of the targets",
            )


RULE = Rule(
    code="LL813",
    name="early-stopping-on-proxy",
    summary="a regression stops early on its loss, and no spread of predictions is watched (opinion)",
    law=Law.SETUP,
    severity=Severity.INFO,
    check=check,
    module=__name__,
)
