"""What the user's imports get: the standard library as it is where it does no harm, torch behind a front, all else a
thing."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import re
import types
from typing import Any

from losslint.contracts.schedulers import HORIZONS
from losslint.runtime import roles
from losslint.runtime.bases import Module
from losslint.runtime.frameworks import Accelerator, Engine, Fabric
from losslint.runtime.front import Front
from losslint.runtime.instrument import HOOK
from losslint.runtime.objects import Loader
from losslint.runtime.ownmodules import FILE
from losslint.runtime.schedulers import Scheduler, scheduler_class
from losslint.runtime.system import Arguments, Tqdm, namespace, stop, system, tqdm_bar
from losslint.runtime.things import Thing, world
from losslint.runtime.torchfront import Amp, torch_module

_REAL = frozenset(
    "math itertools functools collections contextlib copy operator dataclasses enum typing abc"
    " statistics datetime warnings string types numbers fractions decimal bisect heapq textwrap __future__".split()
)
_HALF_REAL = frozenset({"json", "random", "re"})
"""Modules whose functions are often given what is not there."""
_METERS = re.compile(r"Meter$|RunningAverage|Averager?$|SmoothedValue|MeanMetric|RunningMean", re.I)


def front(name: str) -> Any:
    """What `import name` gives."""
    top = name.partition(".")[0]
    if top == "torch":
        return torch_module(name)
    if top in _HALF_REAL:
        return Front(name, importlib.import_module(name), {})
    if top in _REAL:
        return importlib.import_module(name)
    if top in ("os", "sys", "time"):
        return system(top) if name == top else getattr(system(top), name.partition(".")[2], Thing(name))
    if top == "numpy":
        return _numpy(name)
    if top == "tqdm":
        return Front(
            "tqdm", None, {"tqdm": tqdm_bar, "trange": lambda *a, **o: tqdm_bar(range(*a)), "auto": Tqdm("tqdm.auto")}
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
        return Front("argparse", None, {"ArgumentParser": Arguments, "Namespace": lambda **o: namespace(o)})
    if top == "logging":
        return Thing("logging")
    return _Elsewhere(name)


_ACCELERATE: dict[str, Any] = {
    "Accelerator": lambda *a, **o: Accelerator(world(), *a, **o),
    "GradientAccumulationPlugin": lambda *a, **o: namespace({"num_steps": a[0] if a else o.get("num_steps", 1)}),
}


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
        return Amp("apex.amp") if name == "amp" else Thing(name)


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
        return tqdm_bar
    if name in HORIZONS or (name.startswith("get_") and name.endswith("_schedule")):
        return scheduler_class(name)
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


def import_hook(name: str, globals_: Any = None, locals_: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """`__import__` for the user's code. Never fails."""
    hooks = (globals_ or {}).get(HOOK)
    own = hooks.imported(globals_[FILE], name, fromlist or (), level) if hooks is not None else None
    if own is not None:
        return own
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
            exit=stop,
            quit=stop,
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
