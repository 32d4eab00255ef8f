"""The runtime side: what the weights of a training loop are when CPython and autograd run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from losslint.runtime.observe.observer import Observer

__all__ = ["Observer"]


def __getattr__(name: str) -> Any:
    # torch is imported by whoever asks for the observer, and by nobody else
    if name == "Observer":
        from losslint.runtime.observe.observer import Observer

        return Observer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
