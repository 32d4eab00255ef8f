"""Several processes: checksums of gradients, and what the ranks share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import distributed


def several() -> bool:
    """Whether this process trains with others."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def store() -> Any:
    """What the ranks share; it stays usable when the script takes its process group down."""
    return distributed.distributed_c10d._get_default_store()


def rank() -> tuple[int, int]:
    """The rank of this process, and how many there are."""
    return distributed.get_rank(), distributed.get_world_size()


def checksum(parameters: Iterable[torch.nn.Parameter]) -> list[float] | None:
    """Norm and sum of the gradients; None for gradients that are sharded, which differ by design."""
    norm = total = 0.0
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None or gradient.is_sparse:
            continue
        if type(gradient) is not torch.Tensor:
            return None
        norm += float(gradient.detach().double().square().sum())
        total += float(gradient.detach().double().sum())
    return [norm**0.5, total]
