"""In which mode a model is when it trains, and when it is judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from losslint.interpreter.roles import last
from losslint.interpreter.world import Event, World

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop

MODES = frozenset({"train", "eval", "mode"})


def trained_models(loop: Loop) -> Iterator[str]:
    """The models, by path, that the loop trains: an optimizer holds their parameters, or they are put into training."""
    world = loop.base
    held = [
        str(getattr(made.given(0, "params"), "path", "")) for made in world.made.values() if made.kind == "optimizer"
    ]
    put = [event.what for event in world.events if event.kind == "train"]
    yield from dict.fromkeys([path.removesuffix(".parameters()") for path in held if path], None)
    yield from (path for path in dict.fromkeys(put) if f"{path}.parameters()" not in held)


def mode_at(world: World, model: str, time: int) -> Event | None:
    """The line that put a model into the mode in which it is at a time; None where nothing has."""
    events = (event for event in world.events if event.kind in MODES and event.what == model and event.time < time)
    return max(events, key=lambda event: event.time, default=None)


def training_passes(world: World) -> dict[int, int]:
    """The passes over batches that train, each with the time of its first backward."""
    passes: dict[int, int] = {}
    for backward in world.backwards:
        passes.setdefault(world.visits[backward.visit].passage, backward.time)
    return passes


def is_made_anew(loop: Loop, model: str) -> bool:
    """Whether a method other than the constructor assigns the attribute that holds a model: what it holds later may
    be another one."""
    name = last(model) if "." in model else ""
    functions = loop.program.module.functions
    return any(name in function.facts.assigned and function.name != "__init__" for function in functions if name)
