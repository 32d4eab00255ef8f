"""Token means of micro-batches with uneven token counts are averaged as if the counts were equal.

## What it does
Reports a loss that is a mean over the valid tokens of one micro-batch (`ignore_index`, a padding mask, class weights)
and is then divided by the window `k`: the mean of means is not the mean over the window's tokens.

## Why it matters
A micro-batch of 40 valid tokens weighs as much as one of 4,000, so each of its tokens counts a hundred times more. The
result depends on how samples are packed into micro-batches, and an accumulated run ends with another loss than the
same run on one large batch (the gap that made Hugging Face hand `num_items_in_batch` to the loss). Short sequences get
too much weight, and the logged curve has the same bias, so nothing looks wrong.

## Bad
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss(ignore_index=-100)


def train_epoch(model, loader, accum_steps=4):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    model.train()
    for i, (tokens, labels) in enumerate(loader):
        logits = model(tokens)
        loss = criterion(logits.view(-1, logits.size(-1)), labels.view(-1)) / accum_steps
        loss.backward()  # expect: LL110 warning
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
```

## Good
```python
import torch
from torch import nn

criterion = nn.CrossEntropyLoss(ignore_index=-100, reduction="sum")


def train_windows(model, windows):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    model.train()
    for window in windows:
        n_tokens = sum((labels != -100).sum() for _, labels in window)
        for tokens, labels in window:
            logits = model(tokens)
            loss = criterion(logits.view(-1, logits.size(-1)), labels.view(-1)) / n_tokens
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
```

## When it stays silent
- The counts are constant: every position counts, so the mean of means is the mean.
- A sum reduction divided by the token total of the window: each token has the same weight.
- `num_items_in_batch` is the divisor: it is that total.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.claims import Claim
from losslint.findings import Factor, Law, Severity
from losslint.interpreter import explain, laws
from losslint.interpreter.ledger import Loop
from losslint.registry import Draft, Rule

_UNEVEN = frozenset({"ignore_index", "class weights", "masked quotient"})


def check(loop: Loop) -> Iterator[Draft]:
    """A mean over the tokens that count is averaged over micro-batches that hold different numbers of them."""
    if loop.window is None or not loop.gradients_known or loop.gradient_exponent != 0:
        return
    seen = set()
    for backward in loop.high.backwards:
        if backward.node in seen:
            continue
        seen.add(backward.node)
        for site in laws.sites_of(backward):
            uneven = site.traits & _UNEVEN
            if site.reduction in ("mean", "none") and uneven:
                window = explain.window_name(loop)
                yield Draft(
                    backward.node,
                    Severity.WARNING,
                    f"each micro-batch is a mean over its own targets ({', '.join(sorted(uneven))}), and the means are"
                    f" averaged over `{window}` micro-batches: targets in short micro-batches weigh more",
                    Factor("mean of means ≠ mean", None),
                    explain.trail(loop, backward.steps),
                    "sum the losses of the window and divide by the number of targets in the whole window",
                )
                break


RULE = Rule(
    code="LL110",
    name="token-mean-of-means",
    summary="means over uneven numbers of targets are averaged over the accumulation window",
    law=Law.GRADIENT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
    claim=Claim.ITEM_RATIO,
)
