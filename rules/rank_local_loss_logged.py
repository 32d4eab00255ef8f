"""Under data parallelism, rank 0 logs the loss of its own shard as the loss.

## What it does
Notes a log call that only one rank makes and whose loss was never reduced over the processes.

## Why it matters
The figure covers 1/W of the data: its noise is √W times that of the true mean (√8 ≈ 2.8 on one node), and a shard
that is not representative (a sorted set, a missing `set_epoch`) biases it. With a reduction the gradient and the
report agree again. A hazard, so info only.

## Bad
```python
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

criterion = nn.CrossEntropyLoss()


def train(model, loader, optimizer, rank):
    dist.init_process_group("gloo")
    model = DistributedDataParallel(model)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        if rank == 0 and i % 50 == 0:
            print(f"step {i}: loss {loss.item():.4f}")  # expect: LL213 info
```

## Good
```python
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

criterion = nn.CrossEntropyLoss()


def train(model, loader, optimizer, rank):
    dist.init_process_group("gloo")
    model = DistributedDataParallel(model)
    model.train()
    for i, (inputs, targets) in enumerate(loader):
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        if i % 50 == 0:
            reduced = loss.detach().clone()
            dist.all_reduce(reduced)
            reduced /= dist.get_world_size()
            if rank == 0:
                print(f"step {i}: loss {reduced.item():.4f}")
```

## When it stays silent
- The value was reduced over the processes (`all_reduce`, `reduce`, `gather`, a framework's `gather_for_metrics`).
- It is labelled as local (`rank0_loss`, `local loss`): the reader knows what they see.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Rule

_DISTRIBUTED = frozenset(
    "DistributedDataParallel DDP DistributedSampler init_process_group get_rank FullyShardedDataParallel".split()
)
_REDUCED = frozenset("all_reduce reduce all_gather gather gather_for_metrics reduce_mean reduce_tensor".split())


def check(loop: Loop) -> Iterator[Draft]:
    """One process reports the loss of its own share of the data."""
    calls = loop.program.module.facts.calls
    if not calls & _DISTRIBUTED or calls & _REDUCED:
        return
    seen = set()
    for reading in loop.readings:
        figure = reading.figure
        if figure.node in seen or reading.unit is None or "rank" in figure.label.lower():
            continue
        seen.add(figure.node)
        yield Draft(
            figure.node,
            Severity.INFO,
            "each process has its own share of the data: this is the loss of one of them",
            Factor("one of world size shares", None),
            explain.trail(loop, reading.steps),
            "reduce the loss over processes before it is reported, or label it as local",
        )


RULE = Rule(
    code="LL213",
    name="rank-local-loss-logged",
    summary="one process of several reports the loss of its own share of the data",
    law=Law.REPORT,
    severity=Severity.INFO,
    check=check,
    module=__name__,
    claim=Claim.FIGURE_LOCAL,
)
