"""A loss class of one's own with a defect that its arithmetic shows.

## What it does
Reads the `forward` of every `nn.Module` of the file that is named a loss, and reports:

- a result that is out of the graph on every way through it (`return loss.item()`, `.detach()`, a new `torch.tensor`);
- a mean that is multiplied by a weight per sample, and a focal factor that is computed of the mean (`exp(-loss)`): the
  loss has to come with `reduction="none"`;
- class weights (`weight`, `pos_weight`) beside a weight per sample that the targets pick: the classes count twice;
- crossed terms: `y * log(1 - p)` beside `(1 - y) * log(p)`;
- a logarithm of a sigmoid, of a softmax, or of both `p` and `1 - p`, with nothing that keeps it off 0;
- a `reduction` argument that is kept and never read.

## Why it matters
A loss function is the one place where an error has no other symptom than a model that does not learn. A mean times the
weights of the samples is the mean of the weights times the mean of the losses: every class counts the same again. The
focal factor of a mean makes all samples easy as soon as most are. `log(0)` is minus infinity on the first sample that
the model is sure of, and its gradient is NaN from then on.

## Bad
```python
import torch
import torch.nn.functional as F
from torch import nn


class WeightedBCELoss(nn.Module):
    def __init__(self, positive, negative):
        super().__init__()
        self.positive = positive
        self.negative = negative

    def forward(self, logits, target):
        loss = F.binary_cross_entropy_with_logits(logits, target)  # expect: LL610 warning
        weights = torch.where(target == 1, self.positive, self.negative)
        return (weights * loss).mean()


def train(model, loader):
    criterion = WeightedBCELoss(4.0, 1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F
from torch import nn


class WeightedBCELoss(nn.Module):
    def __init__(self, positive, negative):
        super().__init__()
        self.positive = positive
        self.negative = negative

    def forward(self, logits, target):
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        weights = torch.where(target == 1, self.positive, self.negative)
        return (weights * loss).mean()


def train(model, loader):
    criterion = WeightedBCELoss(4.0, 1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
```

## When it stays silent
- A weight that is one number for the whole batch.
- A clamp, or an epsilon, in the logarithm or in what it is taken of.
- A class that calls `backward` itself and hangs cached gradients on what it returns.
- A `forward` that is detached in one of its modes only, or that returns a float beside the loss.
- What the formula is meant to be: a weight on the wrong class is as valid a formula as one on the right class.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import criteria, laws
from losslint.interpreter.program import Program
from losslint.lowering import ir
from losslint.registry import Draft, Rule

_REDUCED = {
    "weighted": "the weights of the samples multiply the batch's mean: every sample gets the mean weight",
    "focal": "the focal factor is computed of the batch's mean: it is the same for easy and for hard samples",
}

_GRADIENTS = frozenset({"backward", "register_hook"})


def examine(program: Program) -> Iterator[Draft]:
    """What is wrong with each loss class of the module."""
    for criterion in criteria.written(program):
        yield from _defects(program, criterion)


def _defects(program: Program, criterion: criteria.Criterion) -> Iterator[Draft]:
    text = criteria.Text(criterion.forward)
    # a class that calls backward itself caches gradients, and hangs them on what it returns
    own = not criterion.cls.facts.calls.isdisjoint(_GRADIENTS)
    cut = None if own else criteria.detached(criteria.runs(program, criterion))
    if cut is not None:
        words = "a new tensor" if cut.kind == "rewrapped" else laws.words_of(cut)
        yield _draft(cut.node, f"`forward` returns {words}: no gradient leaves this loss", "return the loss itself")
    for call, kind in criteria.reduced(text, criterion.forward):
        yield _draft(call, _REDUCED[kind], 'ask for `reduction="none"`, and take the mean at the end')
    for call in criteria.weighted_twice(text):
        yield _draft(call, "the classes are weighted here, and each sample by its class once more", "weight them once")
    for node in criteria.crossed(text):
        yield _draft(node, "each label is given the logarithm of the other one's probability", "swap the two terms")
    for node in list(criteria.bare_logs(text))[:1]:
        yield _draft(
            node,
            "the logarithm of a probability that can be 0: the loss is infinite there, and its gradient not a number",
            "use the loss of the raw scores, or `clamp(min=eps)` what the logarithm is taken of",
        )
    init = criteria.ignored_reduction(criterion)
    if init is not None:
        yield _draft(init, "`reduction` is taken and never read", "reduce the loss as it says, or take it out")


def _draft(node: ir.Node, message: str, help_: str) -> Draft:
    return Draft(node, Severity.WARNING, message, None, [], help_)


RULE = Rule(
    code="LL610",
    name="custom-loss-defects",
    summary="a loss class of one's own returns a detached value, weights a mean, or takes the logarithm of 0",
    law=Law.CONTRACT,
    severity=Severity.WARNING,
    examine=examine,
    module=__name__,
)
