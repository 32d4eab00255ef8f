"""What a run showed of the code itself: how its conditions came out, what its loops ran over, what its names held.

A script of a finding is cut along these notes. What a name held is noted in the words of the script, where it stands
for a few things only: `Loader()`, `Model()`, `Anything()`.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from losslint.runtime.bases import Module
from losslint.runtime.bench import Bench
from losslint.runtime.frameworks import Accelerator, Engine
from losslint.runtime.ledger import OVER_BATCHES, OVER_DRAWS, OVER_PLAIN, OVER_ROUNDS, Recording
from losslint.runtime.machine import Hooks, known_name, run
from losslint.runtime.objects import Loader, Optimizer, Scaler
from losslint.runtime.outline import is_lossy
from losslint.runtime.roles import Criterion, Meter
from losslint.runtime.schedulers import Scheduler
from losslint.runtime.slicing import Program
from losslint.runtime.things import DATASET, MODEL, OF_BATCH, Thing
from losslint.runtime.world import World, is_validation

_NAME = re.compile(r"[A-Za-z_]\w*")
_MOST_ELEMENTS = 8
_DEEPEST = 3
OWN_DATA = "data"
"""The loader of batches that no loader of the code's gives."""


def recording(bench: Bench) -> Recording:
    """The notes on one more run of a bench."""
    made: list[_Recorder] = []

    def hooks(world: World, program: Program) -> Hooks:
        made.append(_Recorder(world, program, bench.base.steps[0].optimizer if bench.base.steps else ""))
        return made[-1]

    run(bench.program, bench.code, bench.entry, bench.settings, bench.device, made=hooks)
    return made[0].notes()


class _Told(str):
    """A value in the words of the script."""


