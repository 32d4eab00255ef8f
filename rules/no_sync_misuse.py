"""`no_sync` also covers the last micro-batch of a window, or only the backward.

## What it does
Reports an optimizer step whose last backward ran inside `no_sync()`: no process has exchanged its gradients since the
step before. Reports too, for `DistributedDataParallel`, a `no_sync()` around the backward alone.

## Why it matters
Gradients are exchanged during the first backward after `no_sync()`. Without one before the step, every process steps
with its own gradients, the copies of the model drift apart for good, and the checkpoint is the copy of rank 0, trained
on its share of the data. `DistributedDataParallel` decides in the *forward* whether the backward will exchange
gradients: a `no_sync()` around the backward alone saves nothing.

## Bad
```python
import torch
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel


def train(model, loader, window=4):
    model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step, (inputs, targets) in enumerate(loader):
        with model.no_sync():  # expect: LL905 warning
            loss = F.cross_entropy(model(inputs), targets) / window
            loss.backward()
        if (step + 1) % window == 0 or step + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import contextlib

import torch
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel


def train(model, loader, window=4):
    model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step, (inputs, targets) in enumerate(loader):
        steps = (step + 1) % window == 0 or step + 1 == len(loader)
        with contextlib.nullcontext() if steps else model.no_sync():
            loss = F.cross_entropy(model(inputs), targets) / window
            loss.backward()
        if steps:
            optimizer.step()
            optimizer.zero_grad()
```

## When it stays silent
- Forward and backward are inside, and the last micro-batch of the window is outside.
- The gradients are exchanged by hand: the file calls `all_reduce` itself.
- Whether `no_sync` is used hangs on a condition that the analysis cannot follow from step to step.
- `FullyShardedDataParallel`, whose `no_sync` is looked at in the backward: around the backward alone it is enough.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import explain
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule

_BY_HAND = frozenset({"all_reduce", "all_reduce_coalesced", "reduce_scatter", "average_gradients", "reduce_gradients"})
_DDP = frozenset({"DistributedDataParallel", "DDP"})
_FSDP = frozenset({"FullyShardedDataParallel", "FSDP", "fully_shard"})


def check(loop: Loop) -> Iterator[Draft]:
    """A step without an exchange of gradients since the one before, or a block that saves none."""
    calls = loop.program.module.facts.calls
    if not loop.high.without_sync or not calls.isdisjoint(_BY_HAND) or loop.high.varying:
        return
    found = _unsynced_step(loop)
    if found is not None:
        yield found
    elif not calls.isdisjoint(_DDP) and calls.isdisjoint(_FSDP):
        yield from _backward_only(loop)


def _unsynced_step(loop: Loop) -> Draft | None:
    for step in loop.steady(loop.high):
        last = max(contribution.backward for contribution in step.fresh)
        block = loop.high.without_sync.get(last)
        if block is not None:
            return Draft(
                block,
                Severity.WARNING,
                "the last backward before the optimizer step is inside `no_sync` too: every process steps with its own"
                " gradients, and the copies of the model drift apart",
                None,
                explain.trail(loop, loop.high.backwards[last].steps),
                "leave `no_sync` out for the micro-batch that completes the window",
                related=[Mark(step.node, "steps with gradients that were not exchanged", "")],
            )
    return None


def _backward_only(loop: Loop) -> Iterator[Draft]:
    world = loop.high
    for index, block in world.without_sync.items():
        backward = world.backwards[index]
        if backward.weights and backward.weights.keys() <= world.with_sync:
            yield Draft(
                block,
                Severity.WARNING,
                "`no_sync` is around the backward alone: the forward outside it has already prepared the exchange of"
                " gradients, and nothing is saved",
                None,
                explain.trail(loop, backward.steps),
                "put the forward inside `no_sync` as well",
                related=[Mark(backward.node, "exchanges gradients all the same", "")],
            )
            return


RULE = Rule(
    code="LL905",
    name="no-sync-misuse",
    summary="`no_sync` covers the last micro-batch of a window too, or only the backward",
    law=Law.CONTRACT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
