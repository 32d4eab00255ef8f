"""A loop with accelerate, as its documentation has it. `# bug NAME: …` gives the line that takes a line's place."""

from __future__ import annotations

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 4


def main() -> None:
    torch.manual_seed(0)
    accelerator = Accelerator(gradient_accumulation_steps=WINDOW, cpu=True)
    data = TensorDataset(torch.randn(128, 10), torch.randint(0, 3, (128,)))
    loader = DataLoader(data, batch_size=4, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for epoch in range(2):
        running = 0.0
        for number, (inputs, targets) in enumerate(loader, start=1):
            with accelerator.accumulate(model):
                loss = criterion(model(inputs), targets)
                accelerator.backward(loss)  # bug divided-twice: accelerator.backward(loss / WINDOW)
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()  # bug zero-inside: model.zero_grad()
            running += loss.item()  # bug retained: running = running + loss
            if number % WINDOW == 0:
                mean = running / WINDOW  # bug logged-sum: mean = running
                print(f"epoch {epoch} batch {number} loss {float(mean):.5f}")
                running = 0.0  # bug retained: pass


if __name__ == "__main__":
    main()
