"""What the user's imports get: the standard library as it is where it does no harm, torch behind a front, all else a
thing."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import re
import types
from collections.abc import Callable, Sequence
from typing import Any

import torch

from losslint.contracts import torch as contract
from losslint.contracts.schedulers import HORIZONS
from losslint.runtime import roles
from losslint.runtime.frameworks import Accelerator, Engine, Fabric
from losslint.runtime.slicing import is_lossy
from losslint.runtime.things import (
    ANY,
    DATA,
    DATASET,
    DETACHED,
    MODEL,
    OUT,
    Guess,
    Imported,
    Thing,
    batch_of,
    holds_thing,
    kind_of,
    world,
)
from losslint.runtime.world import Loader, World

_REAL = frozenset(
    "math itertools functools collections contextlib copy operator dataclasses enum typing abc"
    " statistics datetime warnings string types numbers fractions decimal bisect heapq textwrap __future__".split()
)
_HALF_REAL = frozenset({"json", "random", "re"})
"""Modules whose functions are often given what is not there."""
_METERS = re.compile(r"Meter$|RunningAverage|Averager?$|SmoothedValue|MeanMetric|RunningMean", re.I)
_TOUCHES = re.compile(r"grad", re.I)
_HARMLESS = re.compile(
    r"no_grad|requires_grad|zero_grad|grad_norm|clip|set_grad|enable_grad|checkpoint|log|watch|hist|grad_scaler", re.I
)


# ---------------------------------------------------------------- calls of things


def call_thing(one: World, thing: Thing, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What comes out of a call of a thing, judged by its name and by what it got."""
    name = re.split(r"[.\[]", thing._name)[-1]
    values = (*arguments, *options.values())
    if thing._kind == MODEL:
        return _model_call(one, options, values)
    for value in values:
        if isinstance(value, Loader):
            return value
    if name == "zero_grad":
        return one.zero_all()
    if _TOUCHES.search(name) and not _HARMLESS.search(name):
        one.taint(f"`{name}` may touch gradients")
    if name == "backward":
        return one.backward(arguments[0]) if arguments else None
    if "clip_grad" in name or name == "clip_grads_with_norm_":
        return one.clipped(*arguments, **options)
    if re.search(r"optim", name, re.I):
        return one.new_optimizer(name)
    if is_lossy(name) and name[:1].isupper() and batch_of(*values) is None:
        return roles.Criterion(name)
    if is_lossy(name) and "log" not in name.lower():
        one.assume(f"`{name}` returns the batch mean")
        return one.criterion(name, arguments, options)
    if re.search(r"loader|iterator", name, re.I):
        return roles._loader(one, name)
    if name in ("get_batch", "next_batch", "sample_batch", "get_next_batch"):
        return one.draw(name)
    if re.search(r"dataset$", name, re.I):
        return Thing(name, DATASET)
    if re.search(r"model|forward|net$", name, re.I):
        kind = OUT if batch_of(*values) is not None else MODEL
        return Thing(name, kind, batch_of(*values))
    if any(isinstance(value, torch.Tensor) and value.requires_grad for value in values):
        # what an unknown function makes of a loss: nothing to be relied on
        return Thing(name, OUT, one.current(), float("nan"))
    kind = kind_of(*values)
    if kind != ANY:
        return Thing(name, kind if kind in (OUT, DETACHED) else DATA, batch_of(*values))
    return Thing(f"{thing._name}()", ANY)


def _model_call(one: World, options: dict[str, Any], values: tuple[Any, ...]) -> Any:
    for key in options:
        if re.search(r"num_items|num_tokens|normalizer|denom", key):
            one.taint(f"the model is given `{key}`")
    kind = OUT if torch.is_grad_enabled() else DETACHED
    return Thing("model(…)", kind, batch_of(*values) or one.current())


