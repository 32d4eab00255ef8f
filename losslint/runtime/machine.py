"""One run of an instrumented file in the tiny world: the hooks, the entry, and the ledger that comes out."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any

import torch

from losslint.runtime import things
from losslint.runtime.bases import Module
from losslint.runtime.entries import Entry
from losslint.runtime.frameworks import Engine, lightning
from losslint.runtime.instrument import HOOK, Names
from losslint.runtime.ledger import Ledger
from losslint.runtime.libraries import Builtins
from losslint.runtime.objects import Loader, Optimizer, Scaler
from losslint.runtime.outline import is_lossy
from losslint.runtime.ownmodules import FILE, imported
from losslint.runtime.roles import Criterion, known_role
from losslint.runtime.schedulers import Scheduler
from losslint.runtime.slicing import Program
from losslint.runtime.things import ANY, DATA, DATASET, MASK, MODEL, OUT, Guess, Thing
from losslint.runtime.world import Enough, Settings, World

_MOST_ROUNDS = 3
_MOST_SHOWN = 64
"""Elements of a list that are looked at where it is shown."""
_WORD = re.compile(r"[A-Za-z_]\w*")
_PLACE = re.compile(r"^(batch|i|it|iter|step|iteration)(_?(idx|index|id|nb|num|no))?$")
"""Parameters that hold the place of a batch in its pass."""


class Hooks:
    """What the instrumented code asks of the world."""

    failure = Exception

    def entered(self, namespace: dict[str, Any], instance: Any, arguments: dict[str, Any]) -> None:
        """The entry is about to be called: on what, and with what."""

    def __init__(self, world: World, program: Program) -> None:
        self.world, self.program = world, program
        self.places = program.places
        self.raised: set[int] = set()
        self.namespaces: dict[int, dict[str, Any]] = {}
        self.turns: dict[int, int] = {}
        self.cut = False
        self.met: dict[int, int] = {}

    # ------------------------------------------------------------ conditions

    def branch(self, key: int, test: Any) -> bool:
        """Decides a condition: as it comes out, and where that is not known, the way that leads to what is wanted."""
        world, place = self.world, self.places[key]
        settings = world.settings
        if settings.once == key:
            self.met[key] = self.met.get(key, 0) + 1
            return self.met[key] == 2
        natural, known = self._ask(test, False)
        if known:
            return natural
        possible = {natural, self._ask(test, True)[0]}
        wanted = dict(settings.forced).get(key, place.wanted)
        if wanted is None and place.leaves:
            wanted = False
        taken = wanted if wanted is not None and wanted in possible else natural
        world.ledger.decisions.setdefault(key, taken)
        return taken

    def _ask(self, test: Any, polarity: bool) -> tuple[bool, bool]:
        """The outcome of a condition, and whether nothing unknown was asked for it."""
        world = self.world
        before, world.polarity = world.polarity, polarity
        world.asked = 0
        try:
            value = test() if callable(test) and not isinstance(test, Thing) else test
            if isinstance(value, Thing):
                return polarity, False
            return bool(value), world.asked == 0
        except self.failure:
            return polarity, False
        finally:
            world.polarity = before

    def more(self, key: int, test: Any) -> bool:
        """Decides whether a `while` goes on."""
        place = self.places[key]
        turn = self.turns[key] = self.turns.get(key, 0) + 1
        natural, known = self._ask(test, False)
        if not known:
            natural = natural or self._ask(test, True)[0]
        if not natural:
            self.turns[key] = 0
            return False
        world = self.world
        shape = world.settings.shape
        if place.trains:
            world.tick += 1
            if turn > shape.batches * shape.epochs * 2:
                raise Enough
        elif turn > (_MOST_ROUNDS if not known else 2000):
            self.turns[key] = 0
            return False
        return True

    # ------------------------------------------------------------ loops

    def loop(self, key: int, iterable: Any) -> Iterator[Any]:
        """Runs over what a loop runs over: batches where it is unknown and the body trains."""
        place, world = self.places[key], self.world
        shape = world.settings.shape
        inner = place.trains and not place.outer
        draws = inner and not world.depth
        if isinstance(iterable, Thing):
            if draws:
                iterable = self._source(iterable)
            elif place.trains and not inner:
                iterable = range(shape.epochs) if "epoch" in str(place.names) else world.windows(iterable._name)
            elif iterable._kind == ANY and not place.trains:
                return
        most = None
        if isinstance(iterable, range) and place.trains and len(iterable) < 2 and not self._told(place.text):
            # of numbers that nobody told, not even their order is known
            iterable = range(shape.epochs if place.outer else shape.batches)
        if isinstance(iterable, range):
            if inner and len(iterable) > shape.batches * 2:
                most = shape.batches * shape.epochs
            elif place.outer and len(iterable) > (shape.epochs if "epoch" in str(place.names) else shape.batches):
                most = shape.epochs
        elif isinstance(iterable, int):
            iterable = range(iterable)
        count = 0
        elements = iter(iterable)
        while True:
            world.sourcing = "batches" if draws else "windows" if place.outer and not world.depth else ""
            try:
                value = next(elements)
            except StopIteration:
                break
            finally:
                world.sourcing = ""
            count += 1
            if most is not None and count > most:
                self.cut = True
                break
            if inner:
                world.tick += 1
                if _holds_batch(value):
                    world.drawn_tick = world.tick
            if count > 3000:
                raise Enough
            within = draws or _holds_batch(value)
            world.depth += within
            try:
                yield self._spread(place.names, value)
            finally:
                world.depth -= within

    def _told(self, text: str) -> bool:
        """Whether a range is made of a window, of the length of something or of plain numbers."""
        names = set(_WORD.findall(text)) - {"range", "int", "self", "args"}
        return not names or "len" in names or bool(names & self.program.windows)

    def _source(self, iterable: Thing) -> Any:
        if iterable._kind in (DATA, OUT) and iterable._batch is not None:
            return [iterable]
        loader = self.world.loaders.setdefault(iterable._name, Loader(self.world, iterable._name))
        self.world.assume(f"`{iterable._name}` is a loader")
        return loader

    def _spread(self, names: Names, value: Any) -> Any:
        """A value for targets of a certain shape."""
        if not isinstance(names, tuple):
            return value
        if isinstance(value, Thing):
            return [self._spread(name, self._part(value, name)) for name in names]
        if isinstance(value, (tuple, list)) and len(value) == len(names):
            return [self._spread(name, part) for name, part in zip(names, value, strict=True)]
        return value

    def _part(self, whole: Thing, name: Names) -> Any:
        label = name if isinstance(name, str) else "part"
        if label.startswith("*"):
            return [whole]
        if whole._kind in (DATA, OUT, MODEL) and whole._batch is not None:
            if whole._kind == OUT and is_lossy(label):
                return whole._like(label)._loss()
            mask = whole._kind == DATA and things.is_mask(Thing(label, DATA))
            return Thing(label, MASK if mask else whole._kind, whole._batch)
        known = known_name(self, label)
        return known if known is not None else Thing(label)

    # ------------------------------------------------------------ bindings

    def unpack(self, key: int, value: Any) -> Any:
        """The parts of a value, as many as there are targets."""
        names = self.places[key].names
        assert isinstance(names, tuple)
        if isinstance(value, (tuple, list, things.Shape)):
            if len(value) == len(names):
                return type(value)(value) if isinstance(value, things.Shape) else self._spread(names, value)
            if isinstance(value, things.Shape):
                return [*value, *value[1:], *value[1:]][: len(names)]
            return value
        if isinstance(value, Thing):
            return self._spread(names, value)
        if isinstance(value, torch.Tensor) and value.dim() == 0:
            return [value if is_lossy(str(name)) else Thing(str(name), OUT) for name in names]
        if isinstance(value, (map, zip, filter)) or inspect.isgenerator(value):
            parts = list(itertools.islice(value, len(names)))
            return parts + [Thing(str(name), DATA) for name in names[len(parts) :]]
        if isinstance(value, (Loader, Optimizer)):
            return [value] * len(names)
        return value

    def bind(self, key: int, value: Any) -> Any:
        """A value that gets a name: the window is what the experiment says, and what is trained on is a loss."""
        place = self.places[key]
        name = place.names if isinstance(place.names, str) else ""
        own = self.world.settings.own and isinstance(value, int)
        if own:
            return value
        if place.kind == "outside" and name in self.program.windows and _is_number(value):
            return self.world.settings.shape.window
        if place.kind == "outside" and name in self.program.logs and _is_number(value):
            return self.world.settings.log
        if isinstance(value, Loader) and name and value.name.endswith(" loader"):
            value.name = name
        if isinstance(value, Thing):
            if value._kind == DATASET and value._name in ("dataset", "subset") and name:
                object.__setattr__(value, "_name", name)
            if value._kind == OUT and (is_lossy(name) or name in self.program.lossy_names) and "fn" not in name:
                return value._loss()
            if value._kind == ANY and value._batch is None and name:
                known = known_role(self.world, name)
                if isinstance(known, (Optimizer, Loader, Criterion, Scheduler, Scaler)) or (
                    isinstance(known, Thing) and known._kind != ANY
                ):
                    return known
        return value

    def window(self, value: int) -> int:
        """The number of a window."""
        return value if self.world.settings.own else self.world.settings.shape.window

    def log(self, value: int) -> int:
        """The number of a logging interval."""
        return value if self.world.settings.own else self.world.settings.log

    def gap(self, name: str) -> Thing:
        """What a statement that could not be run would have made."""
        return Thing(f"{name}?", ANY)

    # ------------------------------------------------------------ figures

    def seen(self, key: int, value: Any) -> Any:
        """A value that is shown, stored or returned."""
        parts = value.items() if type(value) is dict else [("", value)]
        for name, part in parts:
            # the figures of several passes, kept in a list, are figures one by one
            for one in part[:_MOST_SHOWN] if type(part) is list else [part]:
                number = _figure(one)
                if number is not None and not self.cut:
                    self.world.figure(key, str(name), number)
        return value

    # ------------------------------------------------------------ failures

    def passed(self, line: int) -> None:
        """Notes that a line in question ran."""
        self.world.ledger.passed.add(line)

    def imported(self, file: int, name: str, wanted: Sequence[str], level: int) -> Any:
        """What the file of a number gets for a module of its project; None for what is none."""
        return imported(self, file, name, wanted, level)

    def names_of(self, number: int) -> dict[str, Any]:
        """The names of a file that is imported."""
        if number not in self.namespaces:
            self.namespaces[number] = names = _namespace(self, number, "project")
            code = self.program.modules[number].code
            assert code is not None
            exec(code, names)
            _equip(names, self.program, self)
        return self.namespaces[number]

    def skip(self, key: int, error: Exception) -> None:
        """Notes a statement that could not be run, or lets an error through that the code means."""
        if isinstance(error, StopIteration) or id(error) in self.raised:
            raise error
        place = self.places[key]
        line = self.program.line_name(place.line)
        self.world.ledger.gaps.append(f"{line}: {type(error).__name__}: {str(error)[:120]}")
        if place.kind == "acts":
            self.world.taint(f"{line} could not be run: {type(error).__name__}: {str(error)[:80]}")
        if len(self.world.ledger.gaps) > 400:
            raise Enough

    def refused(self, key: int) -> None:
        """Notes an error that the code would raise, and goes on."""
        self.world.ledger.gaps.append(f"{self.program.line_name(self.places[key].line)}: would raise")

    def raising(self, error: Any) -> Any:
        """An error that the code raises."""
        made = error() if isinstance(error, type) and issubclass(error, BaseException) else error
        if not isinstance(made, BaseException):
            made = RuntimeError("raised")
        self.raised.add(id(made))
        self.keep = made
        return made

    def caught(self, kinds: Any) -> Any:
        """The classes that a handler catches."""
        with contextlib.suppress(Exception):
            found = kinds() if callable(kinds) and not isinstance(kinds, type) else kinds
            wanted = found if isinstance(found, tuple) else (found,)
            return tuple(kind for kind in wanted if isinstance(kind, type) and issubclass(kind, BaseException))
        return ()

    def context(self, key: int, value: Any) -> Any:
        """A context to enter."""
        try:
            made = value() if callable(value) and getattr(value, "__name__", "") == "<lambda>" else value
        except self.failure as error:
            self.skip(key, error)
            return Thing("context")
        return made if hasattr(type(made), "__enter__") else Thing("context")

    # ------------------------------------------------------------ collections

    def sequence(self, make: Any, value: Any) -> Any:
        """`list(x)` or `tuple(x)`."""
        return value if isinstance(value, Thing) and value._kind != ANY else make(value)

    def comprehension(self, first: Any, whole: Any) -> Any:
        """A comprehension: over a batch it is one."""
        source = first()
        if isinstance(source, Thing) and source._kind in (DATA, OUT):
            return source
        return whole()


def _holds_batch(value: Any) -> bool:
    if isinstance(value, Thing):
        return value._batch is not None
    return isinstance(value, (tuple, list)) and any(_holds_batch(part) for part in value)


def _is_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or isinstance(value, Thing) or value is None


def _figure(value: Any) -> float | None:
    if isinstance(value, torch.Tensor):
        return float(value.detach()) if value.numel() == 1 else None
    if isinstance(value, (bool, Guess)):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    kind = type(value).__name__
    return float(value) if kind in ("float64", "float32", "Meter") else None


def known_name(hooks: Hooks, name: str) -> Any:
    """The window, a logging interval, or what the name says; None where it says nothing."""
    if hooks.world.settings.own and name in hooks.program.numbers:
        return hooks.program.numbers[name]
    if name in hooks.program.windows:
        return hooks.world.settings.shape.window
    if name in hooks.program.logs:
        return hooks.world.settings.log
    if name in ("opt", "opts") and name not in hooks.program.steppers:
        return Thing("options")
    if name.endswith("engine") and "deepspeed" in hooks.program.imports:
        return Engine(hooks.world, hooks.world.settings.shape.window)
    return known_role(hooks.world, name)


# ---------------------------------------------------------------- a run


def run(
    program: Program,
    code: CodeType,
    entry: Entry,
    settings: Settings,
    device: torch.device,
    rounds: int = 1,
    made: Callable[[World, Program], Hooks] = Hooks,
) -> Ledger:
    """Runs one entry with hooks that are `made`. What stopped it is in the ledger's `failure`; a `BaseException` of the
    user's escapes."""
    world = World(settings, device)
    hooks = made(world, program)
    world.roles = _roles(hooks)
    things.enter(world)
    namespace = _namespace(hooks, entry.file, "__main__" if entry.kind == "module" else "train")
    hooks.namespaces[entry.file] = namespace
    # what a run shows must not move with chance
    random.seed(0)
    torch.manual_seed(0)
    try:
        with _patched(world), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                hooks.entered(namespace, None, {})
                own = program.modules[entry.file].code if entry.file else code
                assert own is not None
                exec(own, namespace)
                _equip(namespace, program, hooks)
                _call(entry, namespace, hooks, rounds)
            except Enough:
                pass
            except RecursionError:
                world.ledger.failure = "recursion"
            except Exception as error:
                world.ledger.failure = f"{type(error).__name__}: {str(error)[:160]}"
    finally:
        things.leave()
    if world.closures:
        world.ledger.failure = "closure"
    return world.close(program.places)


