"""Stand-ins for everything that a training loop gets from elsewhere: data, models, configurations, libraries.

A `Thing` absorbs what is done to it. It knows which batch it came from, so that the loss made of it is the loss of that
batch wherever in the loop it is computed; it never knows a number that nobody told it, and says so where one is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from losslint.runtime.outline import is_lossy

if TYPE_CHECKING:
    from losslint.runtime.world import Batch, World

ANY, DATA, OUT, MASK, MODEL, DATASET, DETACHED = "any", "data", "out", "mask", "model", "dataset", "detached"
"""What a thing is: unknown, of a batch, made by a model out of a batch, a choice among a batch's items, a model, a data
set, an output without its graph."""

_COMPARING = frozenset("eq ne gt lt ge le not_equal greater less logical_and logical_not isfinite isnan".split())
_CHOOSING = frozenset("max topk".split())
DECIDING = frozenset("argmax argmin round floor ceil sign one_hot heaviside trunc".split())
"""Functions without a gradient."""
_COUNTS = frozenset("batch_size num_graphs num_tokens ntokens n_tokens num_nodes".split())
_SCALING = frozenset({"mul_", "div_"})
_WEIGHT = re.compile(r"weight|lambda|^lam(_|$)|alpha|beta|gamma|coef|(^|_)w(_|$)|temperature|sigma|tau", re.I)
_MASKS = re.compile(r"mask|valid|keep|padding|observed", re.I)
_MODEL_METHODS = frozenset(
    "parameters named_parameters zero_grad state_dict train eval to cuda cpu half float requires_grad_ apply".split()
)

OF_BATCH = (DATA, OUT, MASK, DETACHED)
"""The kinds of things that come from a batch."""

_worlds: list[World] = []


def world() -> World:
    """The world that is running."""
    return _worlds[-1]


def enter(one: World) -> None:
    """Makes a world the running one."""
    _worlds.append(one)


def leave() -> None:
    """Ends the running world."""
    _worlds.pop()


class Imported:
    """What a class of the user's gets in place of a base class that is out of reach."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __init_subclass__(cls, **options: Any) -> None:
        pass


class Shape(tuple[int, ...]):
    """A shape of which only the first number, the items of the batch, is known."""

    def numel(self) -> int:
        """The number of items."""
        return self[0]


class Guess(int):
    """A number that was guessed (a rank, a switch): a condition that asks it may as well go the other way."""

    def __bool__(self) -> bool:
        return world().unknown(int(self) != 0)

    def _compared(self, other: object, outcome: bool) -> Guess:
        return Guess(outcome)

    def __eq__(self, other: object) -> Any:
        return self._compared(other, int(self) == other)

    def __ne__(self, other: object) -> Any:
        return self._compared(other, int(self) != other)

    def __gt__(self, other: Any) -> Any:
        return self._compared(other, int(self) > other)

    def __lt__(self, other: Any) -> Any:
        return self._compared(other, int(self) < other)

    __hash__ = int.__hash__

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self

    def __getitem__(self, key: Any) -> Any:
        return world().role(key) if isinstance(key, str) else self

    __iter__ = None  # or else it would have elements without end

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return world().role(name)


class Number(int):
    """A number that a name stands for; the name may turn out to be that of a function or a table."""

    label = "number"

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return world().call(Thing(self.label), arguments, options)

    def __getitem__(self, key: Any) -> Any:
        return self

    __iter__ = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return world().role(name)


class Real(float):
    """The same with a fraction."""

    label = "number"
    __call__ = Number.__call__
    __getitem__ = Number.__getitem__
    __iter__ = None
    __getattr__ = Number.__getattr__


def batch_of(*values: Any) -> Batch | None:
    """The batch that values come from."""
    for value in values:
        if isinstance(value, Thing):
            if value._batch is not None:
                return value._batch
        elif isinstance(value, (list, tuple)):
            found = batch_of(*value)
            if found is not None:
                return found
        elif isinstance(value, dict):
            found = batch_of(*value.values())
            if found is not None:
                return found
    return None


def holds_thing(value: Any) -> bool:
    """Whether a value is, or holds, a thing."""
    if isinstance(value, Thing):
        return True
    if isinstance(value, (list, tuple)):
        return any(holds_thing(element) for element in value[:8])
    return isinstance(value, dict) and any(holds_thing(element) for element in list(value.values())[:8])


