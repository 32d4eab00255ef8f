"""Runs a complete program in a world whose every weight can be read: real PyTorch, real optimizers and scalers.

The model is a vector of gains and the loss of item `i` is `gain[i]`, so what an optimizer finds in the gradient is the
weight with which each item entered its step. A number that the program shows is compared under several gains by the
caller. It is meant for programs that are known to be harmless, and runs them in this process.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import signal
import sys
import types
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

SCALE = 2.0**20
"""The AMP scale of the world: far from any weight, and a power of two."""

_NUMBER = re.compile(r"[-+]?\d+\.\d+(?:e[-+]?\d+)?|[-+]?\d+|nan|inf")
_LOSSES = ("cross_entropy", "mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits", "nll_loss")


@dataclass(frozen=True, slots=True)
class Shape:
    """The data: `batches` of `batch` items each, the last one of `last` items; `epochs` is how often a trainer that
    the world drives walks over them."""

    batches: int
    batch: int
    last: int

    @property
    def items(self) -> int:
        """Samples in one pass."""
        return self.batch * (self.batches - 1) + self.last


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: at which batch (a number that counts on over all passes, whole as they are), the weight that
    each batch of the data has in it, by its place, and which optimizer it was."""

    visit: int
    weights: tuple[float, ...]
    optimizer: int = 0


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip: whether the gradients carried the AMP scale, and how many parameters it was given."""

    scaled: bool
    parameters: int


@dataclass(slots=True)
class Schedule:
    """One scheduler: how many steps it lays out (None where it has no end), how many the program made, and whether the
    first of them came before any optimizer step."""

    horizon: int | None
    steps: int
    ahead: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A line that shows numbers to a person, at which batch, and the numbers; line 0 is what was returned."""

    line: int
    visit: int
    numbers: tuple[float, ...]


@dataclass(slots=True)
class Record:
    """What one run did. `retained`: the most batches whose graphs were alive together. `reductions`: how the losses
    were reduced. `backwards`: the batch of each backward that reached the parameters, `shares` the part of each
    backpropagated value that did. `trained`: whether the model was in training mode, at each forward on training data;
    `judged`: the same of validation data under `no_grad`. `rate`: the learning rate before the scheduler's first
    step over the one that the optimizer was given. `error`: the exception that ended the run."""

    steps: list[Step] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    trained: list[bool] = field(default_factory=list)
    judged: list[bool] = field(default_factory=list)
    rate: float = 1.0
    retained: int = 0
    reductions: set[str] = field(default_factory=set)
    backwards: list[int] = field(default_factory=list)
    visits: int = 0
    error: str = ""


class _TooLongError(BaseException):
    pass


class _Part(torch.nn.Module):
    """A vector of gains: the loss of each item of the training data."""

    def __init__(self, gains: torch.Tensor) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(gains.clone())

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        return self.gain[index]


class _Model(torch.nn.Module):
    """Gives the loss of each item that it is handed, and tells the world about it. In parts, each of two modules gets
    the whole gradient."""

    def __init__(self, world: _World, *, parts: bool) -> None:
        super().__init__()
        self.world = world
        self.backbone = _Part(world.gains)
        self.head = _Part(world.gains) if parts else None

    def forward(self, inputs: torch.Tensor, **_: Any) -> torch.Tensor:
        index = inputs[:, 0].long()
        items = len(self.world.gains)
        if index[0] >= items:
            self.world.judge(self.training)
            # in the graph of the parameters, and no gradient by them
            return self.world.judged[index - items] + 0.0 * self.backbone.gain.sum()
        self.world.train(int(index[0]), self.training)
        made: torch.Tensor = self.backbone(index)
        return made if self.head is None else made + self.head(index) - self.world.gains[index]


class _Generator(_Part):
    """Makes data of data: the same items, beside them the loss of the generator on each."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([inputs, super().forward(inputs[:, 0].long())[:, None]], dim=1)


class _Critic(_Part):
    """Gives the loss of each item, and that of the generator where it has made the items."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs[:, 0].long()) + inputs[:, 1:].sum(dim=1)


