"""How often a learning-rate scheduler steps, and what its horizon counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from losslint.contracts.schedulers import HORIZONS
from losslint.interpreter.explain import text
from losslint.interpreter.program import path_of
from losslint.interpreter.values import BATCHES, WINDOW
from losslint.interpreter.world import Event, Made
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop

BATCH, STEP, EPOCH = "batch", "step", "epoch"
"""How often a scheduler steps, and what its horizon counts: micro-batches, optimizer steps, or epochs."""

_EPOCHS = re.compile(r"epoch", re.IGNORECASE)
_STEPS = re.compile(r"step|iter|batch|len\(|total", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Schedule:
    """One scheduler of a loop: its steps in order, and how it was made where that is in sight."""

    loop: Loop
    events: tuple[Event, ...]
    made: Made | None

    @property
    def node(self) -> ir.Node:
        """The line that steps it."""
        return self.events[0].node

    @cached_property
    def cadence(self) -> str:
        """`batch`, `step` or `epoch`; an empty string where it is none of them."""
        world = self.loop.high
        first = [event for event in self.events if event.passage == 1]
        live = {event.live for event in self.events}
        if live == {False} and len(first) < 2:
            return EPOCH
        # a loop over groups of batches steps it several times in a pass, after each inner loop over batches
        if len(live) > 1:
            return ""
        visits = [event.visit for event in first]
        if any(_is_epoch_loop(world.visits[visit].loop) for visit in visits):
            return ""
        if visits == [number for number, visit in enumerate(world.visits) if visit.passage == 1]:
            return BATCH
        return STEP if visits == [s.visit for s in world.steps if world.visits[s.visit].passage == 1] else ""

    @cached_property
    def horizon(self) -> ir.Expr | None:
        """The argument that says how long the schedule runs, as it is written."""
        found = self._horizon()
        return found[0] if found is not None else None

    @cached_property
    def counts(self) -> str:
        """What the horizon counts: `batch`, `step`, `epoch`, or an empty string."""
        found = self._horizon()
        if found is None:
            return ""
        node, value = found
        kinds: int = getattr(value, "kinds", 0)
        if kinds & BATCHES:
            return STEP if kinds & WINDOW else BATCH
        names = f"{text(node)} {getattr(value, 'path', '')}"
        return EPOCH if _EPOCHS.search(names) and not _STEPS.search(names) else ""

    def _horizon(self) -> tuple[ir.Expr, Any] | None:
        made = self.made
        if made is None or not isinstance(made.node, ir.Call):
            return None
        for place, name in HORIZONS.get(made.name, ()):
            value = made.given(place, name)
            node = next((a.value for a in made.node.arguments if a.keyword == name), None)
            if node is None and 0 <= place < len(made.node.arguments) and made.node.arguments[place].keyword is None:
                node = made.node.arguments[place].value
            if value is not None and node is not None:
                return node, value
        return None


def _is_epoch_loop(loop: ir.Node | None) -> bool:
    """Whether a loop over batches calls them epochs: a run on the whole set at once, whose batch is the epoch."""
    return isinstance(loop, ir.For) and bool(_EPOCHS.search(path_of(loop.target)))


def schedules(loop: Loop) -> Iterator[Schedule]:
    """The schedulers that a loop steps by itself, without telling them where they are and without a framework."""
    world = loop.high
    if not world.steps or not world.backwards:
        # how often a scheduler steps may hang on the window, which nobody knows then
        return
    found: dict[tuple[str, ir.Node], list[Event]] = {}
    for event in world.events:
        if event.kind == "schedule" and not event.flag and isinstance(event.node, ir.Call) and not event.node.arguments:
            found.setdefault((event.what, event.node), []).append(event)
    framework = any(step.framework for step in world.steps)
    for (path, _), events in found.items():
        if not framework:
            yield Schedule(loop, tuple(events), world.made.get(path))
