"""Train a small image classifier with gradient accumulation and mixed precision."""

import argparse
import json
import random
from pathlib import Path

import torch
import torch.nn as nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms


class Classifier(nn.Module):
    def __init__(self, channels, num_classes, dropout=0.1):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.body = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * channels, 4 * channels, kernel_size=3, stride=2, padding=1),
            nn.BatchNorm2d(4 * channels),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * channels, num_classes)

    def forward(self, images):
        # halved twice on the way, then averaged over the rest
        features = self.body(torch.relu(self.norm(self.stem(images))))
        return self.head(self.dropout(features.mean(dim=(2, 3))))


class AverageMeter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.sum = 0.0
        self.count = 0

    def update(self, value, n=1):
        self.sum += value * n
        self.count += n

    @property
    def avg(self):
        return self.sum / max(self.count, 1)


class Trainer:
    def __init__(self, args, model, train_loader, val_loader, device):
        self.args = args
        self.model = model.to(device)
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.device = device
        self.criterion = nn.CrossEntropyLoss(label_smoothing=args.label_smoothing)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=args.epochs)
        self.scaler = torch.cuda.amp.GradScaler(enabled=args.amp)
        self.best = 0.0
        self.history = []

    def train_epoch(self, epoch):
        self.model.train()
        losses = AverageMeter()
        self.optimizer.zero_grad()
        for step, (images, labels) in enumerate(self.train_loader):
            images = images.to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
            with torch.cuda.amp.autocast(enabled=self.args.amp):
                logits = self.model(images)
                loss = self.criterion(logits, labels)
            losses.update(loss.item(), images.size(0))
            self.scaler.scale(loss).backward()
            if (step + 1) % self.args.accum_steps == 0:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_norm)
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.optimizer.zero_grad()
            if step % self.args.log_every == 0:
                print(f"epoch {epoch} step {step} loss {losses.avg:.4f}")
        self.scheduler.step()
        return losses.avg

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        total_loss, correct, seen = 0.0, 0, 0
        for images, labels in self.val_loader:
            images, labels = images.to(self.device), labels.to(self.device)
            logits = self.model(images)
            total_loss += self.criterion(logits, labels).item() * labels.size(0)
            correct += (logits.argmax(dim=1) == labels).sum().item()
            seen += labels.size(0)
        return total_loss / seen, correct / seen

    def fit(self):
        for epoch in range(self.args.epochs):
            train_loss = self.train_epoch(epoch)
            val_loss, accuracy = self.evaluate()
            self.history.append({"epoch": epoch, "train": train_loss, "val": val_loss, "accuracy": accuracy})
            print(f"epoch {epoch}: train {train_loss:.4f}, val {val_loss:.4f}, accuracy {accuracy:.3f}")
            if accuracy > self.best:
                self.best = accuracy
                torch.save(self.model.state_dict(), Path(self.args.output) / "best.pt")
        (Path(self.args.output) / "history.json").write_text(json.dumps(self.history, indent=2))


def build_loaders(args):
    train_transform = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])
    train_set = datasets.CIFAR10(args.data, train=True, transform=train_transform, download=True)
    val_set = datasets.CIFAR10(args.data, train=False, transform=transforms.ToTensor())
    options = {"batch_size": args.batch_size, "num_workers": args.workers, "pin_memory": True}
    train_loader = DataLoader(train_set, shuffle=True, drop_last=True, **options)
    return train_loader, DataLoader(val_set, **options)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data")
    parser.add_argument("--output", default="runs")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--accum-steps", type=int, default=4)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--max-norm", type=float, default=1.0)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--amp", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    args = parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    Path(args.output).mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Classifier(args.channels, num_classes=10, dropout=args.dropout)
    Trainer(args, model, *build_loaders(args), device).fit()
