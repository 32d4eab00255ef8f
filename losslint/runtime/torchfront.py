"""`torch` behind a front: criteria, optimizers, schedulers, loaders, scalers and processes are the world's."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Sequence
from typing import Any

import torch

from losslint.contracts import torch as contract
from losslint.runtime import roles
from losslint.runtime.bases import Data, Module, parameters
from losslint.runtime.front import Front, soft
from losslint.runtime.objects import Loader
from losslint.runtime.schedulers import Schedulers
from losslint.runtime.things import DATASET, MODEL, Guess, Imported, Thing, world


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


def _tensor(data: Any, *arguments: Any, **options: Any) -> Any:
    """A tensor made anew: of the losses in a list it takes the numbers."""
    if isinstance(data, (list, tuple)):
        data = [float(part.detach()) if isinstance(part, torch.Tensor) and not part.dim() else part for part in data]
    return soft("tensor", torch.tensor)(data, *arguments, **options)


def _optimizer_class(name: str) -> Callable[..., Any]:
    return lambda *arguments, **options: world().new_optimizer(name)


class _Optimizers(types.ModuleType):
    """`torch.optim`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("lr_scheduler", "swa_utils"):
            return Schedulers(f"torch.optim.{name}")
        return Imported if name == "Optimizer" else _optimizer_class(name)


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
            return torch_module("torch.nn.functional")
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
            return Data
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


class Amp(types.ModuleType):
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
            return lambda *arguments: parameters(world())
        return Thing(f"amp.{name}")


class _Cuda(types.ModuleType):
    """`torch.cuda`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "amp":
            return Amp("torch.cuda.amp")
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


def torch_module(name: str) -> Any:
    inner = name.partition(".")[2]
    if name == "torch":
        one = world()
        replaced: dict[str, Any] = {
            "nn": _Layers("torch.nn"),
            "optim": _Optimizers("torch.optim"),
            "cuda": _Cuda("torch.cuda"),
            "xpu": _Cuda("torch.xpu"),
            "amp": Amp("torch.amp"),
            "autocast": _autocast,
            "distributed": _Distributed("torch.distributed"),
            "utils": Front("torch.utils", None, {"data": _DataTools("torch.utils.data")}),
            "autograd": Front(
                "torch.autograd",
                torch.autograd,
                {"backward": lambda loss, *a, **o: world().backward(loss), "Variable": lambda value, *a, **o: value},
            ),
            "device": lambda *arguments: one.device,
            "tensor": _tensor,
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
            "accelerator",
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
    stand_in = vars(torch_module("torch")).get(head)
    if stand_in is None:
        real: Any = torch
        for part in inner.split("."):
            real = getattr(real, part, None)
        return Front(name, real, {}) if isinstance(real, types.ModuleType) else Thing(name)
    for part in filter(None, rest.split(".")):
        stand_in = getattr(stand_in, part, Thing(name))
    return stand_in
