"""The tiny world: a vector `gain` on the device, of which each entry *is* the loss of one item.

After backward the gradient of an entry is the weight with which that item entered: nothing is approximated and no
model is needed. Every optimizer has a vector of its own, so that two of them can be told apart; a batch's loss is the
first one's entries plus zeros that only carry the others' gradients.
"""

from __future__ import annotations

import re
import sys
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from losslint.runtime.instrument import HOOK
from losslint.runtime.ledger import BatchUse, Event, FigureRow, Ledger, StepRow
from losslint.runtime.ledger import Shape as WorldShape
from losslint.runtime.objects import Loader, Optimizer, Scaler
from losslint.runtime.things import DATA, DETACHED, MASK, OUT, Thing, batch_of

CAPACITY = 2048
"""Items that a run may draw."""
SCALE = 1024.0
"""The AMP scale at the start of a run."""
LOG = 3
"""Batches in a logging interval."""


class _Mark:
    """Lives as long as the graph that it hangs on."""

    __slots__ = ("__weakref__",)


class _Gain(torch.nn.Parameter):
    """A vector of losses. Code that freezes parts of its model does not mean it."""

    requires_grad = property(lambda self: True, lambda self, wanted: None)

    def requires_grad_(self, requires_grad: bool = True) -> _Gain:
        """Itself, as it is."""
        return self


class _Blurred(torch.autograd.Function):
    """A loss that has been scaled by something unknown."""

    @staticmethod
    def forward(context: Any, value: torch.Tensor, one: World, what: str) -> torch.Tensor:
        context.one, context.what = one, what
        return value.clone()

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> Any:
        context.one.taint(context.what)
        return *gradients, None, None


class Enough(BaseException):
    """The run has shown all that it needs to show."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was drawn: its number in the run, its pass and place in it, its items `start … start + items`."""

    number: int
    loader: str
    passage: int
    place: int
    start: int
    items: int

    def part(self, start: int, stop: int) -> Batch:
        """A piece of it."""
        stop = min(stop, self.items)
        return replace(self, start=self.start + min(start, stop), items=max(0, stop - start))


@dataclass(frozen=True, slots=True)
class Settings:
    """One experiment. `doubled`: all losses are 2 instead of 1; `raised`: the places of a pass whose losses are 2;
    `uneven`: batches hold different numbers of items that count; `validation`: batches in a validation pass;
    `foreign`: the loss on the other process; `forced`: the outcome wanted of a condition, by place; `once`: a
    condition that is true on one step only; `given`: parameters whose default is None are given; `scale`: the AMP
    scale; `own`: windows and intervals have the numbers that the code gives them; `falling`: losses fall from batch to
    batch, as they do in training."""

    shape: WorldShape
    log: int = LOG
    doubled: bool = False
    raised: frozenset[int] = frozenset()
    uneven: bool = False
    validation: int = 0
    foreign: float = 0.0
    forced: tuple[tuple[int, bool], ...] = ()
    once: int | None = None
    given: bool = False
    scale: float = SCALE
    own: bool = False
    falling: bool = False


