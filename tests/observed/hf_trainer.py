"""A causal language model under the Hugging Face trainer. `# bug NAME: …` gives the line that takes a line's place."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

WINDOW = 4


class Sequences(Dataset[dict[str, torch.Tensor]]):
    """Random tokens; every sequence ends in another number of ignored labels."""

    def __len__(self) -> int:
        return 128

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = torch.randint(1, 64, (16,), generator=torch.Generator().manual_seed(index))
        labels = tokens.clone()
        labels[16 - index % 5 :] = -100
        return {"input_ids": tokens, "labels": labels}


class OwnLoss(Trainer):
    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs = model(input_ids=inputs["input_ids"])
        logits = outputs.logits[:, :-1].flatten(0, 1)
        loss = functional.cross_entropy(logits, inputs["labels"][:, 1:].flatten())
        return (loss, outputs) if return_outputs else loss


class KeepsLosses(Trainer):
    def compute_loss(self, *given: Any, **named: Any) -> Any:
        loss: Any = super().compute_loss(*given, **named)
        self.total = getattr(self, "total", 0.0) + loss
        return loss


class ZeroesInside(Trainer):
    def training_step(self, model: Any, *given: Any, **named: Any) -> torch.Tensor:
        model.zero_grad()
        return super().training_step(model, *given, **named)


def main() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=WINDOW,
            max_steps=12,
            logging_steps=1,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            save_strategy="no",
        )
        kind = Trainer
        # bug own-mean: kind = OwnLoss
        # bug retained: kind = KeepsLosses
        # bug zero-inside: kind = ZeroesInside
        kind(LlamaForCausalLM(config), arguments, train_dataset=Sequences()).train()


if __name__ == "__main__":
    main()
