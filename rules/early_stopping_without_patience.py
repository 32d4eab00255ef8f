"""Training stops at the first epoch that is not better, or the best epoch is chosen the wrong way round.

A rule of opinion: it is off unless it is selected by its code, its name or `LL8`.

## What it does
Reports an epoch loop that is left at the first epoch whose figure is worse than the best or the last one, a callback
with `patience=0`, and a comparison that takes the higher loss, or the lower score, for the better one.

## Why it matters
The figure of one epoch is noisy: one worse epoch says nothing about the next. A stop without patience ends many runs
while the output layer is still growing out of its initialisation, with a model that predicts little more than a
constant. The evidence is a rule of thumb and one post-mortem; a wrong direction, though, is a plain mistake.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, optimizer, loader, validate, epochs):
    best_loss = float("inf")
    for epoch in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.mse_loss(model(inputs), targets).backward()
            optimizer.step()
        val_loss = validate(model)
        if val_loss > best_loss:  # expect: LL812 info
            break
        best_loss = val_loss
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, optimizer, loader, validate, epochs, patience=10):
    best_loss, waited = float("inf"), 0
    for epoch in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.mse_loss(model(inputs), targets).backward()
            optimizer.step()
        val_loss = validate(model)
        waited = 0 if val_loss < best_loss else waited + 1
        best_loss = min(best_loss, val_loss)
        if waited > patience:
            break
```

## When it stays silent
- A counter of epochs without improvement stands between the worse epoch and the stop.
- The best epoch is remembered, and the loop goes on.
- Which way is better is not told by the figure's name.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import stopping
from losslint.interpreter.program import Program
from losslint.registry import Draft, Rule


def examine(program: Program) -> Iterator[Draft]:
    """An early stop waits for nothing, or looks the wrong way."""
    for stop in stopping.stops(program):
        if stop.manner == stopping.AT_ONCE:
            yield Draft(
                stop.node,
                Severity.INFO,
                "training stops at the first epoch that is not better: one epoch is noise",
                None,
                [],
                "stop after several epochs without improvement, and keep the best weights",
            )
        elif stop.manner == stopping.WRONG_WAY:
            better = "higher" if stopping.is_score(stop.watched) else "lower"
            yield Draft(
                stop.node,
                Severity.INFO,
                f"`{stop.watched}` is better the {better} it is, and this takes the other way for an improvement",
                None,
                [],
                "turn the comparison round",
            )


RULE = Rule(
    code="LL812",
    name="early-stopping-without-patience",
    summary="training stops at the first worse epoch, or takes a worse one for better (opinion)",
    law=Law.SETUP,
    severity=Severity.INFO,
    examine=examine,
    module=__name__,
)
