"""A DeepSpeed engine divides the loss by `gradient_accumulation_steps`, and the loop divides it again.

## What it does
Reports a division of the loss by the window before `engine.backward(loss)`: the engine's `backward` divides by the
`gradient_accumulation_steps` of its configuration by itself.

## Why it matters
The gradient is the mean divided by `k` once more: in effect a learning rate `k` times too small. Nothing fails, and a
loop that was written for plain PyTorch looks right line by line. The configuration of the engine is a file that the
analysis does not see, so this stays a warning: where the window there is 1, the division by hand is the only one.

## Bad
```python
import deepspeed
import torch.nn.functional as F


def train(args, model, loader):
    engine, optimizer, _, _ = deepspeed.initialize(args=args, model=model, model_parameters=model.parameters())
    for inputs, targets in loader:
        loss = F.cross_entropy(engine(inputs), targets)
        loss = loss / args.gradient_accumulation_steps  # expect: LL902 warning
        engine.backward(loss)
        engine.step()
```

## Good
```python
import deepspeed
import torch.nn.functional as F


def train(args, model, loader):
    engine, optimizer, _, _ = deepspeed.initialize(args=args, model=model, model_parameters=model.parameters())
    for inputs, targets in loader:
        loss = F.cross_entropy(engine(inputs), targets)
        engine.backward(loss)
        engine.step()
```

## When it stays silent
- `engine.backward(loss / k, scale_wrt_gas=False)`: the engine was told to leave the division out.
- Lightning's `Fabric`, also with its DeepSpeed strategy in the user's own loop: `fabric.backward` divides by nothing.
- A division by anything but a window: the number of tasks, of tokens, a loss weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from losslint.claims import Claim
from losslint.contracts.frameworks import DEEPSPEED
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, laws, repairs, windows
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """The loss is divided by a window by hand, and by the engine's `backward` again."""
    for backward in loop.high.backwards:
        if backward.framework != DEEPSPEED.name:
            continue
        found = list(windows.divisions(loop.program, backward, DEEPSPEED.window_argument))
        for division, _ in found[-1:]:
            yield Draft(
                division.node,
                Severity.WARNING,
                f"the loss is divided by `{windows.divisor(division)}` here, and"
                " `engine.backward` divides it by `gradient_accumulation_steps` again",
                Factor(f"÷ {windows.divisor(division)}", None, laws.OVER_WINDOW),
                explain.trail(loop, backward.steps),
                "leave the division to the engine, or pass `scale_wrt_gas=False`",
                related=[Mark(backward.node, "divides by `gradient_accumulation_steps`", "")],
                remedies=partial(repairs.left_to, "the engine", [division]),
            )


RULE = Rule(
    code="LL902",
    name="deepspeed-double-scaling",
    summary="the loss is divided by the window by hand and again by a DeepSpeed engine",
    law=Law.GRADIENT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.GRADIENT_SCALE,
)