class World:
    """One run: what was drawn, what was backpropagated, stepped on and shown."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self.ledger = Ledger(settings.shape)
        self.gains: list[torch.nn.Parameter] = []
        self.kept: dict[str, Optimizer] = {}
        self.owned = False
        self.optimizers: weakref.WeakValueDictionary[str, Optimizer] = weakref.WeakValueDictionary()
        self.scaler: Scaler | None = None
        self.batches: list[Batch] = []
        self.passages: dict[str, int] = {}
        self.drawn = 0
        self.tick = 0
        self.drawn_tick = -1
        self.loaders: dict[str, Loader] = {}
        self.closures = 0
        self.figures: dict[tuple[int, str], tuple[list[float], list[int]]] = {}
        self.foreign_calls = 0
        self.values = torch.ones(CAPACITY)
        self.polarity = False
        self.sourcing = ""
        self.depth = 0
        self.asked = 0
        self.roles: Any = None
        self.dictionaries: set[int] = set()
        self.stand_in: Any = None
        self.marks: dict[Any, int] = {}
        self.fresh: list[tuple[torch.Tensor, Any, float]] = []

    # ------------------------------------------------------------ notes

    @property
    def line(self) -> int:
        """The line of the user's that is running; 0 where none is."""
        frame = sys._getframe(1)
        while HOOK not in frame.f_globals:
            if frame.f_back is None:
                return 0
            frame = frame.f_back
        return frame.f_lineno

    def taint(self, what: str) -> None:
        """Scales can no longer be trusted."""
        if what not in self.ledger.taints:
            self.ledger.taints.append(what)

    def blur(self, value: torch.Tensor, what: str) -> Any:
        """The loss, of which the scale is not known from here on; gradients cannot be trusted once they go there."""
        if what not in self.ledger.blurs:
            self.ledger.blurs.append(what)
        return _Blurred.apply(value, self, what)  # type: ignore[no-untyped-call]

    def assume(self, what: str) -> None:
        """Something was put in a real object's place, or taken for granted."""
        if what not in self.ledger.assumes and len(self.ledger.assumes) < 40:
            self.ledger.assumes.append(what)

    def event(self, kind: str, value: float = 1.0) -> None:
        """Something happened at the line that is running."""
        self.ledger.events.append(Event(kind, self.line, self.drawn, value))

    def unknown(self, natural: bool) -> bool:
        """An unknown truth: as it would be, or the other way round when the world looks at the other way."""
        self.asked += 1
        return not natural if self.polarity else natural

    # ------------------------------------------------------------ batches

    def sizes(self, loader: str) -> list[int]:
        """The items of each batch in a pass over a loader."""
        shape = self.settings.shape
        count = self.settings.validation if self.settings.validation and is_validation(loader) else shape.batches
        return [shape.batch_size] * (count - 1) + [shape.last_batch]

    def samples(self, name: str) -> int:
        """The samples of a data set, or of what a sampler takes of it."""
        sizes = self.sizes(name)
        return sum(sizes[: max(1, len(sizes) // 2)] if "sampler" in name.lower() else sizes)

    def new_passage(self, loader: str) -> int:
        """The number of a new pass over a loader, from 1."""
        self.passages[loader] = self.passages.get(loader, 0) + 1
        return self.passages[loader]

    def new_batch(self, loader: str, passage: int, place: int, items: int) -> Thing:
        """Draws a batch."""
        self._look_back()
        start = self.batches[-1].start + self.batches[-1].items if self.batches else 0
        if passage > 1 and not self.ledger.first_pass:
            self.ledger.first_pass = self.drawn
        if start + items > CAPACITY:
            raise Enough
        batch = Batch(self.drawn, loader, passage, place, start, items)
        self.batches.append(batch)
        self.drawn += 1
        self.drawn_tick = self.tick
        value = 2.0 if self.settings.doubled or place in self.settings.raised else 1.0
        if self.settings.falling:
            value = falling(batch.number)
        if value != 1.0:
            for gain in self.gains:
                with torch.no_grad():
                    gain[start : start + items] = value
            self.values[start : start + items] = value
        return Thing("batch", DATA, batch)

    def draw(self, name: str) -> Thing:
        """The next batch of an endless source."""
        loader = self.loaders.setdefault(name, Loader(self, name))
        batch: Thing = next(loader)
        return batch

    def windows(self, name: str) -> Iterator[list[Any]]:
        """The windows of a source of windows: lists of micro-batches."""
        shape = self.settings.shape
        loader = self.role_loader(name)
        self.assume(f"`{name}` gives windows of micro-batches")
        for _ in range(shape.batches // shape.window):
            yield [next(loader) for _ in range(shape.window)]

    def current(self) -> Batch:
        """The batch of this iteration: the one that was drawn last, or a new one where the iteration drew none."""
        if not self.batches or self.drawn_tick != self.tick:
            thing = self.draw("data")
            assert thing._batch is not None
            return thing._batch
        return self.batches[-1]

    def items(self, batch: Batch | None) -> int:
        """The items of a batch; without one, those of the batch of this iteration or of a full one."""
        if batch is not None:
            return batch.items
        if self.batches and self.drawn_tick == self.tick:
            return self.batches[-1].items
        return self.settings.shape.batch_size

    def valid(self, batch: Batch | None) -> int:
        """The items of a batch that count."""
        batch = batch or self.current()
        return _counting(batch) if self.settings.uneven else batch.items

    def mask(self, batch: Batch | None, like: torch.Tensor) -> torch.Tensor:
        """Ones for the items that count."""
        batch = batch or self.current()
        mask = torch.zeros_like(like)
        mask[: _counting(batch) if self.settings.uneven else len(like)] = 1
        return mask.detach()

    # ------------------------------------------------------------ losses

    def new_gain(self) -> torch.nn.Parameter:
        """A vector for one more optimizer. The first is the world's own; those of optimizers that are gone are too."""
        alive = [optimizer.gain for optimizer in self.optimizers.values()]
        self.gains[1:] = [gain for gain in self.gains[1:] if any(gain is other for other in alive)]
        if self.gains and not any(self.gains[0] is other for other in alive):
            if self.owned:
                self.gains[0].grad = None
            self.owned = True
            return self.gains[0]
        self.owned = True
        values = self.values.to(self.device, copy=True)
        self.gains.append(_Gain(values))
        return self.gains[-1]

    def losses(self, batch: Batch | None) -> torch.Tensor:
        """The losses of a batch's items."""
        batch = batch or self.current()
        if not self.gains:
            self.gains.append(_Gain(self.values.to(self.device, copy=True)))
        span = slice(batch.start, batch.start + batch.items)
        value = self.gains[0][span]
        for gain in self.gains[1:]:
            value = value + (gain[span] - gain[span].detach())
        if value.grad_fn is not None:
            mark = _Mark()
            marks: Any = value.grad_fn.metadata
            marks["mark"] = mark
            self.marks[weakref.ref(mark)] = batch.number
        return value

    def made(self, loss: torch.Tensor) -> torch.Tensor:
        """Remembers a loss, to see whether it is still what it was when the next batch is drawn."""
        if loss.dim() == 0 and loss.requires_grad:
            self.fresh.append((loss, loss.grad_fn, float(loss.detach())))
        return loss

    def _look_back(self) -> None:
        """Counts the graphs of past batches that are still alive, and the losses that another name changed."""
        for loss, origin, value in self.fresh:
            if value and loss.grad_fn is origin and float(loss.detach()) != value:
                self.ledger.changed = float(loss.detach()) / value
        self.fresh.clear()
        self.marks = {mark: number for mark, number in self.marks.items() if mark() is not None}
        self.ledger.graphs = max(self.ledger.graphs, len(set(self.marks.values())))

    def criterion(self, name: str, arguments: Sequence[Any], options: dict[str, Any], default: str = "mean") -> Any:
        """A loss function: the losses of its batch, reduced as the code asks."""
        batch = batch_of(*arguments, *options.values())
        losses = self.losses(batch)
        kinds = [value._kind for value in (*arguments, *options.values()) if isinstance(value, Thing)]
        if kinds and kinds[0] in (DETACHED, MASK) and OUT not in kinds:
            losses = losses.detach()
        reduction = options.get("reduction", default)
        if options.get("size_average") is False:
            reduction = "sum"
        if options.get("reduce") is False:
            reduction = "none"
        weights = torch.ones_like(losses)
        self.ledger.reductions.add(str(reduction))
        if self.settings.uneven and options.get("ignore_index") is not None:
            weights = self.mask(batch, losses)
        elif self.settings.uneven and options.get("weight") is not None:
            weights = weights + 2 * (torch.arange(len(losses), device=losses.device) < self.valid(batch))
        if reduction == "sum":
            return self.made((losses * weights).sum())
        if reduction == "none":
            return losses * weights
        if reduction not in ("mean", "batchmean", "elementwise_mean"):
            self.assume(f"`{name}` reduces to a mean")
        return self.made((losses * weights).sum() / weights.sum() if self.settings.uneven else losses.mean())

    # ------------------------------------------------------------ gradients

    def backward(self, loss: Any, *arguments: Any, **options: Any) -> None:
        """Backpropagates, and notes which batches the gradient changed for."""
        if isinstance(loss, Thing):
            loss = loss._loss()
        if isinstance(loss, (list, tuple)):
            for one in loss:
                self.backward(one, *arguments, **options)
            return
        if not isinstance(loss, torch.Tensor):
            raise TypeError("backward of something that is no loss")
        self.made(loss)
        options.pop("retain_graph", None)
        before = [None if gain.grad is None else gain.grad.clone() for gain in self.gains]
        self.ledger.backwards += 1
        if self.ledger.backwards > 600:
            raise Enough
        total: Any = loss.sum() if loss.dim() else loss
        self.event("backward", float(total.detach()))
        if not total.requires_grad:
            self.event("dead")
        torch.autograd.backward(total, retain_graph=True)
        moved = max(map(_moved, before, self.gains), key=abs, default=0.0)
        self.event("gradient" if moved else "dead", moved)
        for optimizer in self.optimizers.values():
            place = next(i for i, gain in enumerate(self.gains) if gain is optimizer.gain)
            for number in self._changed(before[place], optimizer.gain.grad):
                self.ledger.trained.add(number)
                if number not in optimizer.pending:
                    optimizer.pending.append(number)

    def _changed(self, before: torch.Tensor | None, after: torch.Tensor | None) -> list[int]:
        if after is None:
            return []
        moved = after if before is None else after - before
        return [batch.number for batch in self.batches if bool(moved[batch.start : batch.start + batch.items].any())]

    def optimizer(self, name: str) -> Optimizer:
        """The optimizer of a name."""
        if name not in self.optimizers:
            self.optimizers[name] = self.kept[name] = Optimizer(self, name)
        return self.optimizers[name]

    def new_optimizer(self, name: str) -> Optimizer:
        """One more optimizer, which lives as long as the code keeps it."""
        count = sum(known == name or known.startswith(f"{name} ") for known in list(self.optimizers))
        made = Optimizer(self, f"{name} {count + 1}" if count else name)
        self.optimizers[made.name] = made
        return made

    def stepped(self, optimizer: Optimizer) -> None:
        """Writes a step into the ledger."""
        self.event("step")
        fresh, stale = [], []
        if optimizer.gain.grad is not None:
            gradient = optimizer.gain.grad.detach().double().cpu()
            for batch in self.batches:
                weights = tuple(gradient[batch.start : batch.start + batch.items].tolist())
                if batch.number in optimizer.pending and not any(weights):
                    optimizer.lost.append(batch.number)
                elif batch.number in optimizer.pending:
                    fresh.append(BatchUse(batch.number, batch.passage, batch.place, weights))
                elif any(weights):
                    stale.append(BatchUse(batch.number, batch.passage, batch.place, weights))
        through = self.scaler is not None and self.scaler.stepping
        row = StepRow(optimizer.name, self.line, through, tuple(fresh), tuple(stale), tuple(optimizer.lost), self.drawn)
        self.ledger.steps.append(row)
        optimizer.pending = []
        optimizer.lost = []
        if len(self.ledger.steps) > 240:
            raise Enough

    def zeroed(self, optimizer: Optimizer) -> None:
        """Notes what a zeroing throws away."""
        self.event("zero")
        optimizer.lost += optimizer.pending
        optimizer.pending = []

    def zero_all(self) -> None:
        """`model.zero_grad()`."""
        for optimizer in self.optimizers.values():
            self.zeroed(optimizer)
        for gain in self.gains:
            gain.grad = None

    def clipped(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """A clip: the gradient is measured, and left as it is; with a bound at infinity nothing else is meant."""
        total = sum(float(gain.grad.double().sum()) for gain in self.gains if gain.grad is not None)
        bounds = [value for value in (*arguments, *options.values()) if isinstance(value, float)]
        self.event("norm" if float("inf") in bounds else "clip", total)
        return torch.tensor(abs(total))

    def new_scaler(self, enabled: Any = True) -> Scaler:
        """A gradient scaler."""
        known = self.scaler
        if known is None or known.is_enabled() != (enabled is not False):
            known = self.scaler = Scaler(self, enabled is not False)
        return known

    # ------------------------------------------------------------ figures

    def figure(self, place: int, name: str, value: float) -> None:
        """Notes a value that passed a place, under a name where there are several."""
        values, at = self.figures.setdefault((place, name), ([], []))
        if len(values) < 500:
            values.append(value)
            at.append(self.drawn)

    def close(self, places: Sequence[Any]) -> Ledger:
        """The ledger of the run."""
        self._look_back()
        self.ledger.first_pass = self.ledger.first_pass or self.drawn
        self.ledger.closures = self.closures
        self.ledger.optimizers = len({step.optimizer for step in self.ledger.steps})
        self.ledger.figures = [
            FigureRow(place.line, place.column, place.kind, f"{place.text} {name}".strip(), tuple(v), tuple(at))
            for place, name, (v, at) in ((places[key], name, row) for (key, name), row in self.figures.items())
        ]
        return self.ledger

    # ------------------------------------------------------------ calls of unknown things

    def role_loader(self, name: str) -> Loader:
        """The loader of a name."""
        return self.loaders.setdefault(name, Loader(self, name))

    def model(self) -> Any:
        """The model that every unknown model is."""
        if self.stand_in is None:
            from losslint.runtime.bases import Module

            self.stand_in = Module()
        return self.stand_in

    def role(self, name: str, owner: str = "") -> Any:
        """What a name stands for."""
        return self.roles(self, name, owner)

    def base_class(self, name: str) -> type:
        """A class to derive from, in place of one that is out of reach."""
        from losslint.runtime.bases import base_class

        return base_class(self, name)

    def call(self, thing: Thing, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """A call of a thing."""
        from losslint.runtime.calls import call_thing

        return call_thing(self, thing, arguments, options)

    def function(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """A function of torch that got a thing."""
        from losslint.runtime.calls import call_function

        return call_function(self, name, arguments, options)


def _moved(before: torch.Tensor | None, gain: torch.nn.Parameter) -> float:
    """What a backward added to the gradient of a vector, over all items."""
    if gain.grad is None:
        return 0.0
    return float((gain.grad if before is None else gain.grad - before).double().sum())


def falling(number: int) -> float:
    """The loss of the batch of a number where losses fall: from 3 towards 1."""
    return 1 + 2 * 0.93**number


def is_validation(name: str) -> bool:
    """Whether a name speaks of data that is not trained on."""
    return bool(_VALIDATION.search(name))


_VALIDATION = re.compile(r"(?<![a-z])(val(?!u)|valid|eval|dev(?!ic)|test)", re.I)


def _counting(batch: Batch) -> int:
    """How many items of a batch count where batches are uneven: 1, 2, 3, 4 from batch to batch."""
    return min(batch.items, 1 + batch.number % 4)
