"""Contracts of the libraries that divide, gate or step: who does what, for the tiny world.

Source of the facts: `losslint.contracts.frameworks`, whose tests run the installed libraries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from losslint.runtime.things import MODEL, Thing

if TYPE_CHECKING:
    from losslint.runtime.objects import Loader, Optimizer
    from losslint.runtime.world import World


class Accelerator:
    """accelerate: `backward` divides by the window, `accumulate` opens prepared optimizers on a window's last
    micro-batch and at the end of a prepared loader."""

    def __init__(self, world: World, *arguments: Any, **options: Any) -> None:
        self.world = world
        window = options.get("gradient_accumulation_steps", 1)
        plugin = options.get("gradient_accumulation_plugin")
        if isinstance(plugin, Thing):
            window = plugin._kept.get("num_steps", 1)
        self.gradient_accumulation_steps = window if isinstance(window, int) else 1
        self.counted = 0
        self.sync_gradients = True
        self.at_end = False
        self.is_main_process = self.is_local_main_process = True
        self.num_processes = 1
        self.process_index = self.local_process_index = 0
        self.device = world.device
        world.assume("accelerate >=0.12: `backward` divides by `gradient_accumulation_steps`")

    def prepare(self, *things: Any, **options: Any) -> Any:
        """The same objects; optimizers, schedulers and loaders from here on follow the accelerator."""
        from losslint.runtime.objects import Loader, Optimizer
        from losslint.runtime.schedulers import Scheduler

        for thing in things:
            if isinstance(thing, (Optimizer, Scheduler)):
                thing.gate = self._open
            elif isinstance(thing, Loader):
                thing.accelerator = self
        return things[0] if len(things) == 1 else things

    prepare_model = prepare_optimizer = prepare_data_loader = prepare

    def _open(self) -> bool:
        return self.sync_gradients

    def backward(self, loss: Any, **options: Any) -> None:
        """Divides by the window, and backpropagates."""
        if isinstance(loss, Thing):
            loss = loss._loss()
        self.world.backward(loss / self.gradient_accumulation_steps)

    @contextlib.contextmanager
    def accumulate(self, *models: Any) -> Iterator[None]:
        """Counts one micro-batch."""
        self.counted = 0 if self.at_end else self.counted + 1
        self.sync_gradients = self.at_end or self.counted % self.gradient_accumulation_steps == 0
        yield

    def no_sync(self, *models: Any, **options: Any) -> Any:
        """Nothing to leave unsynchronised on one process."""
        return contextlib.nullcontext()

    join_uneven_inputs = no_sync

    def autocast(self, *arguments: Any, **options: Any) -> Any:
        """Nothing to cast."""
        return contextlib.nullcontext()

    def clip_grad_norm_(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """Unscales by itself."""
        return self.world.clipped()

    def clip_grad_value_(self, *arguments: Any, **options: Any) -> None:
        """Unscales by itself."""

    def gather(self, value: Any) -> Any:
        """The same on one process, moved by what another one has."""
        from losslint.runtime.calls import collective

        return collective(self.world, value)

    gather_for_metrics = gather

    def reduce(self, value: Any, *arguments: Any, **options: Any) -> Any:
        """The same on one process, moved by what another one has."""
        return self.gather(value)

    def unwrap_model(self, model: Any, *arguments: Any, **options: Any) -> Any:
        """The model."""
        return model

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Thing(f"accelerator.{name}")


class Fabric:
    """Lightning Fabric: divides by nothing and gates nothing."""

    def __init__(self, world: World, *arguments: Any, **options: Any) -> None:
        self.world = world
        self.device = world.device
        self.world_size, self.global_rank, self.is_global_zero = 1, 0, True
        world.assume("lightning.fabric >=2.0: `backward` divides by nothing")

    def setup(self, *things: Any, **options: Any) -> Any:
        """The same objects."""
        return things[0] if len(things) == 1 else things

    setup_module = setup_optimizers = setup_dataloaders = setup

    def backward(self, loss: Any, *arguments: Any, **options: Any) -> None:
        """Backpropagates."""
        self.world.backward(loss)

    def no_backward_sync(self, *arguments: Any, **options: Any) -> Any:
        """Nothing to leave unsynchronised on one process."""
        return contextlib.nullcontext()

    autocast = no_backward_sync

    def clip_gradients(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """A clip that unscales by itself."""
        return torch.tensor(1.0)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Thing(f"fabric.{name}")


class Engine:
    """DeepSpeed: `backward` divides by the window, `step` steps on its last micro-batch and zeroes after it."""

    def __init__(self, world: World, window: int) -> None:
        self.world, self.window, self.counted = world, window, 0
        self.optimizer: Optimizer = world.optimizer("engine")
        self.device = world.device
        world.assume("deepspeed >=0.3: `engine.backward` divides by `gradient_accumulation_steps`")

    def backward(self, loss: Any, *arguments: Any, **options: Any) -> Any:
        """Divides by the window unless told otherwise, and backpropagates."""
        divides = options.get("scale_wrt_gas") is not False
        self.world.backward(loss / self.window if divides else loss)
        return loss

    def step(self, *arguments: Any, **options: Any) -> None:
        """Counts one micro-batch; steps and zeroes on the last of a window."""
        self.counted += 1
        if self.counted % self.window == 0:
            self.optimizer.step()
            self.optimizer.zero_grad()

    def is_gradient_accumulation_boundary(self) -> bool:
        """Whether the micro-batch that runs is a window's last."""
        return (self.counted + 1) % self.window == 0

    def gradient_accumulation_steps(self) -> int:
        """The window."""
        return self.window

    def zero_grad(self, *arguments: Any) -> None:
        """The engine zeroes by itself."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.world.call(Thing("engine", MODEL), arguments, options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(Thing("engine", MODEL), name)


def lightning(world: World, module: Any, loader: Loader, window: int) -> None:
    """Lightning's automatic optimisation over one pass: `training_step`, loss over the window, a step on its last
    micro-batch and on the pass's last; under manual optimisation only `training_step`."""
    world.assume("lightning >=1.0: automatic optimisation divides by `accumulate_grad_batches`")
    optimizer = world.optimizer("trainer")
    trainer = module.trainer = Thing("trainer")
    trainer._kept["accumulate_grad_batches"] = window
    manual = getattr(module, "automatic_optimization", True) is False
    count = len(loader)
    for place, batch in enumerate(loader):
        world.tick += 1
        world.drawn_tick = world.tick
        trainer._kept["is_last_batch"] = place + 1 == count
        made = _training_step(module, batch, place)
        if manual:
            continue
        loss = made.get("loss") if isinstance(made, dict) else made
        if loss is None:
            continue
        if isinstance(loss, Thing):
            loss = loss._loss()
        world.backward(loss / window)
        if (place + 1) % window == 0 or place + 1 == count:
            optimizer.step()
            optimizer.zero_grad()


def _training_step(module: Any, batch: Any, place: int) -> Any:
    count = module.training_step.__code__.co_argcount - 1
    return module.training_step(*(batch, place, 0)[:count])
