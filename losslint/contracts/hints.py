"""What a project teaches losslint about its own code: `loss-functions`, `meters` and `dividing-backward`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Hints:
    """Dotted names of functions, methods and classes. `losses` come with their reduction: `mean`, `sum` or `none`."""

    losses: tuple[tuple[str, str], ...] = ()
    meters: tuple[str, ...] = ()
    dividing: tuple[str, ...] = ()
    words: tuple[bytes, ...] = field(init=False, compare=False)
    """The last names: a file that holds none of them uses none of what is taught."""

    def __post_init__(self) -> None:
        names = (*(name for name, _ in self.losses), *self.meters, *self.dividing)
        words = tuple(sorted({name.rsplit(".", 1)[-1].encode() for name in names}))
        object.__setattr__(self, "words", words)

    def __bool__(self) -> bool:
        return bool(self.losses or self.meters or self.dividing)

    def reduction(self, path: str) -> str | None:
        """What the loss function at `path` does with a batch; None where nothing is taught of it."""
        return next((reduction for name, reduction in self.losses if _speaks_of(name, path)), None)

    def is_meter(self, path: str) -> bool:
        """Whether the class at `path` averages what `update(value, n)` is given."""
        return any(_speaks_of(name, path) for name in self.meters)

    def divides(self, path: str) -> bool:
        """Whether what is called as `path` divides the loss by the window and runs backward on it."""
        return any(_speaks_of(name, path) for name in self.dividing)


NO_HINTS = Hints()


@lru_cache(maxsize=8192)
def _speaks_of(name: str, path: str) -> bool:
    """Whether a dotted name is a path, the end of it, or the path with packages in front that the code leaves out.

    A name without a dot speaks of that name wherever it is; a path without one is not taken for a longer name.
    """
    if f".{path}".endswith(f".{name}"):
        return True
    return "." in path and (name.endswith(f".{path}") or _is_method_of(name, path))


def _is_method_of(name: str, path: str) -> bool:
    """Whether `path` reads like the method `name` of an object: `self.engine.backward` like `lib.Engine.backward`."""
    owner, _, method = name.rpartition(".")
    receiver, _, called = path.rpartition(".")
    plain = receiver.rpartition(".")[2].replace("_", "").lower()
    return method == called and plain == owner.rpartition(".")[2].replace("_", "").lower()
