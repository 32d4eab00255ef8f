"""A subclass of transformers' `Trainer` with a loss of its own."""

from __future__ import annotations

from losslint.fuzzing.programs.page import Page

_DIVIDING = ("rebound", "in_place", "alias", "expression")


def text(page: Page) -> str:
    """The whole file."""
    spec = page.spec
    page.add("from torch import nn", "from transformers import Trainer, TrainingArguments", "", "")
    with page.block("class LossTrainer(Trainer):"):
        with page.block("def __init__(self, **options):"):
            page.add("super().__init__(**options)")
            reduction = 'reduction="sum"' if spec.reduction in ("sum", "sum_divided") else ""
            page.add(f"self.criterion = nn.CrossEntropyLoss({reduction})")
            page.add(*(["self.model_accepts_loss_kwargs = False"] if _is_told(page) else []))
        page.add("")
        with page.block("def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):"):
            page.add('labels = inputs.pop("labels")', "outputs = model(**inputs)")
            page.add("loss = self.criterion(outputs, labels)")
            if spec.reduction == "sum_divided":
                page.add("loss = loss / num_items_in_batch")
            elif spec.scale in _DIVIDING:
                page.add("loss = loss / self.args.gradient_accumulation_steps")
            page.add("return (loss, outputs) if return_outputs else loss")
    page.add("", "")
    with page.block(f"def train(model, train_dataset, {spec.window_name}={page.sizes.window}):"):
        options = f"gradient_accumulation_steps={spec.window_name}, per_device_train_batch_size={page.sizes.batch_size}"
        page.add(f'arguments = TrainingArguments(output_dir="out", {options}, num_train_epochs={page.sizes.epochs})')
        page.add("trainer = LossTrainer(model=model, args=arguments, train_dataset=train_dataset)")
        page.add("trainer.train()")
    return "\n".join(page.lines) + "\n"


def entry() -> str:
    """The call of what the file defines."""
    return "train(model, train_dataset)"


def _is_told(page: Page) -> bool:
    """Whether the trainer is told that it has to divide by the window."""
    return page.spec.settings == "args" and page.spec.reduction in ("mean", "none_mean")
