"""A loop by hand with a gradient scaler. `# bug NAME: …` gives the line that takes a line's place."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 4


def main() -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(128, 10), torch.randint(0, 3, (128,)))
    loader = DataLoader(data, batch_size=4, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    criterion = nn.CrossEntropyLoss()
    for _ in range(2):
        for number, (inputs, targets) in enumerate(loader, start=1):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = criterion(model(inputs), targets)
            loss = loss / WINDOW  # bug in-branch: loss = loss / WINDOW if number % WINDOW == 1 else loss
            scaler.scale(loss).backward()
            if number % WINDOW == 0:  # bug off-phase: if (number - 1) % WINDOW == 0:
                scaler.unscale_(optimizer)  # bug clip-before-unscale, bypassed: pass
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)  # bug bypassed: optimizer.step()
                scaler.update()  # bug bypassed: pass
                optimizer.zero_grad()  # bug missing-zero: pass


if __name__ == "__main__":
    main()
