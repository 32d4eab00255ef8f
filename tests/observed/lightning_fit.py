"""A Lightning module and its trainer. `# bug NAME: …` gives the line that takes a line's place."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 4


class Classifier(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = True  # bug manual-undivided: self.automatic_optimization = False
        self.model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
        self.criterion = nn.CrossEntropyLoss()
        self.losses: list[Tensor] = []

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        inputs, targets = batch
        loss: Tensor = self.criterion(self.model(inputs), targets)
        self.log("train_loss", loss)  # bug logged-divided: self.log("train_loss", loss / WINDOW)
        self.losses.append(loss.detach())  # bug retained: self.losses.append(loss)
        if not self.automatic_optimization:
            self.step_by_hand(loss, number)
        return loss  # bug divided-twice: return loss / WINDOW

    def step_by_hand(self, loss: Tensor, number: int) -> None:
        optimizer: Any = self.optimizers()
        self.manual_backward(loss)
        if (number + 1) % WINDOW == 0:
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        pass  # bug zero-before-step: optimizer.zero_grad()


def main() -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(128, 10), torch.randint(0, 3, (128,)))
    module = Classifier()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        accumulate_grad_batches=WINDOW if module.automatic_optimization else 1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, DataLoader(data, batch_size=4, shuffle=True))


if __name__ == "__main__":
    main()
