"""Attributes that are replaced for the time of an observation, and put back at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any


class Patches:
    """Replaced attributes, and undoing them in reverse order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put `make(original)` in the place of `owner.name`; what an instance or a subclass overrides stays."""
        own = name in vars(owner)
        original = getattr(owner, name)
        setattr(owner, name, make(original))
        self._undo.append(lambda: setattr(owner, name, original) if own else delattr(owner, name))

    def rebind(self, originals: dict[int, Any]) -> None:
        """Put the replacement wherever a loaded module holds the original under a name of its own.

        `originals` maps the id of each original to its replacement. `from torch.nn.functional import cross_entropy`
        has copied the name before the observation began.
        """
        for module in list(sys.modules.values()):
            if not isinstance(module, ModuleType) or module.__name__.startswith(("torch.", "losslint.")):
                continue
            for name, value in list(vars(module).items()):
                replacement = originals.get(id(value))
                if replacement is not None:
                    setattr(module, name, replacement)
                    self._undo.append(lambda m=module, n=name, v=value: setattr(m, n, v))  # type: ignore[misc]

    def later(self, undo: Callable[[], None]) -> None:
        """Something else to be undone."""
        self._undo.append(undo)

    def restore(self) -> None:
        """Put everything back."""
        while self._undo:
            with suppress(AttributeError):
                self._undo.pop()()