class _Scaler(torch.amp.GradScaler):
    """The scaler that a CPU can run, whatever device the program names."""

    def __init__(self, *_: Any, enabled: bool = True, **__: Any) -> None:
        super().__init__("cpu", init_scale=SCALE, enabled=enabled)


class _Sentinel:
    """Lives as long as the graph that it is tied to."""

    __slots__ = ("__weakref__",)


def run(
    text: str,
    entry: str,
    flags: Mapping[str, bool],
    shape: Shape,
    gains: Sequence[float],
    window: int = 1,
    limit: float = 20.0,
    judged: Sequence[float] | None = None,
    clip: float = 1.0,
) -> Record:
    """Runs `text` and then `entry`, the loss of every item of batch `b` being `gains[b]`, and `judged[b]` in the
    validation data, which has the same shape (default: 1). `window` is for frameworks that own the loop; `clip` is by
    what a clip multiplies the gradients that it is given.

    An exception of the program ends the run and stands in the record; so does a run of more than `limit` seconds.
    """
    world = _World(shape, gains, window, judged or [1.0] * shape.batches, clip, parts="model.backbone" in text)
    namespace: dict[str, Any] = {"__name__": "__main__", "print": world.print}
    with _patched(world, text), _alarm(limit), _quiet():
        try:
            exec(compile(text, "<program>", "exec"), namespace)
            if entry:
                world.show(0, [eval(entry, {**namespace, **world.things(), "flags": dict(flags)})])
        except _TooLongError:
            world.record.error = "TimeoutError: the run took too long"
        except Exception as error:
            world.record.error = f"{type(error).__name__}: {error}"
    world.record.visits = world.visit + 1
    world.record.schedules = [schedule for _, schedule in world.schedulers]
    return world.record


def use_one_thread() -> None:
    """Keeps torch from using more processors than one: the programs are tiny, and many run beside one another."""
    torch.set_num_threads(1)


