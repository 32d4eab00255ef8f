"""Where a value left the graph: what a detached tensor or loss remembers of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from losslint.interpreter.values import BATCH_TRAITS, CONSTANT, DETACHED, GRAPH, Cut, Linear, Tensor, Unknown

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator
    from losslint.lowering import ir

REWRAPPED = "rewrapped"
NO_GRAD = "no_grad"
BY_HAND = frozenset({"item", "tolist", "numpy", "float", "detach", "data"})
"""Cuts that somebody wrote down to get out of the graph; other kinds are the names of functions without a gradient."""
WITHOUT_GRADIENT = frozenset({"argmax", "round", "one_hot"})
"""What `outputs` calls functions that are flat wherever they have a value."""


def cuts(value: Any) -> frozenset[Cut]:
    """Where a value left the graph; none where it is in the graph, or where that is not known."""
    if type(value) is Tensor and value.state != GRAPH:
        return frozenset() if value.cut is None else frozenset({value.cut})
    if type(value) is Linear and value.state != GRAPH:
        return frozenset(note for note in value.notes if type(note) is Cut)
    return frozenset()


def outside(values: Iterable[Any]) -> frozenset[Cut]:
    """The cuts of values none of which is in the graph: data of the loader, constants, and what was cut off. Empty
    where one of them is, or may be."""
    found: frozenset[Cut] = frozenset()
    for value in values:
        if type(value) in (Unknown, list, tuple, dict):
            return frozenset()
        if type(value) in (Tensor, Linear):
            if type(value) is Tensor and "batch" in value.traits:
                continue
            where = cuts(value)
            if not where:
                return frozenset()
            found |= where
    return found


def inherit(result: Any, source: Any) -> Any:
    """A tensor made of another one alone, and out of the graph like it, left it in the same place."""
    if type(result) is Tensor and type(source) is Tensor and result.state != GRAPH and result.cut is None:
        result.cut = source.cut
    return result


def derived(result: Tensor, *operands: Any) -> Tensor:
    """A tensor made of operands none of which is in the graph is not in it either."""
    where = outside(operands)
    if where:
        result.state, result.cut = DETACHED, first(where)
    return result


def first(where: Iterable[Cut]) -> Cut:
    """The cut that came first, or the new leaf where one was made: what was cut before it no longer matters."""
    return min(where, key=lambda cut: (cut.kind != REWRAPPED, cut.order))


def rewrapped(ev: Evaluator, value: Any, node: ir.Node) -> Any:
    """A loss put into a new tensor: its value, and no way back to the parameters."""
    if type(value) is not Linear:
        return value
    return value.alias(min(value.state, DETACHED), ev.world.cut(REWRAPPED, node))


def made_leaf(ev: Evaluator, value: Linear | Tensor, node: ir.Node) -> None:
    """`requires_grad_()`, or `requires_grad = True`, on a value. A loss that is out of the graph stays out of it; any
    other tensor is a leaf then: an input that is optimised, or the input of a part of the network."""
    if type(value) is Linear:
        if value.state != GRAPH:
            value.notes = value.notes | {ev.world.cut(REWRAPPED, node)}
    elif type(value) is Tensor and not value.evidence:
        value.state, value.cut = GRAPH, None
        value.traits = value.traits - BATCH_TRAITS - {CONSTANT}
