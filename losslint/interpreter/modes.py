"""In which mode a model is when it trains, and when it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losslint.interpreter.roles import last
from losslint.interpreter.world import Event, World

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop

MODES = frozenset({"train", "eval", "mode"})


def trained_models(world: World) -> list[str]:
    """The models, by path, that a loop trains: an optimizer holds their parameters, or they are put into training."""
    held = [model for model in _held(world).values() if model]
    put = [event.what for event in world.events if event.kind == "train"]
    return list(dict.fromkeys([*held, *put]))


def _held(world: World) -> dict[str, str]:
    """Optimizers by path, each with the path of what it was given: the model, where that is all its parameters."""
    given = {path: made.given(0, "params") for path, made in world.made.items() if made.kind == "optimizer"}
    held = {path: str(getattr(what, "path", "")).removesuffix(".parameters()") for path, what in given.items()}
    # whoever holds a module of a model trains the model
    put = sorted({event.what for event in world.events if event.kind == "train"} - {"self"})
    return {path: next((one for one in put if what.startswith(f"{one}.")), what) for path, what in held.items()}


def mode_at(world: World, model: str, time: int) -> Event | None:
    """The line that put a model into the mode in which it is at a time; None where nothing has."""
    events = (event for event in world.events if event.kind in MODES and event.what == model and event.time < time)
    return max(events, key=lambda event: event.time, default=None)


def training_passes(world: World, model: str) -> dict[int, int]:
    """The passes over batches that train a model, or may, each with the time of its first backward: not those of which
    all steps are taken by optimizers that hold other models."""
    held = _held(world)
    stepping: dict[int, set[str]] = {}
    for step in world.steps:
        stepping.setdefault(world.visits[step.visit].passage, set()).add(step.optimizer)
    passes: dict[int, int] = {}
    for backward in world.backwards:
        passage = world.visits[backward.visit].passage
        trained = {held.get(optimizer, "") for optimizer in stepping.get(passage, ())}
        if not trained or model in trained or "" in trained:
            passes.setdefault(passage, backward.time)
    return passes


def is_made_anew(loop: Loop, model: str) -> bool:
    """Whether a method other than the constructor assigns the attribute that holds a model: what it holds later may
    be another one."""
    name = last(model) if "." in model else ""
    functions = loop.program.module.functions
    return any(name in function.facts.assigned and function.name != "__init__" for function in functions if name)