def kind_of(*values: Any) -> str:
    """What comes out of a function of such values: an output, data, or nothing known."""
    kinds = set()
    for value in values:
        if isinstance(value, Thing):
            kinds.add(value._kind)
        elif isinstance(value, (list, tuple)):
            kinds.add(kind_of(*value))
        elif isinstance(value, dict):
            kinds.add(kind_of(*value.values()))
    for kind in (OUT, DETACHED, MASK, DATA):
        if kind in kinds:
            return kind
    return ANY


class Thing:
    """An object about which little is known. `_factor` is what an output has been multiplied with since it was made."""

    def __init__(self, name: str = "?", kind: str = ANY, batch: Batch | None = None, factor: float = 1.0) -> None:
        set_ = object.__setattr__
        set_(self, "_name", name)
        set_(self, "_kind", kind)
        set_(self, "_batch", batch)
        set_(self, "_factor", factor)
        set_(self, "_kept", {})

    _name: str
    _kind: str
    _batch: Batch | None
    _factor: float
    _kept: dict[Any, Any]

    # ------------------------------------------------------------ as a name

    def _like(self, name: str, kind: str | None = None, factor: float | None = None) -> Thing:
        return Thing(name, kind or self._kind, self._batch, self._factor if factor is None else factor)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("__", "_step_supports")):
            raise AttributeError(name)
        if name in self._kept:
            return self._kept[name]
        if self._kind in OF_BATCH:
            return self._of_batch(name)
        if self._kind == DATASET:
            return Thing(name) if name not in ("dataset",) else self
        if self._kind == MODEL and name in _MODEL_METHODS:
            return getattr(world().model(), name)
        if name == "keys":
            # a call may spread it: only names that were given are names
            return lambda: [key for key in self._kept if isinstance(key, str)]
        value = world().role(name, self._name)
        self._kept[name] = value
        return value

    def _of_batch(self, name: str) -> Any:
        items = world().items(self._batch)
        if name == "shape":
            return Shape((items, 4, 4, 4))
        if name in ("ndim",):
            return 2
        if name in _COUNTS:
            return items
        if name == "device":
            return world().device
        if name == "dtype":
            return torch.float32
        if self._kind == OUT and is_lossy(name):
            return self._loss()
        if name == "data" and self._kind == OUT:
            return self._like(self._name, DETACHED)
        if name == "requires_grad":
            return self._kind == OUT
        return Method(self, name)

    def _loss(self) -> torch.Tensor:
        """The mean loss of the batch that an output stands for."""
        world().assume(f"`{self._name}` is the mean loss of its batch")
        value = world().losses(self._batch).mean()
        if self._kind == DETACHED:
            value = value.detach()
        if self._factor != self._factor:
            world().taint(f"the loss goes through `{self._name}`")
            return value
        return value if self._factor == 1.0 else value * self._factor

    def __setattr__(self, name: str, value: Any) -> None:
        self._kept[name] = value

    def __delattr__(self, name: str) -> None:
        self._kept.pop(name, None)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        first = next(base for base in bases if isinstance(base, Thing))
        if first is not self or any(isinstance(base, type) for base in bases):
            return ()
        return (world().base_class(self._name),)

    # ------------------------------------------------------------ as a function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return world().call(self, arguments, options)

    # ------------------------------------------------------------ as a container

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (str, int)) and key in self._kept:
            return self._kept[key]
        if isinstance(key, str):
            if self._kind == DATA and self._batch is not None:
                world().dictionaries.add(self._batch.number)
            if self._kind in OF_BATCH:
                if self._kind == OUT and is_lossy(key):
                    return self._loss()
                return self._like(key, MASK if self._kind == DATA and _MASKS.search(key) else None)
            value = world().role(key, self._name)
            self._kept[key] = value
            return value
        if isinstance(key, slice) and self._batch is not None and _is_span(key):
            return Thing(self._name, self._kind, self._batch.part(key.start, key.stop), self._factor)
        if isinstance(key, Thing) and self._kind == OUT:
            return self._like(self._name)
        return self._like(f"{self._name}[…]")

    def _fill(self, value: Any) -> None:
        """Takes over what a model has made."""
        if isinstance(value, Thing) and value._kind == OUT and self._kind in (ANY, DATA):
            object.__setattr__(self, "_kind", OUT)
            object.__setattr__(self, "_batch", value._batch)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, str):
            self._fill(value)
        if isinstance(key, (str, int)):
            self._kept[key] = value

    def __delitem__(self, key: Any) -> None:
        if isinstance(key, (str, int)):
            self._kept.pop(key, None)

    def __contains__(self, key: Any) -> bool:
        if isinstance(key, str) and key in self._kept:
            return True
        return world().unknown(False)

    def __len__(self) -> int:
        if self._kind == DATASET:
            halved = self._kept.get("split") and world().settings.shape.batches > 1
            return world().samples(self._name) * (2 if halved else 1)
        if self._kind == ANY and "data" in self._name:
            return world().samples(self._name)
        if self._kind == DATA and self._batch is not None and self._name == "batch":
            # of a dictionary, it is the number of its keys
            return 2 if self._batch.number in world().dictionaries else self._batch.items
        if self._kind == ANY and self._batch is None:
            return 2  # as many as it is walked through with
        return world().items(self._batch)

    def __iter__(self) -> Iterator[Any]:
        if self._kind in OF_BATCH:
            return iter([self._like(f"{self._name}[{place}]") for place in range(2)])
        return self._elements()

    def _elements(self) -> Iterator[Any]:
        """Batches where a training loop asks for them; else two elements, whatever they are."""
        wanted = world().sourcing
        if wanted == "batches":
            yield from world().role_loader(self._name)
        elif wanted == "windows":
            yield from world().windows(self._name)
        else:
            for place in range(2):
                yield self._like(f"{self._name}[{place}]")

    def __next__(self) -> Any:
        return world().draw(self._name)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        """Lets errors through."""

    def __await__(self) -> Iterator[Any]:
        return iter(())

    # ------------------------------------------------------------ as a number

    def __bool__(self) -> bool:
        return world().unknown(False)

    def _number(self) -> int:
        world().assume(f"`{self._name}` is 1")
        return 1

    __int__ = __index__ = _number

    def __float__(self) -> float:
        return float(self._number())

    def __round__(self, *digits: int) -> Any:
        return self

    def __format__(self, spec: str) -> str:
        return self._name

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"<{self._kind} {self._name}>"

    def __hash__(self) -> int:
        return id(self)

    def __fspath__(self) -> str:
        return self._name

    def _compare(self, other: Any) -> Any:
        kind = MASK if kind_of(self, other) in OF_BATCH else ANY
        return Thing(self._name, kind, batch_of(self, other))

    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = _compare

    def _combine(self, other: Any, operation: str) -> Any:
        if isinstance(other, torch.Tensor) and other.requires_grad:
            return with_tensor(other, self, operation)
        if self._kind == OUT and operation in ("mul", "rmul", "truediv") and isinstance(other, (int, float)):
            factor = float(other) if operation != "truediv" else 1 / float(other)
            return self._like(self._name, factor=self._factor * factor)
        kind = kind_of(self, other)
        if kind == MASK and operation in ("and", "or", "invert", "mul", "rmul"):
            return Thing(self._name, MASK, batch_of(self, other))
        return Thing(self._name, kind if kind in (OUT, DETACHED, ANY) else DATA, batch_of(self, other))

    def _alone(self) -> Any:
        return self._like(self._name)

    __neg__ = __pos__ = __invert__ = __abs__ = _alone

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "?").strip("_")
        options = options or {}
        tensors = [a for a in arguments if isinstance(a, torch.Tensor) and a.requires_grad]
        things = [a for a in (*arguments, *options.values()) if isinstance(a, Thing)]
        if tensors and things:
            return with_tensor(tensors[0], things[0], name)
        if function.__name__ in _SCALING and isinstance(arguments[0], torch.Tensor):
            world().taint(f"a gradient is scaled by `{things[0]._name}`")
            return arguments[0]
        return world().function(name, arguments, options)


