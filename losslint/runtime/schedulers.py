"""Learning-rate schedulers: their steps are counted."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from losslint.contracts.schedulers import HORIZONS
from losslint.runtime import roles
from losslint.runtime.things import Thing, world


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


def scheduler_class(name: str) -> Callable[..., Any]:
    def make(*arguments: Any, **options: Any) -> Scheduler:
        lengths = [0]
        for place, word in HORIZONS.get(name, ()):
            length = options.get(word, arguments[place] if 0 <= place < len(arguments) else 0)
            lengths.append(length if isinstance(length, int) and length < roles.ENDLESS else 0)
        return Scheduler(max(lengths))

    return make


class Schedulers(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return scheduler_class(name)
