"""A training loop of a few steps that writes down the CPU time of each one, in ms: `steps.py MODEL STEPS FILE`."""

import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(1000, 128)
        layer = nn.TransformerEncoderLayer(128, 4, 256, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(128, 10)

    def forward(self, tokens):
        return self.head(self.layers(self.embedding(tokens)).mean(dim=1))


def mlp():
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    return model, lambda: torch.randn(32, 64)


def cnn():
    convolutions = [nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 2)]
    model = nn.Sequential(*convolutions, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return model, lambda: torch.randn(32, 3, 32, 32)


def transformer():
    return Transformer(), lambda: torch.randint(0, 1000, (16, 64))


def main(name, steps, path, accumulate=2):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, inputs = {"mlp": mlp, "cnn": cnn, "transformer": transformer}[name]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    optimizer.zero_grad()
    with open(path, "w", buffering=1) as times:
        began = time.process_time()
        for i in range(steps * accumulate):
            x = inputs()
            loss = F.cross_entropy(model(x), torch.randint(0, 10, (len(x),))) / accumulate
            loss.backward()
            if (i + 1) % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
                now = time.process_time()
                times.write(f"{1000 * (now - began)}\n")
                began = now


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