class Method(Thing):
    """A method (or attribute) of a thing of a batch."""

    def __init__(self, of: Thing, name: str) -> None:
        super().__init__(name, of._kind, of._batch, of._factor)
        object.__setattr__(self, "_of", of)

    _of: Thing

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        of, name, kind = self._of, self._name, self._kind
        items = world().items(of._batch)
        reduces = not arguments and options.get("dim") is None and options.get("axis") is None
        if name == "size":
            return items if arguments and arguments[0] == 0 else Shape((items, 4, 4, 4)) if not arguments else 4
        if name in ("numel", "nelement"):
            return items
        if name == "dim":
            return 2
        if name in ("chunk", "split"):
            return of_parts(of, name, arguments)
        if name == "backward":
            return of._loss().backward(**options)  # type: ignore[no-untyped-call]
        if name == "keys":
            return ["input_ids", "labels"]
        if name in ("values", "items", "copy", "pop", "get"):
            return of[arguments[0]] if name in ("pop", "get") and arguments else of
        if kind == MASK and name in ("sum", "count_nonzero", "nonzero"):
            return torch.tensor(float(world().valid(of._batch))) if reduces else of
        if kind == MASK and name == "mean" and reduces:
            return torch.tensor(world().valid(of._batch) / items)
        if kind == MASK and name in ("any", "all", "item"):
            return Guess(0)
        if kind in (OUT, DETACHED) and reduces and name in ("mean", "sum"):
            value = world().losses(of._batch)
            value = value.mean() if name == "mean" else value.sum()
            value = value if kind == OUT else value.detach()
            world().assume(f"`{of._name}.{name}()` is a loss")
            return value * of._factor
        if name == "copy_" and arguments:
            of._fill(arguments[0])
        if name in ("item", "tolist", "__float__"):
            return float(items) if kind == DATA else 1.0
        if name == "sum" and reduces:
            return of._like(name)
        if name in _COMPARING:
            return of._like(of._name, MASK)
        if name in _CHOOSING:
            return of._like(of._name, DATA)
        if name in DECIDING and kind == OUT:
            return of._like(of._name, DETACHED)
        if name in ("detach", "numpy") and kind == OUT:
            return of._like(of._name, DETACHED)
        return of._like(of._name)


