"""What the gradient of one optimizer holds at any moment: read off the parameters, whoever changed them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from losslint.runtime.observe.facts import Place
from losslint.runtime.observe.records import Held, MicroBatch

_PROBED = 3
_ELEMENTS = 512
_SAME = 1e-3
"""Relative: a gradient that moved less was not touched."""


class Window:
    """The micro-batches in the gradient of one optimizer since it was last zeroed.

    The state is read from `.grad` itself: a gradient set to None by hand is zeroed as well as one that went through
    `zero_grad`. A small probe of the gradient tells whether somebody scaled it in between.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, number: int) -> None:
        self.optimizer = optimizer
        self.number = number
        self.held: list[Held] = []
        self.dropped: list[MicroBatch] = []
        self.zeroed_at: Place | None = None
        self.steps = 0
        self.doubt = ""
        self.never_used: dict[int, torch.nn.Parameter] | None = None
        self._marks: dict[int, tuple[int, int]] = {}
        self._probe: list[tuple[torch.nn.Parameter, torch.Tensor]] = []

    @property
    def kind(self) -> str:
        return type(self.optimizer).__name__

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def remember(self) -> None:
        """Note the state of the gradients, so that a later look tells what changed."""
        self._marks = self._states()
        held = [p for p in self.parameters() if p.grad is not None and not p.grad.is_sparse]
        chosen = held[:: max(1, len(held) // _PROBED)][:_PROBED]
        self._probe = [(p, _sample(p)) for p in chosen]

    def contributed(self) -> bool:
        """Whether a gradient arrived since `remember`."""
        return self._states() != self._marks

    def notice(self, place: Place | None = None) -> None:
        """See whether the gradients were zeroed; what no step has used by then was computed in vain."""
        if not self.held or not self._is_zero():
            return
        self.dropped += [held.micro for held in self.held if not held.consumed]
        self.held = []
        self.zeroed_at = place
        self.remember()

    def notice_rescaling(self) -> None:
        """See whether the gradients were multiplied by hand since `remember`, and note the factor."""
        if not self.held or not self._probe:
            return
        if any(p.grad is None for p, _ in self._probe):
            return
        before = torch.cat([sample for _, sample in self._probe])
        now = torch.cat([_sample(p) for p, _ in self._probe])
        norm = float(before.norm())
        if not norm or not bool(torch.isfinite(now).all()) or not bool(torch.isfinite(before).all()):
            return
        factor = float(before @ now) / norm**2
        if float((now - before).norm()) <= _SAME * norm:
            return
        if float((now - factor * before).norm()) > 10 * _SAME * abs(factor) * norm:
            self.doubt = "the gradient was changed by hand between `backward` and the step"
            return
        for held in self.held:
            held.factor *= factor
        self.remember()

    def hooked(self) -> bool:
        """Whether the user's hooks change gradients on their way into `.grad`."""
        return any(p._backward_hooks for p in self.parameters())

    def _states(self) -> dict[int, tuple[int, int]]:
        return {id(p): (id(p.grad), p.grad._version) for p in self.parameters() if p.grad is not None}

    def _is_zero(self) -> bool:
        for parameter in self.parameters():
            gradient = parameter.grad
            if gradient is not None and (gradient.is_sparse or bool(gradient.any())):
                return False
        return True


def _sample(parameter: torch.nn.Parameter) -> torch.Tensor:
    gradient = parameter.grad
    assert gradient is not None
    flat = gradient.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // _ELEMENTS)][:_ELEMENTS].double().cpu()
