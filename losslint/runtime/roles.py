"""What a name stands for when nothing else is known about it: a loader, an optimizer, a window, a number of epochs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from losslint.runtime.things import DATASET, MODEL, Guess, Number, Real, Thing, world
from losslint.runtime.world import World

Maker = Callable[[World, str], Any]


class Criterion:
    """A loss function that came from elsewhere: it is taken for one that returns the mean."""

    def __init__(self, name: str, reduction: str = "mean", **options: Any) -> None:
        self.name, self.reduction, self.options = name, reduction, options

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return world().criterion(self.name, arguments, {**self.options, **options}, self.reduction)

    forward = __call__

    def to(self, *arguments: Any, **options: Any) -> Criterion:
        """Itself."""
        return self

    cuda = cpu = train = eval = half = to

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Thing(f"{self.name}.{name}")

    def __bool__(self) -> bool:
        return True

    # a name like `total_loss` may stand for a loss as well as for what makes one

    def _loss(self) -> Any:
        return world().criterion(self.name, (), self.options, self.reduction)

    def __add__(self, other: Any) -> Any:
        return other

    __radd__ = __add__

    def __truediv__(self, other: Any) -> Any:
        return self._loss() / other

    def __mul__(self, other: Any) -> Any:
        return self._loss() * other

    __rmul__ = __mul__

    def __float__(self) -> float:
        return float(self._loss().detach())

    def backward(self, *arguments: Any, **options: Any) -> None:
        """Backpropagates the loss."""
        world().backward(self._loss())

    def item(self) -> float:
        """The loss as a number."""
        return float(self)


class Meter:
    """A meter that came from elsewhere: `update(value, n=1)` and the mean of what it was given."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all."""
        self.sum = self.count = self.val = 0.0

    @property
    def avg(self) -> float:
        """The mean."""
        return self.sum / self.count if self.count else 0.0

    def update(self, value: Any = None, n: Any = 1, **options: Any) -> None:
        """Adds a value, `n` times."""
        world().assume("a meter keeps the contract `update(value, n=1)`")
        number = _number(value)
        if number is None:
            return
        times = float(n) if isinstance(n, (int, float)) else 1.0
        self.sum += number * times
        self.count += times
        self.val = number

    __call__ = add = update

    def compute(self) -> float:
        """The mean."""
        return self.avg

    result = item = compute

    def __getattr__(self, name: str) -> Any:
        if name in ("average", "global_avg", "mean", "value"):
            return self.avg
        if name.startswith("_"):
            raise AttributeError(name)
        return Thing(f"meter.{name}")

    def __float__(self) -> float:
        return self.avg

    def __format__(self, spec: str) -> str:
        return "meter"


def _number(value: Any) -> float | None:
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        return float(value.detach())
    return float(value) if isinstance(value, (int, float)) else None


def _optimizer(one: World, name: str) -> Any:
    return one.optimizer(name)


ENDLESS = 10**6
"""The length of a run that is ended by a number of steps nobody told."""
_ROLES: list[tuple[str, Maker]] = [
    (r"(iters?|steps|batches)_per_epoch|epoch_(iters|steps|len|size)$", lambda w, n: w.settings.shape.batches),
    (r"^(num|n|nb|total)_?(\w+_)?(mini)?_?batches$", lambda w, n: w.settings.shape.batches),
    (r"freq|interval|every|print_|log(ging)?_?(step|iter)|save_steps|eval_steps", lambda w, n: w.settings.log),
    (r"^(lr_?)?_?scheduler$|lr_scheduler$|^sched$", lambda w, n: _scheduler()),
    (r"sched|warmup|lr_s$", lambda w, n: Thing(n)),
    (r"scaler$|^scaler|loss_scaler", lambda w, n: w.new_scaler()),
    (r"^accelerator$", lambda w, n: _accelerator(w)),
    (r"^fabric$", lambda w, n: _fabric(w)),
    (r"optim|^opt$|^opt_|_opt$|^sgd$|^adam", _optimizer),
    (r"(?<!para)meter(?!iz)|avg_loss|loss_avg", lambda w, n: Meter()),
    (
        r"criteri|^crit|loss_?f(c?n|unc|ct)?$|loss_?func(tion)?|loss_?op$|bce|mse$|^ce$|xent|.*_loss$|^loss$|Loss$|objective",
        lambda w, n: Thing(n) if n[:1].isupper() else Criterion(n),
    ),
    (r"data_?set$|_set$|^(train|training|val|valid|test)_?data$|_ds$|^ds$", lambda w, n: Thing(n, DATASET)),
    (
        r"loader|data_iter|batches$|batch_gen|iterator$|train_iter|_dl$|^dl$|train_gen|^batcher$",
        lambda w, n: _loader(w, n),
    ),
    (
        r"model|^net|net$|^module$|encoder|decoder|^gpt|^bert|engine$|student|teacher|backbone|classifier$|policy$|^head$",
        lambda w, n: Thing(n, MODEL),
    ),
    (r"device$", lambda w, n: w.device),
    (r"^training$|^is_train(ing)?$", lambda w, n: Guess(1)),
    (r"local_rank|^rank$|_rank$|gpu_id|^gpu$", lambda w, n: Guess(0)),
    (r"world_size|n_gpu|num_gpu|ngpu|num_procs|num_processes", lambda w, n: Guess(1)),
    (
        r"max_(train_)?(steps|iter)|total_(steps|iter)|num_training_steps|max_step|n_iters$|num_steps|num_iter|iterations$|^steps$",
        lambda w, n: ENDLESS,
    ),
    (r"^(num_|n_|max_|total_)?epochs$|num_train_epochs|n_epoch$|max_epoch", lambda w, n: w.settings.shape.epochs),
    (r"epochs$", lambda w, n: w.settings.shape.epochs),
    (r"epoch", lambda w, n: 0),
    (r"batch_?size|^bs$", lambda w, n: w.settings.shape.batch_size),
    (r"clip|max_norm|max_grad", lambda w, n: 1.0),
    (
        r"(^|_)(amp|fp16|bf16|half|mixed|distributed|ddp|deepspeed|tpu|xla|debug|wandb|ema|mixup|resume|dist|parallel|use_cuda|cuda|verbose|dry_run)",
        lambda w, n: Guess(0),
    ),
    (
        r"(^|_)(steps?|iters?|it|count|idx|i|iteration|num_updates|batches_done|n_iter|global_step|updates|total|correct|running|micro)($|_)",
        lambda w, n: 0,
    ),
    (
        r"(^|_)(lr|learning_rate|weight_decay|alpha|beta|lambda|weight|coef|gamma|temperature|momentum|eps)($|_)",
        lambda w, n: 1.0,
    ),
]
_COMPILED = [(re.compile(pattern, re.I), maker) for pattern, maker in _ROLES]


def _accelerator(one: World) -> Any:
    from losslint.runtime.frameworks import Accelerator

    return Accelerator(one)


def _scheduler() -> Any:
    from losslint.runtime.schedulers import Scheduler

    return Scheduler()


def _fabric(one: World) -> Any:
    from losslint.runtime.frameworks import Fabric

    return Fabric(one)


def _loader(one: World, name: str) -> Any:
    from losslint.runtime.objects import Loader

    return one.loaders.setdefault(name, Loader(one, name))


def known_role(one: World, name: str) -> Any:
    """What a name stands for; None where it says nothing."""
    for pattern, maker in _COMPILED:
        if pattern.search(name):
            made = maker(one, name)
            if type(made) not in (int, float):
                return made
            number = Number(made) if type(made) is int else Real(made)
            number.label = name
            return number
    return None