def _namespace(hooks: Hooks, file: int, name: str) -> dict[str, Any]:
    return {
        HOOK: hooks,
        FILE: file,
        "__builtins__": Builtins(),
        "__name__": name,
        "__file__": f"{name}.py",
    }


def _roles(hooks: Hooks) -> Callable[[World, str, str], Any]:
    def role(world: World, name: str, owner: str = "") -> Any:
        known = known_name(hooks, name)
        return known if known is not None else Thing(f"{owner}.{name}" if owner else name)

    return role


@contextlib.contextmanager
def _patched(world: World) -> Iterator[None]:
    """Backward through the world, tensors that stay on its device, and indexing with a thing."""
    tensor = torch.Tensor
    kept = {name: getattr(tensor, name) for name in ("backward", "cuda", "to", "__getitem__")}
    index = kept["__getitem__"]
    move = kept["to"]

    def getitem(self: torch.Tensor, key: Any) -> Any:
        return things.with_tensor(self, key, "getitem") if isinstance(key, Thing) else index(self, key)

    def to(self: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        types = [a for a in (*arguments, *options.values()) if isinstance(a, torch.dtype)]
        return move(self, types[0]) if types else self

    tensor.backward = lambda self, *a, **o: world.backward(self, *a, **o)  # type: ignore[method-assign]
    tensor.cuda = lambda self, *a, **o: self  # type: ignore[method-assign]
    tensor.to = to  # type: ignore[assignment,method-assign]
    tensor.__getitem__ = getitem  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(tensor, name, value)


def _equip(namespace: dict[str, Any], program: Program, hooks: Hooks) -> None:
    """Attributes that nothing sets stand for what their names say."""
    for value in list(namespace.values()):
        if (
            isinstance(value, type)
            and value.__module__ in ("train", "__main__", "project")
            and not issubclass(value, BaseException)
        ):
            if "__getattr__" not in vars(value):
                with contextlib.suppress(TypeError):
                    value.__getattr__ = _attribute(hooks)  # type: ignore[attr-defined]
            if issubclass(value, Module):
                value.__losses__ = program.loss_modules


def _attribute(hooks: Hooks) -> Callable[[Any, str], Any]:
    def getattr_(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = known_name(hooks, name)
        made = known if known is not None else Thing(name)
        with contextlib.suppress(Exception):
            object.__setattr__(self, name, made)
        return made

    return getattr_


def _call(entry: Entry, namespace: dict[str, Any], hooks: Hooks, rounds: int) -> None:
    if entry.kind == "module":
        return
    world = hooks.world
    instance = None
    if entry.kind == "function":
        function = namespace.get(entry.name)
    else:
        owner = _derived(namespace, namespace.get(entry.owner), entry.name)
        instance = _instance(owner, hooks)
        if entry.kind == "lightning":
            hooks.entered(namespace, instance, {})
            for _ in range(rounds):
                loader = world.loaders.setdefault("train", Loader(world, "train"))
                lightning(world, instance, loader, world.settings.shape.window)
            return
        function = getattr(instance, entry.name)
    if not callable(function):
        return
    arguments, options = _arguments(function, hooks)
    names = [parameter.name for parameter in _parameters(function)]
    hooks.entered(namespace, instance, {**dict(zip(names, arguments, strict=False)), **options})
    if entry.driven:
        loader = Loader(world, "train")
        for _ in range(world.settings.shape.epochs):
            for place, batch in enumerate(loader):
                world.tick += 1
                world.drawn_tick = world.tick
                filled = [
                    batch if _takes_batch(value) else place if _PLACE.search(name) else value
                    for name, value in zip(names, arguments, strict=True)
                ]
                _finish(function(*filled, **options))
        return
    for _ in range(rounds):
        _finish(function(*arguments, **options))


def _takes_batch(value: Any) -> bool:
    return isinstance(value, Thing) and value._kind == ANY


def _finish(value: Any) -> None:
    """Runs a generator or a coroutine to its end."""
    if inspect.isgenerator(value):
        for _ in itertools.islice(value, 1000):
            pass
    elif inspect.iscoroutine(value):
        with contextlib.suppress(StopIteration):
            value.send(None)


def _derived(namespace: dict[str, Any], owner: Any, method: str) -> Any:
    """The most derived class of the file that has a method."""
    found = owner
    for value in namespace.values():
        if isinstance(value, type) and isinstance(found, type) and value is not found and issubclass(value, found):
            found = value
    return found


def _instance(owner: Any, hooks: Hooks) -> Any:
    try:
        arguments, options = _arguments(owner.__init__, hooks, skip=1)
        return owner(*arguments, **options)
    except (Exception, RecursionError) as error:
        hooks.world.ledger.gaps.append(f"{owner.__name__}(): {type(error).__name__}: {str(error)[:100]}")
        return object.__new__(owner)


def _arguments(function: Any, hooks: Hooks, skip: int = 0) -> tuple[list[Any], dict[str, Any]]:
    """Arguments for a call: what the names say, and the code's own defaults where they are plain."""
    positional: list[Any] = []
    options: dict[str, Any] = {}
    for parameter in _parameters(function)[skip:]:
        value = _argument(parameter, hooks)
        if parameter.kind is parameter.KEYWORD_ONLY:
            options[parameter.name] = value
        else:
            positional.append(value)
    return positional, options


def _parameters(function: Any) -> list[inspect.Parameter]:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one for one in found if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def _argument(parameter: inspect.Parameter, hooks: Hooks) -> Any:
    name, default = parameter.name, parameter.default
    known = known_name(hooks, name)
    own = hooks.world.settings.own and isinstance(default, int)
    if (name in hooks.program.windows or name in hooks.program.logs) and not own:
        return known
    if default is inspect.Parameter.empty:
        return known if known is not None else Thing(name)
    if default is None:
        given = isinstance(known, (Optimizer, Loader, Criterion)) or (isinstance(known, Thing) and known._kind != ANY)
        return known if given or (hooks.world.settings.given and known is not None) else None
    if isinstance(default, bool):
        return Guess(default)
    if isinstance(default, (int, float)) and isinstance(known, int) and not isinstance(known, Guess):
        return known if known else default
    return default
