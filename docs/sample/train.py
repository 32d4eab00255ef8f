import torch
from torch.utils.data import DataLoader


def train(model, loader: DataLoader, optimizer, scaler, accum_steps=4):
    criterion = torch.nn.CrossEntropyLoss()
    total = 0.0
    for step, (inputs, targets) in enumerate(loader):
        with torch.autocast("cuda"):
            loss = criterion(model(inputs), targets) / accum_steps
        scaler.scale(loss).backward()
        total += loss.item()
        if (step + 1) % accum_steps == 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    return total / len(loader)
