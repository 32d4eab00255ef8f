"""What is reported to a person: every loss that is printed, logged, returned or kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint.interpreter import arithmetic
from losslint.interpreter.program import path_of
from losslint.interpreter.values import (
    GRAPH,
    Linear,
    Tensor,
    Text,
)
from losslint.interpreter.world import Figure, Retained
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

_MOST_PARTS = 12
_AXES = frozenset({"step", "global_step"})
"""Keywords that say where on the axis of a plot a figure goes."""


def report(ev: Evaluator, node: ir.Node, values: list[Any], sink: str) -> None:
    """Records every loss among the values that are shown to a person."""
    _report(ev, node, values, sink, (), _label(node))


def _report(ev: Evaluator, node: ir.Node, value: Any, sink: str, position: tuple[Any, ...], label: str) -> None:
    if len(position) > 5:
        return
    if isinstance(value, (list, tuple)):
        words = " ".join([label, *(part for part in value[:_MOST_PARTS] if isinstance(part, str))])
        for place, part in enumerate(value[:_MOST_PARTS]):
            _report(ev, node, part, sink, (*position, place), words)
    elif isinstance(value, dict):
        for key, part in value.items():
            _report(ev, node, part, sink, (*position, str(key)), f"{label} {key}")
    elif isinstance(value, Text):
        _report(ev, node, value.parts, sink, position, label)
    elif isinstance(value, Tensor) and value.evidence:
        _figure(ev, node, arithmetic.linear(ev, value), sink, position, label)
    elif isinstance(value, Linear):
        _figure(ev, node, value, sink, position, label)


def _figure(
    ev: Evaluator, node: ir.Node, form: Linear | None, sink: str, position: tuple[Any, ...], label: str
) -> None:
    world = ev.world
    if form is None or not form.weights:
        return
    world.figures.append(
        Figure(
            node,
            position,
            form.weights,
            form.steps,
            form.state,
            world.current,
            world.passage,
            world.live + world.inside > 0,
            sink,
            label,
            form.notes,
            world.now(),
        )
    )


def stored(ev: Evaluator, node: ir.Node, form: Linear, name: str) -> None:
    """A figure kept in a list outside the batch loop: the curve that is plotted later."""
    if not ev.world.live and not ev.world.inside:
        _figure(ev, node, form, "append", (name,), name)


def keep(ev: Evaluator, node: ir.Node, items: list[Any], value: Linear, name: str) -> None:
    """Remembers a list that keeps the graphs of several batches alive."""
    if value.state != GRAPH:
        return
    atoms = set(value.weights)
    for item in items:
        if type(item) is Linear and item.state == GRAPH:
            atoms.update(item.weights)
    if len({visit for _, visit in atoms}) >= arithmetic.RETAINED_AT:
        ev.world.retained.append(Retained(node, frozenset(atoms), name, value.steps))


def _label(node: ir.Node) -> str:
    """The words that a sink puts beside its figures: keywords of a call, the name that is returned."""
    if isinstance(node, ir.Call):
        return " ".join(given.keyword for given in node.arguments if given.keyword and given.keyword not in _AXES)
    return path_of(node.value) if isinstance(node, ir.Return) and node.value is not None else ""
