"""Every target is 0, or every target is 1: the loss falls to 0 and nothing is learnt.

## What it does
Reports training on a binary cross-entropy alone whose targets are a tensor of zeros, or of ones: made so beside the
loss, in the `TensorDataset`, or in the `__getitem__` of a data set in the same file. Reports as well a cross-entropy
over two classes one of which is its `ignore_index`: a criterion for tokens with a padding index of 0, say, that is used
for a two-way head as well.

## Why it matters
A model that says "no" to everything is perfect on such data. Its bias runs off to minus infinity, the loss is printed
as 0.0000 within an epoch, accuracy is 100 %, and no weight has learnt anything about the inputs. It looks like the end
of training, and it is a placeholder that was never filled, a label column that was lost, or a mask in its place.

## Bad
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for inputs in loader:
        optimizer.zero_grad()
        logits = model(inputs)
        targets = torch.zeros(len(inputs), 1)
        loss = F.binary_cross_entropy_with_logits(logits, targets)  # expect: LL609 warning
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
import torch.nn.functional as F


def train(model, loader):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for inputs, present in loader:
        optimizer.zero_grad()
        logits = model(inputs)
        targets = torch.zeros(len(inputs), 1)
        targets[present] = 1.0
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        loss.backward()
        optimizer.step()
```

## When it stays silent
- Adversarial training: the labels of real and of fake samples are constant by design.
- One term among others that learn from the data.
- A tensor of zeros that is written to afterwards.
- An `ignore_index` that is none of the two classes, such as the default -100.
- Ranking and contrastive losses: the scores compared there are differences, or the zeros are indices of classes.
- Labels that are constant only in the data: nothing in the code says so. The share of each label is worth a look before
  the first epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.findings import Law, Severity
from losslint.interpreter import constants, roles
from losslint.interpreter.ledger import Loop
from losslint.interpreter.values import Number, Tensor
from losslint.interpreter.world import LossCall
from losslint.lowering import ir
from losslint.registry import Draft, Mark, Rule

_OVER_CLASSES = frozenset({"cross_entropy", "nll_loss"})
_BINARY = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})


def check(loop: Loop) -> Iterator[Draft]:
    """All targets are one and the same, as they are made or because the others are ignored."""
    yield from _one_class_left(loop)
    yield from _constant_targets(loop)


def _one_class_left(loop: Loop) -> Iterator[Draft]:
    """Cross-entropy over two classes, one of which its `ignore_index` leaves out."""
    for call in loop.base.loss_calls.values():
        output = call.prediction.output if type(call.prediction) is Tensor else None
        index = call.options.get("ignore_index")
        ignored = index.value if type(index) is Number else index
        if call.function not in _OVER_CLASSES or output is None or output.features != 2 or ignored not in (0, 1):
            continue
        if call.node in loop.trained:
            yield Draft(
                call.node,
                Severity.WARNING,
                f"of two classes `ignore_index={ignored}` leaves one: this loss teaches the model to say {1 - ignored}",
                None,
                [Mark(output.node, "scores of two classes", "")],
                "give these targets a loss of their own, which ignores none of them",
            )


def _constant_targets(loop: Loop) -> Iterator[Draft]:
    """All that is backpropagated is binary cross-entropy with one and the same target."""
    world = loop.base
    facts = loop.program.module.facts
    if not world.backwards or len({step.optimizer for step in world.steps}) != 1:
        return
    if any(map(roles.is_adversarial, facts.read | facts.assigned | facts.calls)):
        return
    if any("another term" in backward.notes for backward in world.backwards):
        return
    calls = [world.loss_calls.get(node) for node in loop.trained]
    found = [(call, _constant(loop, call)) for call in calls if call is not None]
    values = {constant.value if constant is not None else None for _, constant in found}
    if len(found) < len(calls) or len(values) != 1 or None in values:
        return
    for call, constant in found:
        assert constant is not None
        yield Draft(
            call.node,
            Severity.WARNING,
            f"every target is {constant.value}: the loss falls to 0 and the model learns to say one thing",
            None,
            [Mark(constant.node, f"targets of nothing but {constant.value}", "")],
            "give it the labels of the samples",
        )


def _constant(loop: Loop, call: LossCall) -> constants.Constant | None:
    if call.function not in _BINARY or not isinstance(call.node, ir.Call):
        return None
    judged = type(call.prediction) is Tensor and call.prediction.output is not None
    return constants.target(loop.program, call.node) if judged else None


RULE = Rule(
    code="LL609",
    name="degenerate-targets",
    summary="every target of a binary cross-entropy is 0, or every one is 1",
    law=Law.CONTRACT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
