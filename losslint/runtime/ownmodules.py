"""Modules of the user's own project: what has to do with losses is run as it is, all else is what its name says."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from losslint.runtime.calls import call_thing
from losslint.runtime.things import ANY, Thing, world

if TYPE_CHECKING:
    from losslint.runtime.machine import Hooks

FILE = "__file_number__"
"""The name under which a file's code finds its number."""


def imported(hooks: Hooks, file: int, name: str, wanted: Sequence[str], level: int) -> Any:
    """What `import name`, or `from name import wanted`, gives to the file of a number; None where nothing of it is of
    the project."""
    if not hooks.program.modules:
        return None
    links = hooks.program.modules[file].links
    inner = {one: links.get((f"{name}.{one}" if name else one, level)) for one in wanted}
    parts = {one: OwnModule(hooks, one, number, {}) for one, number in inner.items() if number is not None}
    number = links.get((name, level))
    if number is None and not parts:
        return None
    module = OwnModule(hooks, name or "package", number, parts)
    if not wanted:
        # `import a.b` binds `a`
        for part in reversed(name.split(".")[1:]):
            module = OwnModule(hooks, name, None, {part: module})
    return module


class OwnModule(types.ModuleType):
    """A file of the project, which is run when the first of its names is asked for; `parts` are modules in it."""

    def __init__(self, hooks: Hooks, name: str, number: int | None, parts: dict[str, OwnModule]) -> None:
        super().__init__(name)
        self.__dict__.update(_hooks=hooks, _number=number, **parts)

    def __getattr__(self, name: str) -> Any:
        from losslint.runtime.libraries import elsewhere

        number = self._number
        taken = self._hooks.program.modules[number].taken if number is not None else frozenset()
        if name == "__all__":
            return sorted(one for one in taken if not one.startswith("_"))
        if name.startswith("__"):
            raise AttributeError(name)
        if name in taken:
            value = self._hooks.names_of(number).get(name)
            if value is not None:
                return _followed(name, value) if isinstance(value, types.FunctionType) else value
        return elsewhere(self.__name__, name)


def _followed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the project; where nothing is known of what it gives, that is what its name says."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        one = world()
        before = len(one.ledger.events)
        made = function(*arguments, **options)
        if len(one.ledger.events) > before or not (isinstance(made, Thing) and made._kind == ANY):
            return made
        other = call_thing(one, Thing(name), arguments, options)
        return made if isinstance(other, Thing) and other._kind == ANY else other

    return call
