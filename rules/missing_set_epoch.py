"""A `DistributedSampler` that is never told the epoch gives the same order in every epoch.

## What it does
Reports a training loader with a shuffling `DistributedSampler` that is gone through epoch after epoch, where nothing
calls `set_epoch`.

## Why it matters
The sampler shuffles with a generator seeded by `seed + epoch`, so that all processes agree on the order. It does not
count epochs by itself: without `set_epoch` each epoch has the batches of the first one, in the same order. Nothing
fails; the model sees the same neighbours together each time, and generalises a little worse.

## Bad
```python
import torch.nn.functional as F
from torch.utils.data import DataLoader, DistributedSampler


def train(model, optimizer, dataset, epochs):
    sampler = DistributedSampler(dataset)  # expect: LL906 warning
    loader = DataLoader(dataset, batch_size=32, sampler=sampler)
    for epoch in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
```

## Good
```python
import torch.nn.functional as F
from torch.utils.data import DataLoader, DistributedSampler


def train(model, optimizer, dataset, epochs):
    sampler = DistributedSampler(dataset)
    loader = DataLoader(dataset, batch_size=32, sampler=sampler)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for inputs, targets in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
```

## When it stays silent
- `shuffle=False`: there is no order to change. A `shuffle` that is not in sight is not judged.
- A framework walks the loader and tells the sampler itself: accelerate's `prepare`, Fabric's `setup_dataloaders`.
- Only an evaluation goes through the loader.
- The loop over epochs is not in sight: the caller may call `set_epoch`.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter.ledger import Loop
from losslint.interpreter.values import Loader
from losslint.lowering.ir import Node
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A shuffling sampler is gone through in several epochs of a training, and none is told to it."""
    world = loop.base
    if any("set_epoch" in facts.calls for facts in loop.facts):
        return
    walked: dict[str, set[int]] = {}
    for backward in world.backwards:
        visit = world.visits[backward.visit]
        walked.setdefault(visit.loader, set()).add(visit.passage)
    for loader in dict.fromkeys(world.loaders.values()):
        sampler = loader.sampler
        if sampler is None or sampler.data["shuffle"] is not True or len(walked.get(loader.path, ())) < 2:
            continue
        if not loop.visible_epochs:
            continue
        yield Draft(
            sampler.data["node"],
            Severity.WARNING,
            "nothing calls `set_epoch` on this sampler: every epoch has its batches in the same order",
            None,
            [],
            "call `sampler.set_epoch(epoch)` at the start of every epoch",
            related=[Mark(node, "goes through it in every epoch", "") for node in _loops(loop, loader)],
        )


def _loops(loop: Loop, loader: Loader) -> list[Node]:
    nodes = (visit.loop for visit in loop.base.visits if visit.loader == loader.path)
    return [node for node in dict.fromkeys(nodes) if node is not None][:1]


RULE = Rule(
    code="LL906",
    name="missing-set-epoch",
    summary="a `DistributedSampler` is gone through over epochs, and nothing calls `set_epoch`",
    law=Law.SETUP,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
