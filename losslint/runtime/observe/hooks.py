"""What is hooked and patched so that a recorder sees the run, and how it is put back."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from losslint.findings import Severity
from losslint.runtime.observe import criteria, places
from losslint.runtime.observe.patches import Patches
from losslint.runtime.observe.recorder import Recorder
from losslint.runtime.observe.sinks import Sinks

_FINGERPRINT = 256


def install(recorder: Recorder) -> Patches:
    """Hook everything; `restore` of what is returned takes it all out again."""
    patches = Patches()
    _watch_criteria(patches, recorder)
    _watch_backward(patches, recorder)
    _watch_optimizers(patches, recorder)
    _watch_scaler(patches, recorder)
    _watch_clipping(patches, recorder)
    _watch_modules(patches, recorder, Sinks(patches, recorder))
    _watch_loaders(patches, recorder)
    _watch_samplers(patches, recorder)
    return patches


def _watch_criteria(patches: Patches, recorder: Recorder) -> None:
    replaced: dict[int, Any] = {}
    busy = threading.local()

    def watched(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*given: Any, **named: Any) -> Any:
            if getattr(busy, "inside", False) or not torch.is_grad_enabled():
                return original(*given, **named)
            busy.inside = True
            try:
                output = original(*given, **named)
            finally:
                busy.inside = False
            if isinstance(output, torch.Tensor) and output.requires_grad:
                recorder.criterion(name, criteria.arguments(original, given, named), output)
            return output

        replaced[id(original)] = call
        return call

    for name in criteria.WATCHED:
        patches.replace(functional, name, functools.partial(watched, name))
    patches.rebind(replaced)


def _watch_backward(patches: Patches, recorder: Recorder) -> None:
    def watched(original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def backward(tensors: Any, *given: Any, **named: Any) -> None:
            recorder.backward_begins(tensors)
            try:
                original(tensors, *given, **named)
            except BaseException:
                recorder.depth -= 1
                raise
            recorder.backward_ended()

        return backward

    patches.replace(torch.autograd, "backward", watched)


def _watch_optimizers(patches: Patches, recorder: Recorder) -> None:
    def adding(original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def add_param_group(self: torch.optim.Optimizer, *given: Any, **named: Any) -> None:
            original(self, *given, **named)
            recorder.meet(self)

        return add_param_group

    def zeroing(original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def zero_grad(self: Any, *given: Any, **named: Any) -> None:
            original(self, *given, **named)
            if isinstance(self, torch.optim.Optimizer) and hasattr(self, "param_groups"):
                recorder.meet(self)
            recorder.zeroed(places.user_place())

        return zero_grad

    def before(optimizer: torch.optim.Optimizer, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        recorder.breathe()
        # `given` starts with the optimizer itself
        closure = given[1] if len(given) > 1 else named.get("closure")
        if closure is None:
            recorder.step_begins(optimizer)
            return None
        calls = 0

        def evaluated(*passed: Any, **kept: Any) -> Any:
            nonlocal calls
            loss = closure(*passed, **kept)
            calls += 1
            if calls == 1:
                recorder.step_begins(optimizer)
            else:
                recorder.run.steps[-1].doubt = "the optimizer evaluates its closure more than once"
                kind = type(optimizer).__name__
                recorder.note(f"`{kind}` evaluates its closure more than once: its steps are not judged")
            return loss

        if len(given) > 1:
            return (given[0], evaluated, *given[2:]), named
        return given, {**named, "closure": evaluated}

    def after(optimizer: torch.optim.Optimizer, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        recorder.step_ended(optimizer)

    for thing in gc.get_objects():
        # `type`, since asking an object of a stranger for its class can run code
        if issubclass(type(thing), torch.optim.Optimizer) and "param_groups" in vars(thing):
            recorder.meet(thing)
    patches.replace(torch.optim.Optimizer, "add_param_group", adding)
    patches.replace(torch.optim.Optimizer, "zero_grad", zeroing)
    patches.replace(torch.nn.Module, "zero_grad", zeroing)
    patches.later(register_optimizer_step_pre_hook(before).remove)
    patches.later(register_optimizer_step_post_hook(after).remove)


def _watch_scaler(patches: Patches, recorder: Recorder) -> None:
    from torch.amp.grad_scaler import GradScaler

    def scaling(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def scale(self: GradScaler, outputs: Any) -> Any:
            scaled = original(self, outputs)
            if self.is_enabled():
                recorder.pending_scale = self.get_scale()
            else:
                recorder.note("the `GradScaler` is disabled on this device: nothing can be said of scaled gradients")
            return scaled

        return scale

    def unscaling(original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def unscale(self: GradScaler, optimizer: torch.optim.Optimizer) -> None:
            window = recorder.meet(optimizer)
            window.notice()
            window.notice_rescaling()
            original(self, optimizer)
            if self.is_enabled():
                recorder.unscaled(optimizer, self.get_scale())

        return unscale

    def stepping(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def step(self: GradScaler, optimizer: torch.optim.Optimizer, *given: Any, **named: Any) -> Any:
            before = recorder.meet(optimizer).steps
            result = original(self, optimizer, *given, **named)
            if self.is_enabled() and recorder.meet(optimizer).steps == before:
                recorder.step_skipped(optimizer)
            return result

        return step

    patches.replace(GradScaler, "scale", scaling)
    patches.replace(GradScaler, "unscale_", unscaling)
    patches.replace(GradScaler, "step", stepping)


def _watch_clipping(patches: Patches, recorder: Recorder) -> None:
    replaced: dict[int, Any] = {}

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def clip(parameters: Any, *given: Any, **named: Any) -> Any:
            if isinstance(parameters, torch.Tensor):
                parameters = [parameters]
            elif isinstance(parameters, Iterator):
                parameters = list(parameters)
            recorder.clipping(parameters)
            result = original(parameters, *given, **named)
            recorder.touched()
            return result

        replaced[id(original)] = clip
        return clip

    for name in ("clip_grad_norm_", "clip_grad_value_"):
        patches.replace(torch.nn.utils.clip_grad, name, watched)
        patches.replace(torch.nn.utils, name, lambda original: replaced[id(original)])
    patches.rebind(replaced)


def _watch_modules(patches: Patches, recorder: Recorder, sinks: Sinks) -> None:
    """A global forward hook does not see keyword arguments, so the call itself is wrapped."""
    main = threading.main_thread().ident
    depth = 0

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(self: torch.nn.Module, *given: Any, **named: Any) -> Any:
            nonlocal depth
            if depth or recorder.depth or threading.get_ident() != main:
                return original(self, *given, **named)
            recorder.breathe()
            sinks.catch_up()
            if torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()):
                recorder.models.add(self)
                recorder.batch = _fingerprint((*given, *named.values()))
            depth += 1
            try:
                return original(self, *given, **named)
            finally:
                depth -= 1

        return call

    patches.replace(torch.nn.Module, "__call__", watched)


def _fingerprint(values: Iterable[Any]) -> int | None:
    """A number that tells batches apart by what they hold."""
    for value in values:
        if isinstance(value, torch.Tensor) and value.numel():
            flat = value.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // _FINGERPRINT)][:_FINGERPRINT]
            return hash((tuple(value.shape), tuple(sample.tolist())))
        if isinstance(value, Mapping):
            found = _fingerprint(value.values())
        elif isinstance(value, (list, tuple)):
            found = _fingerprint(value)
        else:
            continue
        if found is not None:
            return found
    return None


def _watch_loaders(patches: Patches, recorder: Recorder) -> None:
    loader = torch.utils.data.DataLoader
    iterator = torch.utils.data.dataloader._BaseDataLoaderIter

    def iterating(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def iterate(self: Any) -> Any:
            recorder.pass_begins(id(self))
            batches = original(self)
            batches._losslint_loader = id(self)
            return batches

        return iterate

    def fetching(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def fetch(self: Any) -> Any:
            recorder.loader = getattr(self, "_losslint_loader", None)
            return original(self)

        return fetch

    patches.replace(loader, "__iter__", iterating)
    patches.replace(iterator, "__next__", fetching)


def _watch_samplers(patches: Patches, recorder: Recorder) -> None:
    """See whether a shuffled sampler is told of the epoch."""
    last: dict[int, int] = {}

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def iterate(self: Any) -> Any:
            if self.shuffle and self.num_replicas > 1 and last.get(id(self)) == self.epoch:
                recorder.fact(
                    "missing-set-epoch",
                    "LL906",
                    Severity.WARNING,
                    "`DistributedSampler.set_epoch` is not called: every epoch has the same order of batches",
                    places.user_place(),
                )
            last[id(self)] = self.epoch
            return original(self)

        return iterate

    patches.replace(torch.utils.data.distributed.DistributedSampler, "__iter__", watched)