class _Recorder(Hooks):
    """The hooks, which also note what comes of them."""

    def __init__(self, world: World, program: Program, stepping: str) -> None:
        super().__init__(world, program)
        self.stepping = stepping
        self.words = frozenset(_NAME.findall(program.text))
        self.outcomes: dict[int, set[bool]] = {}
        self.rounds: dict[int, tuple[int, str]] = {}
        self.bound: dict[int, Any] = {}
        self.forced: set[int] = set()
        self.skipped: set[int] = set()
        self.namespace: dict[str, Any] = {}
        self.instance: Any = None
        self.attributes: dict[str, Any] = {}
        self.arguments: dict[str, Any] = {}
        self.owner = ""

    def entered(self, namespace: dict[str, Any], instance: Any, arguments: Mapping[str, Any]) -> None:
        """Notes what the entry is called with."""
        self.namespace, self.instance = namespace, instance
        self.attributes = dict(getattr(instance, "__dict__", {}))
        self.owner = type(instance).__name__ if instance is not None else ""
        self.arguments = {name: self._kept(value) for name, value in arguments.items()}

    def branch(self, key: int, test: Any) -> bool:
        """Notes how a condition comes out."""
        taken = super().branch(key, test)
        self.outcomes.setdefault(key, set()).add(taken)
        return taken

    def more(self, key: int, test: Any) -> bool:
        """Notes how often a `while` goes on."""
        goes_on = super().more(key, test)
        ended = not goes_on and not self.world.asked
        count, kind = self.rounds.get(key, (0, OVER_ROUNDS))
        self.rounds[key] = (max(count, self.turns.get(key, 0)), OVER_PLAIN if ended else kind)
        return goes_on

    def loop(self, key: int, iterable: Any) -> Iterator[Any]:
        """Notes how often a loop runs in its first pass, and whether over what the code says."""
        kind, count, cut = self._kind(key, iterable), 0, self.cut
        for value in super().loop(key, iterable):
            count += 1
            self.rounds[key] = (max(count, self.rounds.get(key, (0, ""))[0]), kind)
            yield value
            own = self.world.batches[-1].loader == OWN_DATA if self.world.batches else False
            if own and self.places[key].trains and not self.places[key].outer:
                kind = OVER_DRAWS
        if count:
            most = max(count, self.rounds[key][0])
            self.rounds[key] = (most, OVER_ROUNDS if self.cut and not cut and kind == OVER_PLAIN else kind)

    def _kind(self, key: int, iterable: Any) -> str:
        """What a loop is about to run over."""
        place = self.places[key]
        if not isinstance(iterable, Thing):
            known = not isinstance(iterable, range) or not place.trains or len(iterable) >= 2
            return OVER_PLAIN if known else OVER_ROUNDS
        if place.trains and not place.outer and not self.world.depth:
            return OVER_BATCHES
        return OVER_PLAIN if iterable._kind in OF_BATCH else OVER_ROUNDS

    def bind(self, key: int, value: Any) -> Any:
        """Notes what a name gets, and whether that is what the code gives it."""
        result = super().bind(key, value)
        self._bound(key, value, result)
        return result

    def unpack(self, key: int, value: Any) -> Any:
        """Notes what names get together."""
        result = super().unpack(key, value)
        self._bound(key, value, result)
        return result

    def _bound(self, key: int, value: Any, result: Any) -> None:
        if isinstance(result, torch.Tensor) and (isinstance(value, Thing) or not isinstance(value, torch.Tensor)):
            self.forced.add(key)
        if key not in self.bound:
            self.bound[key] = self._kept(result)

    def skip(self, key: int, error: Exception) -> None:
        """Notes a statement that could not be run."""
        super().skip(key, error)
        self.skipped.add(key)

    # ------------------------------------------------------------ in words

    def notes(self) -> Recording:
        """What was noted, by the places in the file."""
        places = self.program.places

        def at(key: int) -> tuple[int, int]:
            return places[key].line, places[key].column

        attributes = {name: self._attribute(name) for name in sorted(vars(self.instance))} if self.instance else {}
        names = {name: self._described(value) for name, value in self.namespace.items() if not name.startswith("__")}
        return Recording(
            {at(key): tuple(sorted(taken)) for key, taken in self.outcomes.items()},
            {at(key): rounds for key, rounds in self.rounds.items()},
            {at(key): self._described(kept) for key, kept in self.bound.items()},
            frozenset(map(at, self.forced)),
            frozenset(map(at, self.skipped)),
            self.owner,
            {name: self._described(kept) for name, kept in self.arguments.items()},
            {name: told for name, told in attributes.items() if told and name in self.words},
            {name: told for name, told in names.items() if told},
        )

    def _kept(self, value: Any) -> Any:
        """A value as it is now. What is asked of a thing later on belongs to it, too."""
        later = isinstance(value, Thing) or (isinstance(value, (list, tuple)) and any(map(_is_thing, value)))
        return value if later else _Told(self._described(value))

    def _attribute(self, name: str) -> str:
        """An attribute of the entry's object as it was when the entry was called."""
        if name in self.attributes:
            return self._described(self.attributes[name])
        known = known_name(self, name)
        return self._described(known if known is not None else vars(self.instance)[name])

    def _described(self, value: Any, depth: int = 0) -> str:
        """A value in the words of the script; empty where it has none."""
        if isinstance(value, _Told):
            return str(value)
        if value is None or isinstance(value, (str, bool)):
            return repr(value) if len(repr(value)) < 60 else "''"
        if isinstance(value, int):
            return str(int(value))
        if isinstance(value, float):
            return repr(float(value)) if value == value and abs(value) != float("inf") else f"float('{value}')"
        if type(value).__name__ in self.program.loss_modules:
            return "loss_of_items"
        for kind, told in _TOLD:
            if isinstance(value, kind):
                return told
        if isinstance(value, Optimizer):
            return "Optimizer()" if value.name == self.stepping or not self.stepping else "Anything()"
        if isinstance(value, Loader):
            return "Loader(7)" if is_validation(value.name) else "Loader()"
        if isinstance(value, Criterion):
            return "loss_of_items" if value.reduction != "sum" else "functools.partial(loss_of_items, reduction='sum')"
        if isinstance(value, Thing):
            return self._thing(value, depth)
        if isinstance(value, torch.Tensor):
            if value.numel() != 1:
                return ""
            return "loss_of_items()" if value.requires_grad else f"torch.tensor({value.item()!r})"
        if isinstance(value, (list, tuple)) and depth < _DEEPEST:
            return self._row(value, depth)
        if type(value) is dict and depth < _DEEPEST and len(value) <= _MOST_ELEMENTS:
            pairs = [(repr(key), self._described(element, depth + 1)) for key, element in value.items()]
            return f"{{{', '.join(': '.join(pair) for pair in pairs)}}}" if all(told for _, told in pairs) else ""
        return f"{type(value).__name__}()" if _is_users(value) else ""

    def _row(self, value: list[Any] | tuple[Any, ...], depth: int) -> str:
        told = [self._described(element, depth + 1) for element in value]
        if not all(told) or len(told) > _MOST_ELEMENTS:
            return ""
        if isinstance(value, list):
            return f"[{', '.join(told)}]"
        return f"({', '.join(told)}{',' if len(told) == 1 else ''})"

    def _thing(self, thing: Thing, depth: int) -> str:
        if thing._kind == MODEL:
            return "Model()"
        if thing._kind not in OF_BATCH and thing._name in self.world.loaders:
            return "Loader(7)" if is_validation(thing._name) else "Loader()"
        if thing._kind in OF_BATCH:
            return "Batch()"
        if thing._kind == DATASET:
            return "Loader().dataset"
        name = thing._name.rpartition(".")[2]
        if is_lossy(name):
            return "loss_of_items"
        kept = {
            key: self._described(element, depth + 1)
            for key, element in thing._kept.items()
            if isinstance(key, str) and key.isidentifier() and key in self.words and depth < _DEEPEST
        }
        told = (f"{key}={element}" for key, element in kept.items() if element and element != "Anything()")
        return f"Anything({', '.join(told)})"


def _is_thing(value: Any) -> bool:
    return isinstance(value, Thing)


def _is_users(value: Any) -> bool:
    """Whether a value is of a class of the file that can be made without arguments."""
    kind = type(value)
    if kind.__module__ not in ("train", "__main__"):
        return False
    with contextlib.suppress(TypeError, ValueError):
        parameters = inspect.signature(kind).parameters.values()
        return all(
            one.default is not one.empty or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters
        )
    return False


_TOLD: tuple[tuple[Any, str], ...] = (
    (Scaler, "Scaler()"),
    (Accelerator, "Accelerator()"),
    (Engine, "Engine()"),
    (Meter, "Meter()"),
    (Module, "Model()"),
    (Scheduler, "Anything()"),
    (torch.device, "torch.device('cpu')"),
    (torch.dtype, "torch.float32"),
)
"""What stands for a thing of the world in a script."""
