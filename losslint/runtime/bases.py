"""Base classes for the user's: what to derive from in place of a class that is out of reach."""

from __future__ import annotations

from typing import Any

import torch

from losslint.runtime.calls import model_call
from losslint.runtime.things import Imported, Thing, world
from losslint.runtime.world import World


def base_class(one: World, name: str) -> type:
    """A class to derive from in place of one that is out of reach: what it lacks is found by its name."""
    return Imported if name not in ("Dataset", "IterableDataset") else Data


class Data(Imported):
    """A base for data sets: as many samples as the world draws in a pass."""

    def __len__(self) -> int:
        return world().samples(type(self).__name__)


class Module(Imported):
    """`nn.Module`: a model whose output is a thing; a class that makes a loss is run as it is."""

    __losses__: frozenset[str] = frozenset()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        one = world()
        if type(self).__name__ in type(self).__losses__:
            noted, blurred = list(one.ledger.taints), list(one.ledger.blurs)
            made = self.forward(*arguments, **options)
            value = made[0] if isinstance(made, tuple) and made else made
            clean = isinstance(value, torch.Tensor) and value.requires_grad
            clean = clean and one.ledger.taints == noted and one.ledger.blurs == blurred
            if clean or not isinstance(value, (Thing, torch.Tensor, float, int, type(None))):
                return made
            one.ledger.taints[:], one.ledger.blurs[:] = noted, blurred
            one.assume(f"`{type(self).__name__}` returns the batch mean")
            return one.criterion(type(self).__name__, arguments, options)
        return model_call(one, options, (*arguments, *options.values()))

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """An output of the batch."""
        return model_call(world(), options, (*arguments, *options.values()))

    def parameters(self, *arguments: Any, **options: Any) -> list[Any]:
        """The vectors of losses."""
        return parameters(world())

    def namedparameters(self, *arguments: Any, **options: Any) -> list[Any]:
        """The vectors of losses, named."""
        return [(f"gain{place}", gain) for place, gain in enumerate(parameters(world()))]

    def zero_grad(self, *arguments: Any, **options: Any) -> None:
        """Zeroes all."""
        world().zero_all()

    def state_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Empty."""
        return {}

    def train(self, *arguments: Any, **options: Any) -> Any:
        """Itself."""
        return self

    eval = to = cuda = cpu = half = float = bfloat16 = requires_grad_ = apply = train

    def manual_backward(self, loss: Any, *arguments: Any, **options: Any) -> None:
        """Lightning's backward, which divides by nothing."""
        world().backward(loss)

    def optimizers(self, *arguments: Any, **options: Any) -> Any:
        """Lightning's optimizer."""
        return world().optimizer("trainer")

    def log(self, *arguments: Any, **options: Any) -> None:
        """Shows nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return world().role(name, "model")


def parameters(one: World) -> list[Any]:
    if not one.gains:
        one.new_gain()
    return list(one.gains)
