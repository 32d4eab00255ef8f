"""A module behind a front: some of its names are replaced, and functions of the rest take things."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import torch

from losslint.runtime.calls import call_function
from losslint.runtime.things import Thing, holds_thing, with_tensor, world


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
            from losslint.runtime.libraries import front

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
                return with_tensor(losses[0], thing, name)
            return call_function(one, name, arguments, options)
        for key in ("device", "pin_memory", "generator"):
            options.pop(key, None)
        return real(*arguments, **options)

    function.__name__ = name
    return function


def _flat(values: Sequence[Any]) -> list[Any]:
    return [v for value in values for v in (value if isinstance(value, (list, tuple)) else [value])]
