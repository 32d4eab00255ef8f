"""A `compute_loss` of the Hugging Face `Trainer` ignores `num_items_in_batch`: under accumulation nothing divides.

## What it does
Reports an override of `Trainer.compute_loss` that is handed `num_items_in_batch`, does not use it, and returns a mean
over its own micro-batch. It is a warning where the file sets `gradient_accumulation_steps`, else an info.

## Why it matters
For a model whose `forward` takes loss keywords, as those of transformers for causal language modelling do, `Trainer`
expects a loss that is already the sum over `num_items_in_batch`, the items of the whole window, and does not divide by
the window itself. A mean over the micro-batch then gives `k` times the mean gradient, and weighs every micro-batch
alike, however many tokens it holds. With a model that takes no loss keywords `Trainer` does divide; the type of the
model is not known to the analysis.

## Bad
```python
import torch.nn.functional as F
from transformers import Trainer, TrainingArguments

arguments = TrainingArguments("out", gradient_accumulation_steps=8)


class SmoothedTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # expect: LL904 warning
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = F.cross_entropy(outputs.logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1)
        return (loss, outputs) if return_outputs else loss
```

## Good
```python
import torch.nn.functional as F
from transformers import Trainer, TrainingArguments

arguments = TrainingArguments("out", gradient_accumulation_steps=8)


class SmoothedTrainer(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        scores = outputs.logits.flatten(0, 1)
        loss = F.cross_entropy(scores, labels.flatten(), label_smoothing=0.1, reduction="sum")
        loss = loss / (num_items_in_batch if num_items_in_batch is not None else labels.numel())
        return (loss, outputs) if return_outputs else loss
```

## When it stays silent
- `num_items_in_batch` is used, or passed on, also by `**kwargs`.
- `model_accepts_loss_kwargs` (or `loss_is_scaled_for_ga`) is set, by the class or its base: `Trainer` was told who
  divides.
- The loss is divided by the window, or is a sum.
- `gradient_accumulation_steps=1` is the only window in the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from losslint.contracts.frameworks import TRAINER, TRAINER_NUM_ITEMS
from losslint.findings import Law, Severity
from losslint.interpreter import explain, laws, windows
from losslint.interpreter.ledger import Loop
from losslint.lowering import ir
from losslint.registry import Draft, Rule

_GIVEN = "num_items_in_batch"
_TOLD = frozenset({"model_accepts_loss_kwargs", "loss_is_scaled_for_ga"})


def check(loop: Loop) -> Iterator[Draft]:
    """`compute_loss` returns a mean and does not look at the number of items in the window."""
    if any(not facts.assigned.isdisjoint(_TOLD) for facts in loop.facts):
        return
    given = list(windows.told(loop.program, TRAINER_NUM_ITEMS.window_argument))
    if given and all(isinstance(value, ir.Const) and value.value == 1 for value in given):
        return
    for step, backward in zip(loop.base.steps, loop.base.backwards, strict=False):
        function = step.node
        if (
            step.framework != TRAINER.name
            or not isinstance(function, ir.Function)
            or not _ignores(function)
            or laws.all_summed(backward)
            or laws.has_unknown_divisor(backward)
            or any(windows.divisions(loop.program, backward, TRAINER.window_argument))
        ):
            continue
        yield Draft(
            next(parameter for parameter in function.parameters if parameter.name == _GIVEN),
            Severity.WARNING if given else Severity.INFO,
            f"`{_GIVEN}` is ignored: with a model that takes loss keywords `Trainer` does not divide by"
            " `gradient_accumulation_steps`, and the gradient is the sum over the window",
            None,
            explain.trail(loop, backward.steps),
            f'use `reduction="sum"` and divide by `{_GIVEN}`, or set `self.model_accepts_loss_kwargs = False`',
        )
        return


def _ignores(function: ir.Function) -> bool:
    """Whether a function is handed the number of items and neither uses it nor hands it on."""
    passed = [parameter.name for parameter in function.parameters if parameter.kind == "**"]
    return _GIVEN in [p.name for p in function.parameters] and function.facts.read.isdisjoint((_GIVEN, *passed))


RULE = Rule(
    code="LL904",
    name="num-items-ignored",
    summary="a `compute_loss` of the Hugging Face `Trainer` ignores the number of items in the window",
    law=Law.CONTRACT,
    severity=Severity.WARNING,
    check=check,
    module=__name__,
)