def call_function(one: World, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What comes out of a function of torch or numpy that got a thing."""
    values = (*arguments, *options.values())
    if "clip_grad" in name:
        return one.clipped(*arguments, **options)
    if name in contract.FUNCTIONAL:
        return one.criterion(name, arguments, options)
    if name in ("isnan", "isinf", "isfinite", "any", "all", "is_tensor", "is_nonzero", "allclose", "equal"):
        return Guess(name in ("isfinite", "is_tensor"))
    kind = kind_of(*values)
    whole = len(arguments) == 1 and options.get("dim") is None and options.get("axis") is None
    if kind == OUT and name in ("mean", "sum") and whole and isinstance(arguments[0], Thing):
        return getattr(arguments[0], name)()
    if kind not in (ANY, OUT) and name in ("sum", "count_nonzero", "numel", "mean") and isinstance(arguments[0], Thing):
        return getattr(arguments[0], name)(*arguments[1:], **options)
    if name in ("chunk", "split") and isinstance(arguments[0], Thing) and kind != ANY:
        return getattr(arguments[0], name)(*arguments[1:], **options)
    if name == "where" and len(arguments) == 3 and isinstance(arguments[1], torch.Tensor):
        return arguments[1]
    if name in ("argmax", "argmin", "round") and kind == OUT:
        kind = DATA
    return Thing(name, kind, batch_of(*values))


def collective(one: World, value: Any) -> Any:
    """What other processes add to a value: nothing, or as much as the experiment says."""
    one.foreign_calls += 1
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value + one.settings.foreign
    return value + one.settings.foreign if isinstance(value, float) else value


def base_class(one: World, name: str) -> type:
    """A class to derive from in place of one that is out of reach: what it lacks is found by its name."""
    return Imported if name not in ("Dataset", "IterableDataset") else _Data


class _Data(Imported):
    """A base for data sets: as many samples as the world draws in a pass."""

    def __len__(self) -> int:
        return world().samples(type(self).__name__)


class Module(Imported):
    """`nn.Module`: a model whose output is a thing; a class that makes a loss is run as it is."""

    __losses__: frozenset[str] = frozenset()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        one = world()
        if type(self).__name__ in type(self).__losses__:
            noted = list(one.ledger.taints)
            made = self.forward(*arguments, **options)
            value = made[0] if isinstance(made, tuple) and made else made
            clean = isinstance(value, torch.Tensor) and value.requires_grad and one.ledger.taints == noted
            if clean or not isinstance(value, (Thing, torch.Tensor, float, int, type(None))):
                return made
            one.ledger.taints[:] = noted
            one.assume(f"`{type(self).__name__}` returns the batch mean")
            return one.criterion(type(self).__name__, arguments, options)
        return _model_call(one, options, (*arguments, *options.values()))

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """An output of the batch."""
        return _model_call(world(), options, (*arguments, *options.values()))

    def parameters(self, *arguments: Any, **options: Any) -> list[Any]:
        """The vectors of losses."""
        return _parameters(world())

    def named_parameters(self, *arguments: Any, **options: Any) -> list[Any]:
        """The vectors of losses, named."""
        return [(f"gain{place}", gain) for place, gain in enumerate(_parameters(world()))]

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


def _parameters(one: World) -> list[Any]:
    if not one.gains:
        one.new_gain()
    return list(one.gains)


# ---------------------------------------------------------------- torch behind a front


class Front(types.ModuleType):
    """A module of which some names are replaced; functions of the rest take things."""

    def __init__(self, name: str, real: Any, replaced: dict[str, Any]) -> None:
        super().__init__(name)
        self.__dict__["_real"] = real
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        real = getattr(self._real, name, None) if self._real is not None else None
        if real is None:
            return world().role(name) if self._real is None else Thing(name)
        if isinstance(real, types.ModuleType):
            return front(f"{self.__name__}.{name}")
        if isinstance(real, type) and name.endswith("Tensor") and name != "Tensor":
            return lambda *arguments, **options: call_function(world(), "tensor", arguments, options)
        return soft(name, real)


def soft(name: str, real: Any) -> Any:
    """A function that becomes a thing's where it gets one."""
    if isinstance(real, type) or not callable(real):
        return real

    def function(*arguments: Any, **options: Any) -> Any:
        one = world()
        if holds_thing(arguments) or holds_thing(options):
            losses = [a for a in _flat(arguments) if isinstance(a, torch.Tensor) and a.requires_grad]
            thing = next((a for a in _flat((*arguments, *options.values())) if isinstance(a, Thing)), None)
            if losses and thing is not None and name in ("stack", "cat", "mul", "div", "add", "sub", "where"):
                from losslint.runtime.things import with_tensor

                return with_tensor(losses[0], thing, name)
            return call_function(one, name, arguments, options)
        for key in ("device", "pin_memory", "generator"):
            options.pop(key, None)
        return real(*arguments, **options)

    function.__name__ = name
    return function


def _flat(values: Sequence[Any]) -> list[Any]:
    return [v for value in values for v in (value if isinstance(value, (list, tuple)) else [value])]


def _loss_function(name: str) -> Callable[..., Any]:
    def function(*arguments: Any, **options: Any) -> Any:
        return world().criterion(name, arguments, options)

    return function


def _loss_class(name: str) -> Callable[..., Any]:
    def make(*arguments: Any, **options: Any) -> Any:
        reduction = options.pop("reduction", "mean")
        if name in ("CrossEntropyLoss", "NLLLoss") and arguments:
            options["weight"] = arguments[0]
        if name == "BCEWithLogitsLoss" or name == "BCELoss":
            options.pop("weight", None)
        return roles.Criterion(name, reduction if isinstance(reduction, str) else "mean", **options)

    return make


def _optimizer_class(name: str) -> Callable[..., Any]:
    return lambda *arguments, **options: world().new_optimizer(name)


class _Optimizers(types.ModuleType):
    """`torch.optim`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("lr_scheduler", "swa_utils"):
            return _Schedulers(f"torch.optim.{name}")
        return Imported if name == "Optimizer" else _optimizer_class(name)


class Scheduler:
    """A learning-rate scheduler: only its steps are noted. `length` is how many it was made for, 0 where that is not
    known; `gate` says whether a step counts."""

    def __init__(self, length: int = 0) -> None:
        self.length = length
        self.gate: Any = None

    def step(self, *arguments: Any, **options: Any) -> None:
        """Notes a step; one that is told where it is goes nowhere by itself."""
        if self.gate is None or self.gate():
            world().event("told" if arguments or options else "schedule", float(self.length))

    def get_last_lr(self) -> list[float]:
        """A rate."""
        return [0.1]

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Thing(f"scheduler.{name}")


def _scheduler_class(name: str) -> Callable[..., Any]:
    def make(*arguments: Any, **options: Any) -> Scheduler:
        lengths = [0]
        for place, word in HORIZONS.get(name, ()):
            length = options.get(word, arguments[place] if 0 <= place < len(arguments) else 0)
            lengths.append(length if isinstance(length, int) and length < roles.ENDLESS else 0)
        return Scheduler(max(lengths))

    return make


class _Schedulers(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _scheduler_class(name)


class _Layers(types.ModuleType):
    """`torch.nn`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in contract.CRITERIA:
            return _loss_class(name)
        if name == "Module":
            return Module
        if name == "functional":
            return front("torch.nn.functional")
        if name == "utils":
            return _Utilities("torch.nn.utils")
        if name in ("parallel", "parameter", "modules"):
            return self
        if name == "init":
            return Thing("init")
        if name in ("DataParallel", "DistributedDataParallel"):
            return _wrap
        if name == "Parameter":
            return lambda *arguments, **options: Thing("parameter")
        return _Layer(name) if name[:1].isupper() else Thing(name)


class _Layer:
    """A layer of `torch.nn`, to make one or to derive from."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: Any, **options: Any) -> Thing:
        return Thing(self.name, MODEL)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return () if Module in bases else (Module,)


def _wrap(*arguments: Any, **options: Any) -> Any:
    return arguments[0] if arguments else options.get("module", Thing("model", MODEL))


class _Utilities(types.ModuleType):
    """`torch.nn.utils`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in contract.CLIPPING:
            return world().clipped
        if name == "clip_grad":
            return self
        return Thing(f"nn.utils.{name}")


def _data_loader(*arguments: Any, **options: Any) -> Loader:
    one = world()
    dataset = arguments[0] if arguments else options.get("dataset")
    name = dataset._name if isinstance(dataset, Thing) else type(dataset).__name__
    kept = dataset if isinstance(dataset, Thing) and dataset._kind == DATASET else None
    loader = Loader(one, f"{name} loader", options.get("drop_last") is True, kept or Thing(str(name), DATASET))
    sampler = options.get("sampler")
    loader.partial = isinstance(sampler, Thing) and "sampler" in sampler._name.lower() and sampler._kind == DATASET
    loader.sampler = sampler if sampler is not None else loader.sampler
    return loader


def _subset(*arguments: Any, **options: Any) -> Thing:
    _mark_split(arguments)
    return Thing("subset", DATASET)


def _mark_split(arguments: Sequence[Any]) -> None:
    if arguments and isinstance(arguments[0], Thing):
        arguments[0]._kept["split"] = True


def _split(*arguments: Any, **options: Any) -> Any:
    _mark_split(arguments)
    return [Thing("train part", DATASET), Thing("validation part", DATASET)]


def _dataset(*arguments: Any, **options: Any) -> Thing:
    return Thing("dataset", DATASET)


class _DataTools(types.ModuleType):
    """`torch.utils.data`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "DataLoader":
            return _data_loader
        if name == "random_split":
            return _split
        if name in ("Dataset", "IterableDataset"):
            return _Data
        if name in ("TensorDataset", "ConcatDataset"):
            return _dataset
        if name == "Subset":
            return _subset
        if name == "SubsetRandomSampler":
            return lambda *arguments, **options: Thing("sampler", DATASET)
        if name == "distributed":
            return self
        return Thing(f"torch.utils.data.{name}")


def _autocast(*arguments: Any, **options: Any) -> Any:
    one = world()
    if one.device.type == "cpu":
        return contextlib.nullcontext()
    dtype = options.get("dtype")
    enabled = options.get("enabled", True)
    return torch.autocast("cuda", dtype=dtype if isinstance(dtype, torch.dtype) else None, enabled=enabled is not False)


def _grad_scaler(*arguments: Any, **options: Any) -> Any:
    return world().new_scaler(options.get("enabled", True))


@contextlib.contextmanager
def _scale_loss(loss: Any, *arguments: Any, **options: Any) -> Any:
    one = world()
    one.assume("apex: `amp.scale_loss` takes its scale back before the step")
    if isinstance(loss, Thing):
        loss = loss._loss()
    yield loss + (one.settings.scale - 1) * loss.detach()


class _Amp(types.ModuleType):
    """`torch.amp`, `torch.cuda.amp` and apex's `amp`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "autocast":
            return _autocast
        if name == "GradScaler":
            return _grad_scaler
        if name == "scale_loss":
            return _scale_loss
        if name == "initialize":
            return lambda *arguments, **options: arguments if len(arguments) > 1 else arguments[0]
        if name == "master_params":
            return lambda *arguments: _parameters(world())
        return Thing(f"amp.{name}")


class _Cuda(types.ModuleType):
    """`torch.cuda`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "amp":
            return _Amp("torch.cuda.amp")
        if name == "is_available":
            return lambda: Guess(0)
        if name == "device_count":
            return lambda: Guess(1)
        if name == "OutOfMemoryError":
            return MemoryError
        return Thing(f"torch.cuda.{name}")


class _Distributed(types.ModuleType):
    """`torch.distributed`: one process, moved by what another one has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("is_initialized", "is_available"):
            return lambda *arguments: Guess(0)
        if name == "get_world_size":
            return lambda *arguments: Guess(1)
        if name in ("get_rank", "get_node_local_rank"):
            return lambda *arguments: Guess(0)
        if name in ("all_reduce", "reduce"):
            return _all_reduce
        if name == "ReduceOp":
            return Thing("ReduceOp")
        return Thing(f"dist.{name}")


def _all_reduce(value: Any, *arguments: Any, **options: Any) -> None:
    one = world()
    one.foreign_calls += 1
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        with torch.no_grad():
            value.add_(one.settings.foreign)


def _tqdm(iterable: Any = None, *arguments: Any, **options: Any) -> Any:
    return Bar(iterable)


class Bar:
    """A progress bar around what it iterates."""

    def __init__(self, iterable: Any) -> None:
        self.iterable = iterable

    def __iter__(self) -> Any:
        return iter(self.iterable if self.iterable is not None else ())

    def __next__(self) -> Any:
        return next(self.iterable)

    def __len__(self) -> int:
        return len(self.iterable)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        """Lets errors through."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.iterable, name) if isinstance(self.iterable, Loader) else Thing(f"bar.{name}")


class Arguments:
    """`argparse.ArgumentParser`: the parsed arguments are things, with the defaults that the code gives."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.defaults: dict[str, Any] = {}

    def add_argument(self, *names: str, **options: Any) -> Thing:
        """Keeps the default."""
        if names:
            name = str(options.get("dest") or next((n for n in names if n.startswith("--")), names[0]))
            default = options.get("default", False if options.get("action") == "store_true" else None)
            self.defaults[name.lstrip("-").replace("-", "_")] = default
        return Thing("argument")

    def add_argument_group(self, *arguments: Any, **options: Any) -> Arguments:
        """Itself."""
        return self

    add_mutually_exclusive_group = add_argument_group

    def set_defaults(self, **options: Any) -> None:
        """Keeps defaults."""
        self.defaults.update(options)

    def parse_args(self, *arguments: Any, **options: Any) -> Thing:
        """The arguments."""
        parsed = Thing("args")
        for name, default in self.defaults.items():
            known = world().role(name)
            unknown = isinstance(known, Thing) and known._kind == ANY
            if unknown and isinstance(default, (int, float, str)):
                parsed._kept[name] = Guess(default) if isinstance(default, bool) else default
        return parsed

    def parse_known_args(self, *arguments: Any, **options: Any) -> tuple[Thing, list[str]]:
        """The arguments, and no rest."""
        return self.parse_args(), []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Thing(f"parser.{name}")


class _Environment(dict[str, str]):
    """An environment of one process."""

    def __missing__(self, key: str) -> str:
        return "1" if "WORLD_SIZE" in key else "0"


def _system(name: str) -> Any:
    if name == "os":
        import os

        path = Front("os.path", os.path, {"exists": lambda *a: Guess(0), "isfile": lambda *a: Guess(0)})
        path.__dict__["join"] = lambda *parts: "/".join(str(p) for p in parts)
        return Front("os", None, {"environ": _Environment(), "getenv": lambda k, d=None: d, "path": path, "sep": "/"})
    if name == "sys":
        return Front("sys", None, {"argv": ["train.py"], "exit": _stop, "maxsize": 2**63 - 1, "version_info": (3, 12)})
    if name == "time":
        import time

        clocks = dict.fromkeys(("time", "perf_counter", "monotonic", "process_time"), lambda: float(world().drawn))
        return Front("time", time, {**clocks, "sleep": lambda *a: None})
    return None


def _stop(*arguments: Any) -> None:
    from losslint.runtime.world import Enough

    raise Enough


def front(name: str) -> Any:
    """What `import name` gives."""
    top = name.partition(".")[0]
    if top == "torch":
        return _torch(name)
    if top in _HALF_REAL:
        return Front(name, importlib.import_module(name), {})
    if top in _REAL:
        return importlib.import_module(name)
    if top in ("os", "sys", "time"):
        return _system(top) if name == top else getattr(_system(top), name.partition(".")[2], Thing(name))
    if top == "numpy":
        return _numpy(name)
    if top == "tqdm":
        return Front(
            "tqdm", None, {"tqdm": _tqdm, "trange": lambda *a, **o: _tqdm(range(*a)), "auto": _Tqdm("tqdm.auto")}
        )
    if top == "accelerate":
        return Front("accelerate", None, _ACCELERATE)
    if top in ("lightning", "lightning_fabric", "pytorch_lightning"):
        return _Lightning(name)
    if top == "deepspeed":
        return Front("deepspeed", None, {"initialize": _deepspeed})
    if top == "apex":
        return _Apex(name)
    if top == "argparse":
        return Front("argparse", None, {"ArgumentParser": Arguments, "Namespace": lambda **o: _namespace(o)})
    if top == "logging":
        return Thing("logging")
    return _Elsewhere(name)


_ACCELERATE: dict[str, Any] = {
    "Accelerator": lambda *a, **o: Accelerator(world(), *a, **o),
    "GradientAccumulationPlugin": lambda *a, **o: _namespace({"num_steps": a[0] if a else o.get("num_steps", 1)}),
}


def _namespace(values: dict[str, Any]) -> Thing:
    thing = Thing("args")
    thing._kept.update(values)
    return thing


class _Tqdm(types.ModuleType):
    tqdm = staticmethod(_tqdm)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _tqdm


class _Lightning(types.ModuleType):
    """lightning: its Fabric; modules are bases like any other."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "Fabric":
            return lambda *arguments, **options: Fabric(world(), *arguments, **options)
        if name in ("pytorch", "fabric"):
            return self
        return Module if name == "LightningModule" else Thing(name)


class _Apex(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Amp("apex.amp") if name == "amp" else Thing(name)


class _Elsewhere(types.ModuleType):
    """A module that is out of reach: its names stand for what they say."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return elsewhere(self.__name__, name)


def elsewhere(module: str, name: str) -> Any:
    """What `from module import name` gives for a module that is out of reach."""
    one = world()
    if _METERS.search(name):
        return roles.Meter
    if name in ("NativeScaler", "NativeScalerWithGradNormCount", "ApexScaler"):
        return lambda *arguments, **options: one.new_scaler()
    if name == "tqdm":
        return _tqdm
    if name in HORIZONS or (name.startswith("get_") and name.endswith("_schedule")):
        return _scheduler_class(name)
    if name[:1].isupper():
        return Thing(name)
    known = roles.known_role(one, name)
    # a module's function is called; a number or an object out of another module is what its name says
    return known if isinstance(known, (roles.Criterion, Loader)) else Thing(name)


def _deepspeed(*arguments: Any, **options: Any) -> Any:
    one = world()
    engine = Engine(one, one.settings.shape.window)
    return engine, engine.optimizer, Loader(one, "loader"), Scheduler()


def _numpy(name: str) -> Any:
    try:
        real = importlib.import_module(name)
    except ImportError:
        return Thing(name)
    return Front(name, real, {})


def _torch(name: str) -> Any:
    inner = name.partition(".")[2]
    if name == "torch":
        one = world()
        replaced: dict[str, Any] = {
            "nn": _Layers("torch.nn"),
            "optim": _Optimizers("torch.optim"),
            "cuda": _Cuda("torch.cuda"),
            "xpu": _Cuda("torch.xpu"),
            "amp": _Amp("torch.amp"),
            "autocast": _autocast,
            "distributed": _Distributed("torch.distributed"),
            "utils": Front("torch.utils", None, {"data": _DataTools("torch.utils.data")}),
            "autograd": Front(
                "torch.autograd",
                torch.autograd,
                {"backward": lambda loss, *a, **o: world().backward(loss), "Variable": lambda value, *a, **o: value},
            ),
            "device": lambda *arguments: one.device,
            "compile": lambda model=None, **o: model if model is not None else (lambda f: f),
            "no_grad": torch.no_grad,
            "inference_mode": torch.no_grad,
        }
        for absent in (
            "save",
            "load",
            "backends",
            "hub",
            "jit",
            "profiler",
            "multiprocessing",
            "manual_seed",
            "distributions",
            "set_num_threads",
            "seed",
            "set_float32_matmul_precision",
        ):
            replaced[absent] = Thing(f"torch.{absent}")
        return Front("torch", torch, replaced)
    head, _, rest = inner.partition(".")
    if inner == "nn.functional":
        functions = {known: _loss_function(known) for known in contract.FUNCTIONAL}
        return Front(name, torch.nn.functional, functions)
    stand_in = vars(_torch("torch")).get(head)
    if stand_in is None:
        real: Any = torch
        for part in inner.split("."):
            real = getattr(real, part, None)
        return Front(name, real, {}) if isinstance(real, types.ModuleType) else Thing(name)
    for part in filter(None, rest.split(".")):
        stand_in = getattr(stand_in, part, Thing(name))
    return stand_in


def import_hook(name: str, globals_: Any = None, locals_: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """`__import__` for the user's code. Never fails."""
    if level:
        return _Elsewhere(name or "package")
    if name.startswith("torch.") and name.rpartition(".")[2].startswith("_"):
        # torch's own code in C imports through the built-ins of the frame that called it
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    if name.startswith("losslint") or name == "builtins":
        return Thing(name)
    if fromlist:
        made = front(name)
        if all(hasattr(made, wanted) or wanted == "*" for wanted in fromlist):
            return made
        other = _Elsewhere(name)
        vars(other).update({wanted: Thing(wanted) for wanted in fromlist if wanted.startswith("__")})
        return other
    top = name.partition(".")[0]
    return front(top)


class Builtins(dict[str, Any]):
    """The built-in names; a name that nothing binds stands for what it says."""

    def __init__(self) -> None:
        super().__init__({k: v for k, v in vars(builtins).items() if k not in _TAKEN})
        self.update(
            __import__=import_hook,
            print=lambda *arguments, **options: None,
            open=lambda *arguments, **options: Thing("file"),
            input=lambda *arguments: "",
            exit=_stop,
            quit=_stop,
        )

    def __missing__(self, name: str) -> Any:
        if name.startswith("__"):
            raise KeyError(name)
        one = world()
        known = one.role(name)
        self[name] = known
        return known


_TAKEN = frozenset(
    {"open", "input", "exit", "quit", "print", "breakpoint", "compile", "exec", "eval", "help", "__import__"}
)
