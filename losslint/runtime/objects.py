"""What a loop trains with: optimizers that note what a step would have taken, loaders of a few batches, the scaler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from losslint.runtime.things import DATASET, Thing

if TYPE_CHECKING:
    from losslint.runtime.world import World


class Optimizer:
    """Records what a step would have taken. Not a `torch.optim.Optimizer`: constructing one imports the compiler."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.gain = world.new_gain()
        self.param_groups = [
            {"params": [self.gain], "lr": 0.1, "initial_lr": 0.1, "weight_decay": 0.0, "momentum": 0.0}
        ]
        self.state: dict[Any, Any] = {}
        self.defaults = {"lr": 0.1}
        self.pending: list[int] = []
        self.lost: list[int] = []
        self.gate: Any = None

    def step(self, closure: Any = None, **options: Any) -> Any:
        """Takes the gradient down; what a step closed over is run first."""
        if self.gate is not None and not self.gate():
            return None
        if callable(closure) and not isinstance(closure, Thing):
            self.world.closures += "lbfgs" in self.name.lower()
            with torch.enable_grad():
                closure()
        self.world.stepped(self)
        return None

    def zero_grad(self, set_to_none: Any = True) -> None:
        """Forgets the gradient."""
        if self.gate is not None and not self.gate():
            return
        self.world.zeroed(self)
        if set_to_none is not False:
            self.gain.grad = None
        elif self.gain.grad is not None:
            self.gain.grad.zero_()

    def add_param_group(self, group: Any) -> None:
        """Nothing else is trained here."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, *arguments: Any) -> None:
        """Nothing to load."""

    def backward(self, loss: Any, *arguments: Any, **options: Any) -> None:
        """The old mixed-precision optimizers' own backward."""
        self.world.backward(loss)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        # one that wraps another is the one
        return self if name in ("optimizer", "base_optimizer") else Thing(f"optimizer.{name}")


class Loader:
    """A loader of a few batches, of which the last of a pass may be short."""

    def __init__(self, world: World, name: str, drop_last: bool = False, dataset: Thing | None = None) -> None:
        self.world, self.name, self.drop_last = world, name, drop_last
        self.dataset = dataset if dataset is not None else Thing(name, DATASET)
        self.sampler = Thing("sampler")
        self.batch_sampler = self.sampler
        self.accelerator: Any = None
        self.partial = False
        self.batches: Iterator[Any] | None = None

    @property
    def batch_size(self) -> int:
        """Items in a full batch."""
        return self.world.settings.shape.batch_size

    def sizes(self) -> list[int]:
        """The items of each batch of a pass."""
        sizes = self.world.sizes(self.name)
        if self.partial:
            return sizes[: max(1, len(sizes) // 2)]
        return sizes[:-1] if self.drop_last and sizes[-1] < self.batch_size else sizes

    def __len__(self) -> int:
        return len(self.sizes())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        passage = self.world.new_passage(self.name)
        sizes = self.sizes()
        for place, items in enumerate(sizes):
            if self.accelerator is not None:
                self.accelerator.at_end = place == len(sizes) - 1
            yield self.world.new_batch(self.name, passage, place, items)

    def __next__(self) -> Any:
        if self.batches is None:
            self.batches = iter(self)
        try:
            return next(self.batches)
        except StopIteration:
            self.batches = iter(self)
            return next(self.batches)

    def __getitem__(self, key: Any) -> Any:
        return next(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("batch", "data", "next", "get_batch", "next_batch", "sample"):
            return lambda *arguments, **options: next(self)
        if "epoch_size" in name or name in ("num_batches", "n_batches"):
            return len(self)
        return Thing(f"loader.{name}")

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self


class Scaler(torch.amp.GradScaler):
    """The real scaler, which also notes when it was asked for what."""

    def __init__(self, world: World, enabled: bool = True) -> None:
        super().__init__(world.device.type, init_scale=world.settings.scale, growth_interval=10**9, enabled=enabled)
        self.world = world
        self.adapted: dict[int, Any] = {}
        self.stepping = False

    def _real(self, optimizer: Any) -> Any:
        """The optimizer itself, or a stand-in where it wears the clothes of a class of the user's."""
        if isinstance(optimizer, (Optimizer, _Wrapped)):
            return optimizer
        known = self.adapted.get(id(optimizer))
        if known is None:
            inner = next((v for v in vars(optimizer).values() if isinstance(v, Optimizer)), None)
            inner = inner or self.world.optimizer("optimizer")
            known = self.adapted[id(optimizer)] = _Wrapped(optimizer, inner)
        return known

    def _ready(self) -> None:
        if self.is_enabled() and self._scale is None:
            self.world.assume("the scaler was used before")
            self._lazy_init_scale_growth_tracker(self.world.device)

    def scale(self, outputs: Any) -> Any:
        """Multiplies a loss by the scale."""
        if isinstance(outputs, Thing):
            outputs = outputs._loss()
        return super().scale(outputs)

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients by the scale."""
        self._ready()
        self.world.event("unscale")
        super().unscale_(self._real(optimizer))

    def step(self, optimizer: Any, *arguments: Any, **options: Any) -> Any:
        """Unscales where that was not done, and steps."""
        self._ready()
        self.stepping = True
        try:
            return super().step(self._real(optimizer), *arguments, **options)
        finally:
            self.stepping = False

    def update(self, new_scale: Any = None) -> None:
        """Starts the next round."""
        self.world.event("update")
        super().update()

    def __call__(self, loss: Any = None, optimizer: Any = None, *arguments: Any, **options: Any) -> Any:
        """timm's contract: backward, and unless told otherwise unscale, clip, step and update. Without a loss, it is
        what makes a scaler that was called."""
        if loss is None or optimizer is None:
            return self
        self.world.assume("the scaler keeps timm's contract: backward, and a step where an update is asked for")
        self.world.backward(self.scale(loss))
        if options.get("need_update", True) is not False and options.get("update_grad", True) is not False:
            self.unscale_(optimizer)
            self.step(optimizer)
            self.update()
        return torch.tensor(1.0)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Thing(f"scaler.{name}")


class _Wrapped:
    """An optimizer inside an object of the user's, as the scaler has to see it."""

    def __init__(self, outer: Any, inner: Optimizer) -> None:
        self.param_groups = inner.param_groups
        self.step = outer.step
