"""`model.parameters()` is kept in a variable and gone through twice: the second time it is empty.

## What it does
Reports a generator of parameters (`parameters()`, `named_parameters()`, `filter(…)` over them) that is bound to a name,
used up by an optimizer, a loop or a clip, and then handed to another of them.

## Why it matters
A generator gives its items once. The optimizer turns it into a list; the `clip_grad_norm_` that comes after it sees no
parameters, clips nothing and returns a norm of 0. The other way round the optimizer is the one that is empty and stops
with an error. A loop that counts parameters, or freezes some, uses the generator up as well.

## Bad
```python
import torch
import torch.nn.functional as F
from torch import nn


def train(model, loader):
    params = model.parameters()
    optimizer = torch.optim.Adam(params, lr=1e-3)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)  # expect: LL405 error
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F
from torch import nn


def train(model, loader):
    params = list(model.parameters())
    optimizer = torch.optim.Adam(params, lr=1e-3)
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
```

## When it stays silent
- `list(model.parameters())` can be gone through as often as one likes.
- `model.parameters()` written anew at each use.
- A function that is not in sight: whether it goes through its argument is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.findings import Law, Severity
from losslint.interpreter import repairs
from losslint.interpreter.arithmetic import path_text
from losslint.interpreter.ledger import Loop
from losslint.interpreter.world import Stream
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule
from losslint.remedies import Remedy, passed_to


def check(loop: Loop) -> Iterator[Draft]:
    """A generator is gone through where it was gone through before: one finding for each generator."""
    places: dict[ir.Expr, list[tuple[ir.Node, Stream]]] = {}
    for place, stream in loop.base.exhausted.items():
        places.setdefault(stream.made, []).append((place, stream))
    for made, ((node, stream), *later) in places.items():
        before = stream.used
        again = before is None or before is node
        yield Draft(
            node,
            Severity.ERROR,
            f"the generator `{path_text(made)}` is used up"
            + (": from the second time on nothing is left of it" if again else ": nothing is left of it here"),
            None,
            [] if before is None or again else [Mark(before, "goes through the generator", "")],
            "keep the parameters in a list: `list(model.parameters())`",
            related=[Mark(place, "nothing is left of it here either", "") for place, _ in later],
            remedies=partial(_remedies, loop, made),
        )


def _remedies(loop: Loop, made: ir.Expr) -> Iterator[Remedy]:
    statement = repairs.statement_of(loop, made)
    if isinstance(statement, ir.Assign):
        yield Remedy("keep the parameters in a list", (passed_to(statement.value, ("list",)),), always_safe=True)


RULE = Rule(
    code="LL405",
    name="exhausted-parameter-generator",
    summary="a generator of parameters is gone through twice: the second time it is empty",
    law=Law.ORDER,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
