"""Layers in a plain Python list or dictionary: PyTorch does not know of them, and no optimizer trains them.

## What it does
Reports an attribute of an `nn.Module` that is a list, a tuple or a dictionary of layers with parameters, where nothing
else holds those layers.

## Why it matters
`parameters()` finds what is an attribute itself or stands in a `ModuleList`, a `ModuleDict` or a `Sequential`. Layers
in a plain list are not found: the optimizer never moves them, `to(device)` leaves them behind, `state_dict()` does not
save them. On a CPU nothing fails, and the model trains what it has left on top of random layers.

## Bad
```python
from torch import nn


class Stack(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.layers = [nn.Linear(width, width) for _ in range(depth)]  # expect: LL801 error
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)
```

## Good
```python
from torch import nn


class Stack(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)
```

## When it stays silent
- The layers are handed to `Sequential`, `ModuleList`, `ModuleDict`, `add_module`, or anything else that may hold them.
- They have no parameters: activations, dropout, pooling.
- A list written with one item: the usual way to keep a module out of `parameters()` on purpose.
- The class says by itself what its parameters or children are, or nothing but `__init__` reads the attribute.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import registration
from losslint.interpreter.program import Program
from losslint.registry import Draft, Rule


def examine(program: Program) -> Iterator[Draft]:
    """A model keeps layers where PyTorch does not see them."""
    for hidden in registration.hidden_layers(program):
        container = "ModuleDict" if hidden.kind == "dictionary" else "ModuleList"
        yield Draft(
            hidden.node,
            Severity.ERROR,
            f"the layers in `{hidden.name}` are in a plain {hidden.kind}: they are not among the model's parameters,"
            " and no optimizer trains them",
            None,
            [],
            f"keep them in an `nn.{container}`",
        )


RULE = Rule(
    code="LL801",
    name="unregistered-layers",
    summary="layers in a plain list or dictionary are not among the model's parameters",
    law=Law.SETUP,
    severity=Severity.ERROR,
    examine=examine,
    module=__name__,
)
