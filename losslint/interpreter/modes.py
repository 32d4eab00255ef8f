"""In which mode a model is when it trains, and when it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from losslint.interpreter.roles import last
from losslint.interpreter.world import Backward, Event, World

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop
    from losslint.lowering import ir

MODES = frozenset({"train", "eval", "mode"})
_FLAGS = frozenset({"training", "is_training", "is_train"})


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


def training_passes(world: World, model: str) -> dict[int, Backward]:
    """The passes over batches that train a model, or may, each with its first backward.

    Where an optimizer is known to hold the model, these are the passes that it steps in; else those of optimizers of
    which nothing is known, unless another model was put into training for them.
    """
    held = _held(world)
    known = model in held.values()
    stepping: dict[int, set[str]] = {}
    for step in world.steps:
        stepping.setdefault(world.visits[step.visit].passage, set()).add(held.get(step.optimizer, ""))
    passes: dict[int, Backward] = {}
    met: set[int] = set()
    before = 0
    for backward in world.backwards:
        passage = world.visits[backward.visit].passage
        trained = stepping.get(passage, set())
        if passage not in met and (
            model in trained if known else "" in trained and not _another(world, model, before, backward)
        ):
            passes[passage] = backward
        met.add(passage)
        before = backward.time
    return passes


def _another(world: World, model: str, since: int, backward: Backward) -> bool:
    """Whether a backward is of another model: that one was put into training for it, or a flag of the code says that
    the backward runs only where the model trains."""
    put = {event.what for event in world.events if event.kind == "train" and since < event.time < backward.time}
    return bool(put - {model}) or any(not _FLAGS.isdisjoint(guard.facts.read) for guard in backward.guards)


def stuck(world: World, model: str) -> tuple[Event | None, Backward, Event] | None:
    """A backward that is run again and finds in `eval` mode a model that trained in training mode before: the line that
    chose training mode, where there is one, the backward, and the line that chose `eval`."""
    if not any(event.kind == "eval" and event.what == model for event in world.events):
        return None
    found = [(backward, mode_at(world, model, backward.time)) for backward in training_passes(world, model).values()]
    first = found[0][1] if found else None
    if first is not None and first.kind != "train":
        return None
    seen: set[ir.Node] = set()
    for backward, event in found:
        if any(call < backward.time for call in world.calls[1:]):
            # in what mode a later call of the same function finds the model is its caller's business
            return None
        if event is None or event.kind != "eval":
            seen.add(backward.node)
        elif backward.node in seen:
            return first, backward, event
        # else another loop, which may want the mode in which it finds the model
    return None


def is_made_anew(loop: Loop, model: str) -> bool:
    """Whether a method other than the constructor assigns the attribute that holds a model: what it holds later may
    be another one."""
    name = last(model) if "." in model else ""
    functions = loop.program.module.functions
    return any(name in function.facts.assigned and function.name != "__init__" for function in functions if name)
