"""Data parallel training by hand, for torchrun. `# bug NAME: …` gives the line that takes a line's place."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

WINDOW = 4


def main() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(32, 10), torch.randint(0, 3, (32,)))
    sampler: DistributedSampler[tuple[torch.Tensor, ...]] = DistributedSampler(data)
    size = 4  # bug uneven: size = 4 if rank else 2
    loader = DataLoader(data, batch_size=size, sampler=sampler)
    model = DistributedDataParallel(nn.Linear(10, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(4):
        sampler.set_epoch(epoch)  # bug divided-in-same-order: pass
        total = torch.zeros(())
        for number, (inputs, targets) in enumerate(loader, start=1):
            waits = number % WINDOW != 0  # bug never-synced: waits = True
            with model.no_sync() if waits else nullcontext():
                loss = criterion(model(inputs), targets) / WINDOW
                loss.backward()  # bug divided-in-same-order: (loss / world).backward()
            total += loss.detach()
            if number % WINDOW == 0:
                optimizer.step()
                optimizer.zero_grad()
                distributed.all_reduce(total)
                if rank == 0:
                    print(f"loss {float(total) / world:.6f}")
                total.zero_()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
