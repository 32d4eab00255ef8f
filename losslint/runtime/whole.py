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
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass, field
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
    """One optimizer step: at which batch (a number that counts on over all passes, whole as they are), and the weight
    that each batch of the data has in it, by its place."""

    visit: int
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A line that shows numbers to a person, at which batch, and the numbers; line 0 is what was returned."""

    line: int
    visit: int
    numbers: tuple[float, ...]


@dataclass(slots=True)
class Record:
    """What one run did. `clips`: whether the gradients carried the AMP scale, at each clip. `retained`: the most
    batches whose graphs were alive together. `reductions`: how the losses were reduced. `backwards`: the batch of each
    backward. `error`: the exception that ended the run."""

    steps: list[Step] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    clips: list[bool] = field(default_factory=list)
    retained: int = 0
    reductions: set[str] = field(default_factory=set)
    backwards: list[int] = field(default_factory=list)
    visits: int = 0
    error: str = ""


class _TooLongError(BaseException):
    pass


class _Model(torch.nn.Module):
    """Gives the gain of each item that it is handed, and tells the world which batch that was."""

    def __init__(self, gains: torch.Tensor, seen: Callable[[int], None]) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(gains.clone())
        self.seen = seen

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        index = inputs[:, 0].long()
        self.seen(int(index[0]))
        return self.gain[index]


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
) -> Record:
    """Runs `text` and then `entry`, the loss of every item of batch `b` being `gains[b]`. `window` is for frameworks
    that own the loop.

    An exception of the program ends the run and stands in the record; so does a run of more than `limit` seconds.
    """
    world = _World(shape, gains, window)
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
    return world.record


def use_one_thread() -> None:
    """Keeps torch from using more processors than one: the programs are tiny, and many run beside one another."""
    torch.set_num_threads(1)


class _World:
    def __init__(self, shape: Shape, gains: Sequence[float], window: int) -> None:
        self.shape = shape
        self.window = window
        self.record = Record()
        self.visit = -1
        self.last = -1
        self.passage = 0
        self.alive: list[Any] = []
        sizes = [shape.batch] * (shape.batches - 1) + [shape.last]
        values = [gain for gain, size in zip(gains, sizes, strict=True) for _ in range(size)]
        self.gains = torch.tensor(values, dtype=torch.float64)
        self.owners = torch.tensor([place for place, size in enumerate(sizes) for _ in range(size)])
        self.dataset = torch.utils.data.TensorDataset(
            torch.arange(shape.items, dtype=torch.float64)[:, None], torch.zeros(shape.items, dtype=torch.long)
        )
        self.models: list[_Model] = []

    # ------------------------------------------------------------ what a program is given

    def things(self) -> dict[str, Any]:
        model = self.model()
        return {
            "model": model,
            "loader": self.loader(),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
            "criterion": torch.nn.CrossEntropyLoss(),
            "scaler": _Scaler(),
            "writer": self.writer(),
            "args": types.SimpleNamespace,
            "fit": self.fit,
        }

    def model(self) -> _Model:
        model = _Model(self.gains, self.seen)
        model.gain.register_hook(lambda _: self.record.backwards.append(self.visit))  # type: ignore[no-untyped-call]
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

    def seen(self, item: int) -> None:
        place = int(self.owners[item])
        if place <= self.last:
            self.passage += 1
        self.last = place
        self.visit = self.passage * self.shape.batches + place

    def loss(self, outputs: torch.Tensor, *_: Any, reduction: str = "mean", **__: Any) -> torch.Tensor:
        self.record.reductions.add(reduction)
        reduced = outputs.mean() if reduction == "mean" else outputs.sum() if reduction == "sum" else outputs * 1.0
        graph: Any = reduced.grad_fn
        if graph is not None:
            sentinel = _Sentinel()
            graph.metadata["losslint"] = sentinel
            self.alive.append(weakref.ref(sentinel))
            del sentinel, graph
            self.record.retained = max(self.record.retained, sum(ref() is not None for ref in self.alive))
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
        self.record.steps.append(Step(self.visit, tuple(weights.tolist())))

    def after_step(self, *_: Any) -> None:
        # what was learnt is forgotten: the gains say what the loss is
        for model in self.models:
            model.gain.data.copy_(self.gains)

    def clip(self, parameters: Any, *_: Any, **__: Any) -> torch.Tensor:
        """In place of clipping: the weights have to be seen as they are."""
        given = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
        sizes = [parameter.grad.abs().max() for parameter in given if parameter.grad is not None]
        largest = max((float(size) for size in sizes), default=0.0)
        self.record.clips.append(largest > SCALE**0.5)
        return torch.tensor(largest)

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


_LOADER_INIT = torch.utils.data.DataLoader.__init__


def _in_order(loader: Any, *arguments: Any, **options: Any) -> None:
    """A loader keeps its order, whatever the program asks for: a place in the data is a batch."""
    if options.get("shuffle"):
        options["shuffle"] = False
    _LOADER_INIT(loader, *arguments, **options)


@contextmanager
def _patched(world: _World, text: str) -> Iterator[None]:
    """Losses, clips, scalers, loaders and whatever is not installed, as the world has them."""
    modules = {
        "models": types.SimpleNamespace(Net=world.model),
        "data": types.SimpleNamespace(train_set=world.dataset),
        "wandb": types.SimpleNamespace(log=lambda values, *_, **__: world.show(_caller(), values)),
    }
    replaced: list[tuple[Any, str, Any]] = [(torch.nn.functional, name, world.loss) for name in _LOSSES]
    replaced += [(torch.nn.utils, name, world.clip) for name in ("clip_grad_norm_", "clip_grad_value_")]
    replaced += [(torch.cuda.amp, "GradScaler", _Scaler), (torch.amp, "GradScaler", _Scaler)]
    replaced += [(torch.utils.data.DataLoader, "__init__", _in_order)]
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
    """No warnings and no progress bars."""
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere), warnings.catch_warnings():
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
    if "accelerate" not in text:
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
