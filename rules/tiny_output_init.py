"""The output layer starts with very small weights: at first every prediction is nearly the same number.

A rule of opinion: it is off unless it is selected by its code, its name or `LL8`.

## What it does
Reports weights of a model's last layer that are drawn with a standard deviation of 0.01 or less; where the number of
its inputs is known, with one under which inputs of unit size give outputs of a size below a quarter (PyTorch's own
default gives 0.58).

## Why it matters
Predictions start as the bias, and what the layers below get as gradients is scaled by the small weights too, so both
grow slowly. With a stop that does not wait, a regression ends as a constant. The evidence is one post-mortem, in which
0.1 was still too small for a narrow layer; small output weights are also the right start of several known recipes.

## Bad
```python
from torch import nn


class Regressor(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(256, 1)
        nn.init.normal_(self.head.weight, std=0.01)  # expect: LL811 info
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        return self.head(self.encoder(x))
```

## Good
```python
from torch import nn


class Regressor(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(256, 1)

    def forward(self, x):
        return self.head(self.encoder(x))
```

## When it stays silent
- Weights of exactly zero, as at the end of a residual branch: a scheme of its own.
- The bias is set to a number as well: the prior of a focal loss.
- `orthogonal_` with a small gain, as policies have it, and anything that is applied to all layers alike.
- The layer is not the last one of `forward`, or that is not in sight.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import initialisation
from losslint.interpreter.program import Program
from losslint.registry import Draft, Rule

_TINY = 0.01
_SMALL_OUTPUT = 0.25


def examine(program: Program) -> Iterator[Draft]:
    """The last layer's weights are drawn so small that its outputs hardly differ."""
    for one in initialisation.output_inits(program):
        tiny = one.std <= _TINY if one.inputs is None else one.std * one.inputs**0.5 < _SMALL_OUTPUT
        if tiny and one.std > 0:
            yield Draft(
                one.node,
                Severity.INFO,
                f"the output layer `{one.layer}` starts with weights of size {one.std:g}: every prediction is nearly"
                " its bias at first",
                None,
                [],
                "keep the layer's default initialisation, or set the bias to the mean of the targets",
            )


RULE = Rule(
    code="LL811",
    name="tiny-output-init",
    summary="the output layer starts with very small weights (opinion)",
    law=Law.SETUP,
    severity=Severity.INFO,
    examine=examine,
    module=__name__,
)
