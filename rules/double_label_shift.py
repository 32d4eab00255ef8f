"""Labels are shifted by one token, and the model shifts them again.

## What it does
Reports a causal language model of transformers (`AutoModelForCausalLM`, `…ForCausalLM`, `…LMHeadModel`) that is called
with `labels=` which were shifted by hand: `labels=ids[:, 1:]` beside the input `ids[:, :-1]`.

## Why it matters
These models shift inside: position `t` is compared with label `t + 1`. Shifted once more, every position is trained to
predict the token after the next one, which it cannot see. The loss falls, slowly, to a value that looks like a hard
corpus, and what the model generates skips every other word.

## Bad
```python
import torch
from transformers import AutoModelForCausalLM


def train(loader):
    model = AutoModelForCausalLM.from_pretrained("gpt2")
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    model.train()
    for batch in loader:
        optimizer.zero_grad()
        ids = batch["input_ids"]
        loss = model(input_ids=ids[:, :-1], labels=ids[:, 1:]).loss  # expect: LL608 error
        loss.backward()
        optimizer.step()
```

## Good
```python
import torch
from transformers import AutoModelForCausalLM


def train(loader):
    model = AutoModelForCausalLM.from_pretrained("gpt2")
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    model.train()
    for batch in loader:
        optimizer.zero_grad()
        ids = batch["input_ids"]
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
```

## When it stays silent
- `shift_labels=`: labels that are shifted already, and said to be.
- Encoder–decoder models (`…ForConditionalGeneration`, `…ForSeq2SeqLM`): they do not shift `labels`.
- The input begins one token later too: nothing is shifted then.
- A loss that is computed by hand of `logits[:, :-1]` and `labels[:, 1:]`: that is the one shift that is needed.
- Models that are not in sight.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from losslint.findings import Law, Severity
from losslint.interpreter.ledger import Loop
from losslint.interpreter.things import SHIFTING
from losslint.interpreter.values import AHEAD, Tensor
from losslint.registry import Draft, Mark, Rule


def check(loop: Loop) -> Iterator[Draft]:
    """A model that shifts its labels is given labels that are ahead of its input."""
    for call in loop.base.loss_calls.values():
        if call.function != SHIFTING or "shift_labels" in call.options:
            continue
        labels = call.options.get("labels")
        source = call.arguments[0] if call.arguments else call.options.get("input_ids")
        if not _is_ahead(labels) or not isinstance(source, Tensor) or _is_ahead(source):
            continue
        yield Draft(
            call.node,
            Severity.ERROR,
            "the labels are shifted by one token, and the model shifts them again: it learns the token after the next",
            None,
            [Mark(labels.node, "one token ahead of the input", ""), Mark(call.node, "shifted once more inside", "")],
            "give the model the same tokens as input and as `labels`",
        )


def _is_ahead(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and AHEAD in value.traits


RULE = Rule(
    code="LL608",
    name="double-label-shift",
    summary="shifted labels are given to a model that shifts them again",
    law=Law.CONTRACT,
    severity=Severity.ERROR,
    check=check,
    module=__name__,
)