def _operator(name: str) -> Callable[[Thing, Any], Any]:
    def combine(self: Thing, other: Any = None, *more: Any) -> Any:
        return self._combine(other, name)

    return combine


for _name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split():
    for _prefix in ("", "r"):
        setattr(Thing, f"__{_prefix}{_name}__", _operator(_prefix + _name))


def _is_span(key: slice) -> bool:
    return type(key.start) is int and type(key.stop) is int and key.step is None and 0 <= key.start < key.stop


def of_parts(of: Thing, name: str, arguments: tuple[Any, ...]) -> Any:
    """The pieces of a batch that is cut along its items."""
    items = world().items(of._batch)
    if of._batch is None or not arguments or not isinstance(arguments[0], int) or len(arguments) > 1:
        return [of]
    size = -(-items // max(1, arguments[0])) if name == "chunk" else max(1, arguments[0])
    return [
        Thing(of._name, of._kind, of._batch.part(start, min(items, start + size)), of._factor)
        for start in range(0, items, size)
    ]


def is_mask(thing: Thing) -> bool:
    """Whether a thing chooses among the items of its batch."""
    return thing._kind == MASK or (thing._kind == DATA and bool(_MASKS.search(thing._name)))


def with_tensor(value: torch.Tensor, thing: Thing, operation: str) -> Any:
    """A loss and a thing, joined by an operation."""
    name = operation.strip("_")
    if name in ("add", "radd", "sub", "rsub", "iadd", "isub", "add_"):
        world().assume(f"the term `{thing._name}` is left out")
        return value
    if name in ("mul", "rmul", "imul", "mul_", "multiply", "where", "masked_fill", "masked_select"):
        if is_mask(thing) and value.dim() == 1:
            mask = world().mask(thing._batch, value)
            return value[mask > 0] if name == "masked_select" else value * mask
        if _WEIGHT.search(thing._name):
            world().assume(f"the loss weight `{thing._name}` is 1")
            return value
        return world().blur(value, f"the loss is multiplied by `{thing._name}`")
    if name in ("truediv", "rtruediv", "div", "true_divide", "itruediv", "div_", "divide", "floordiv", "rfloordiv"):
        return world().blur(value, f"the loss is divided by `{thing._name}`")
    if name in ("getitem", "take", "index_select"):
        return value[world().mask(thing._batch, value) > 0] if is_mask(thing) and value.dim() == 1 else value
    if name in ("to", "type_as", "view_as", "expand_as", "reshape", "view"):
        return value
    if name in ("stack", "cat", "maximum", "minimum", "clamp", "clip"):
        return world().blur(value, f"the loss goes through `{name}` with `{thing._name}`")
    if name.startswith(("gt", "lt", "ge", "le", "eq", "ne")):
        return Thing(thing._name)
    return Thing(name, OUT, thing._batch)