class _World:
    def __init__(
        self,
        shape: Shape,
        gains: Sequence[float],
        window: int,
        judged: Sequence[float],
        clip: float,
        *,
        parts: bool,
    ) -> None:
        self.shape = shape
        self.window = window
        self.clipped_to = clip
        self.parts = parts
        self.record = Record()
        self.visit = -1
        self.last = -1
        self.passage = 0
        self.alive: list[tuple[int, Any]] = []
        self.draws = False
        sizes = [shape.batch] * (shape.batches - 1) + [shape.last]
        values = [gain for gain, size in zip(gains, sizes, strict=True) for _ in range(size)]
        self.gains = torch.tensor(values, dtype=torch.float64)
        values = [gain for gain, size in zip(judged, sizes, strict=True) for _ in range(size)]
        self.judged = torch.tensor(values, dtype=torch.float64)
        self.owners = torch.tensor([place for place, size in enumerate(sizes) for _ in range(size)])
        self.dataset, self.validation = self.data(0), self.data(shape.items)
        self.models: list[torch.nn.Module] = []
        self.optimizers: list[int] = []
        self.schedulers: list[tuple[Any, Schedule]] = []

    def data(self, start: int) -> torch.utils.data.TensorDataset:
        """Items of the world, by their numbers."""
        numbers = torch.arange(start, start + self.shape.items, dtype=torch.float64)
        return torch.utils.data.TensorDataset(numbers[:, None], torch.zeros(self.shape.items, dtype=torch.long))

    # ------------------------------------------------------------ what a program is given

    def things(self) -> dict[str, Any]:
        model = self.model()
        generator, critic = _Generator(self.gains), _Critic(self.gains)
        self.models += [generator, critic]
        rows = [{"inputs": inputs, "labels": int(target)} for inputs, target in zip(*self.dataset.tensors, strict=True)]
        return {
            "train_dataset": rows,
            "generator": generator,
            "critic": critic,
            "optimizer_g": torch.optim.SGD(generator.parameters(), lr=0.1),
            "optimizer_d": torch.optim.SGD(critic.parameters(), lr=0.1),
            "model": model,
            "loader": self.loader(),
            "val_loader": torch.utils.data.DataLoader(self.validation, batch_size=self.shape.batch),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
            "criterion": torch.nn.CrossEntropyLoss(),
            "scaler": _Scaler(),
            "writer": self.writer(),
            "args": types.SimpleNamespace,
            "fit": self.fit,
        }

    def model(self) -> _Model:
        model = _Model(self, parts=self.parts)
        note = lambda _: self.record.backwards.append(self.visit)  # noqa: E731
        model.backbone.gain.register_hook(note)  # type: ignore[no-untyped-call]
        self.models.append(model)
        return model

    def loader(self) -> Any:
        return torch.utils.data.DataLoader(self.dataset, batch_size=self.shape.batch)

    def writer(self, *_: Any, **__: Any) -> Any:
        return types.SimpleNamespace(
            add_scalar=lambda _tag, value, *_: self.show(_caller(), [value]), close=lambda: None, flush=lambda: None
        )

    def fit(self, module: Any) -> None:
        """Trains a LightningModule for one pass."""
        lightning = importlib.import_module("lightning")

        def log(_name: str, value: Any, *_: Any, **__: Any) -> None:
            self.show(_caller(), [value])

        module.log = log
        quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        if module.automatic_optimization:
            quiet["accumulate_grad_batches"] = self.window
        trainer = lightning.Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, **quiet)
        trainer.fit(module, self.loader())

    # ------------------------------------------------------------ what it does

    def judge(self, training: bool) -> None:
        if not torch.is_grad_enabled():
            self.record.judged.append(training)

    def train(self, item: int, training: bool) -> None:
        self.record.trained.append(training)
        if not self.draws:
            self.seen(int(self.owners[item]))

    def seen(self, place: int) -> None:
        if place <= self.last:
            self.passage += 1
        self.last = place
        self.visit = self.passage * self.shape.batches + place

    def walk(self, loader: Any) -> Iterator[Any]:
        """One pass over a loader, whose batches begin when they are drawn."""
        for place, batch in enumerate(_LOADER_ITER(loader)):
            if loader.dataset is self.dataset:
                self.seen(place)
            yield batch

    def loss(self, outputs: torch.Tensor, *_: Any, reduction: str = "mean", **__: Any) -> torch.Tensor:
        self.record.reductions.add(reduction)
        reduced = outputs.mean() if reduction == "mean" else outputs.sum() if reduction == "sum" else outputs * 1.0
        graph: Any = reduced.grad_fn
        if graph is not None:
            sentinel = _Sentinel()
            graph.metadata["losslint"] = sentinel
            self.alive.append((self.visit, weakref.ref(sentinel)))
            del sentinel, graph
            alive = {visit for visit, ref in self.alive if ref() is not None}
            self.record.retained = max(self.record.retained, len(alive))
        return reduced

    def before_step(self, optimizer: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Notes what a step finds; where it is given a closure, after the closure has run."""
        closure = options.get("closure", arguments[1] if len(arguments) > 1 else None)
        if closure is None:
            self.note_step(optimizer)
            return None

        def noted() -> Any:
            value = closure()
            self.note_step(optimizer)
            return value

        return (arguments[0],), {"closure": noted}

    def note_step(self, optimizer: Any) -> None:
        gain = next((p for group in optimizer.param_groups for p in group["params"]), None)
        if gain is None:
            return
        weights = torch.zeros(self.shape.batches, dtype=torch.float64)
        if gain.grad is not None:
            weights.index_add_(0, self.owners, gain.grad.double())
        if id(optimizer) not in self.optimizers:
            self.optimizers.append(id(optimizer))
        number = self.optimizers.index(id(optimizer))
        self.record.steps.append(Step(self.visit, tuple(weights.tolist()), number))

    def after_step(self, *_: Any) -> None:
        # what was learnt is forgotten: the gains say what the loss is
        for parameter in self.parameters():
            parameter.data.copy_(self.gains)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        for model in self.models:
            yield from model.parameters()

    def clip(self, parameters: Any, *_: Any, **__: Any) -> torch.Tensor:
        """In place of clipping: the weights have to be seen as they are, or all times the same number."""
        given = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
        gradients = [parameter.grad for parameter in given if parameter.grad is not None]
        largest = max((float(gradient.abs().max()) for gradient in gradients), default=0.0)
        self.record.clips.append(Clip(largest > SCALE**0.5, len(given)))
        for gradient in gradients:
            gradient.mul_(self.clipped_to)
        return torch.tensor(largest)

    def backward(self, tensors: Any, *arguments: Any, **options: Any) -> None:
        """A backward, and which part of the value that it starts from comes from the parameters: as each loss is a sum
        of gains, that is the gradient times the gains."""
        before = self.reached()
        _BACKWARD(tensors, *arguments, **options)
        value = float(tensors.detach()) if isinstance(tensors, torch.Tensor) and tensors.numel() == 1 else 0.0
        parts = [after - earlier for after, earlier in zip(self.reached(), before, strict=True)]
        if value and parts:
            self.record.shares.append(max(parts) / value)

    def reached(self) -> list[float]:
        gradients = [parameter.grad for parameter in self.parameters()]
        return [0.0 if gradient is None else float(gradient.double() @ self.gains) for gradient in gradients]

    def schedule(self, scheduler: Any, *arguments: Any, **options: Any) -> None:
        """A step of a scheduler; the one with which it starts by itself is none of the program's."""
        if sys._getframe(2).f_code.co_filename == "<program>":
            found = next((schedule for known, schedule in self.schedulers if known is scheduler), None)
            if found is None:
                optimizer = scheduler.optimizer
                self.record.rate = optimizer.param_groups[0]["lr"] / optimizer.defaults["lr"]
                horizon = next((vars(scheduler)[name] for name in _HORIZONS if name in vars(scheduler)), None)
                found = Schedule(horizon, 0, not self.record.steps)
                self.schedulers.append((scheduler, found))
            found.steps += 1
        _SCHEDULE(scheduler, *arguments, **options)

    # ------------------------------------------------------------ what it shows

    def show(self, line: int, values: Any) -> None:
        numbers = tuple(_numbers(values))
        if numbers:
            self.record.shown.append(Shown(line, self.visit, numbers))

    def print(self, *values: Any, **_: Any) -> None:
        self.show(_caller(), list(values))


def _numbers(value: Any) -> Iterator[float]:
    """Every number in a value that is shown, in reading order."""
    if isinstance(value, str):
        yield from (float(found) for found in _NUMBER.findall(value))
    elif isinstance(value, torch.Tensor):
        yield from (float(part) for part in value.detach().double().flatten())
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _numbers(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)
    elif hasattr(value, "item"):
        yield float(value.item())


def _caller() -> int:
    """The line of the program that is running."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != "<program>":
        frame = frame.f_back  # type: ignore[assignment]
    return frame.f_lineno if frame is not None else 0


class _Handler(logging.Handler):
    def __init__(self, show: Callable[[int, Any], None]) -> None:
        super().__init__()
        self.show = show

    def emit(self, record: logging.LogRecord) -> None:
        if record.pathname == "<program>":
            self.show(record.lineno, [record.getMessage()])


_QUIET = {
    "use_cpu": True,
    "report_to": [],
    "save_strategy": "no",
    "logging_strategy": "no",
    "max_grad_norm": 0.0,
    "remove_unused_columns": False,
}
_LOADER_INIT = torch.utils.data.DataLoader.__init__
_LOADER_ITER = torch.utils.data.DataLoader.__iter__
_BACKWARD = torch.autograd.backward
_SCHEDULE = torch.optim.lr_scheduler.LRScheduler.step
_HORIZONS = ("T_max", "total_steps", "total_iters")


def _in_order(loader: Any, *arguments: Any, **options: Any) -> None:
    """A loader keeps its order, whatever the program asks for: a place in the data is a batch."""
    options |= {name: None for name in ("shuffle", "sampler") if name in options}
    _LOADER_INIT(loader, *arguments, **options)


@contextmanager
def _patched(world: _World, text: str) -> Iterator[None]:
    """Losses, clips, scalers, loaders and whatever is not installed, as the world has them."""
    modules = {
        "models": types.SimpleNamespace(Net=world.model),
        "data": types.SimpleNamespace(train_set=world.dataset, val_set=world.validation),
        "wandb": types.SimpleNamespace(log=lambda values, *_, **__: world.show(_caller(), values)),
    }
    replaced: list[tuple[Any, str, Any]] = [(torch.nn.functional, name, world.loss) for name in _LOSSES]
    replaced += [(torch.nn.utils, name, world.clip) for name in ("clip_grad_norm_", "clip_grad_value_")]
    replaced += [(torch.cuda.amp, "GradScaler", _Scaler), (torch.amp, "GradScaler", _Scaler)]
    replaced += [(torch.utils.data.DataLoader, "__init__", _in_order)]
    if not any(name in text for name in ("accelerate", "lightning", "transformers")):
        # frameworks draw ahead: there, a batch begins with its forward pass
        world.draws = True
        replaced += [(torch.utils.data.DataLoader, "__iter__", lambda loader: world.walk(loader))]
    # a function, and no bound method: it stands in a class
    scheduled: Any = lambda scheduler, *given, **options: world.schedule(scheduler, *given, **options)  # noqa: E731
    replaced += [(torch.autograd, "backward", world.backward)]
    replaced += [(torch.optim.lr_scheduler.LRScheduler, "step", scheduled)]
    replaced += [(torch.utils, "tensorboard", types.SimpleNamespace(SummaryWriter=world.writer))]
    handler = _Handler(world.show)
    logger = logging.getLogger("__main__")
    with ExitStack() as stack:
        change = stack.enter_context
        # before anything is replaced: what they import is the real thing
        replaced += change(_frameworks(text))
        change(_importable(modules))
        change(mock.patch.object(sys, "argv", ["train.py"]))
        for owner, name, value in replaced:
            change(mock.patch.object(owner, name, value, create=name == "tensorboard"))
        hooks = (
            register_optimizer_step_pre_hook(world.before_step),
            register_optimizer_step_post_hook(world.after_step),
        )
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            for hook in hooks:
                hook.remove()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, no progress bars, and no reports of a framework."""
    with (
        open(os.devnull, "w") as nowhere,
        redirect_stderr(nowhere),
        redirect_stdout(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _importable(modules: Mapping[str, Any]) -> Iterator[None]:
    """What the program may import from its own project; other modules that it imports stay."""
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


@contextmanager
def _frameworks(text: str) -> Iterator[list[tuple[Any, str, Any]]]:
    """The frameworks that a program uses, quiet and without state of an earlier run; what they clip with is left out,
    as the weights have to be seen as they are."""
    replaced: list[tuple[Any, str, Any]] = []
    if "lightning" in text:
        lightning = importlib.import_module("lightning")
        for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
        replaced.append((lightning.Fabric, "clip_gradients", lambda *_, **__: None))
    if "transformers" in text:
        transformers = importlib.import_module("transformers")
        arguments = partial(transformers.TrainingArguments, **_QUIET)
        in_order = lambda trainer, *_: torch.utils.data.SequentialSampler(trainer.train_dataset)  # noqa: E731
        replaced += [(transformers, "TrainingArguments", arguments)]
        replaced += [(transformers.Trainer, "_get_train_sampler", in_order)]
    elif "accelerate" not in text:
        yield replaced
        return
    accelerate = importlib.import_module("accelerate")
    for name in ("clip_grad_norm_", "clip_grad_value_"):
        replaced.append((accelerate.Accelerator, name, lambda *_, **__: None))
    with mock.patch.dict(os.environ, {"ACCELERATE_USE_CPU": "true"}):
        try:
            yield replaced
        finally:
            accelerate.state.AcceleratorState._reset_state(True)
            accelerate.state.GradientState._reset_state()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Ends what runs too long, where signals can be had."""

    def stop(*_: Any) -> None:
        raise _TooLongError

    try:
        before = signal.signal(signal.SIGALRM, stop)
    except ValueError:
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
