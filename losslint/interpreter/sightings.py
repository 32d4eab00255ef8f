"""What a name holds where it stands: each loss that is read or bound under a name is noted, for who points at it.

A normal run notes nothing: the statements and expressions that note are put in the evaluators of a `Listener` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from losslint.interpreter.evaluate import Evaluator
from losslint.interpreter.explain import unit_text, verb_words
from losslint.interpreter.explore import Explorer
from losslint.interpreter.ledger import Loop
from losslint.interpreter.program import Program
from losslint.interpreter.reading import Reading, grouped, representative
from losslint.interpreter.values import Linear, Scope, Step
from losslint.interpreter.world import Figure, World
from losslint.lowering import ir
from losslint.registry import Mark

Named: TypeAlias = ir.Name | ir.Attr

_READ = "read"
_BOUND = "bound"


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A loss under a name: its unit as a person writes it, and the lines where that came about. `bound`: the name is
    given the value here."""

    node: Named
    bound: bool
    unit: str
    trail: tuple[Mark, ...]


class Listener(Explorer):
    """Runs a module as any explorer does, and notes what its names hold."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self._noted: dict[World, list[Figure]] = {}

    def evaluator(self, world: World) -> Evaluator:
        """An evaluator that notes every loss that goes through a name."""
        evaluator = super().evaluator(world)
        _listen(evaluator, self._noted.setdefault(world, []))
        return evaluator

    def sightings(self) -> Iterator[Sighting]:
        """What was seen, by loop and fork: one name may be seen with several units."""
        for loop in self.explore():
            noted = {length: grouped(self._noted[world]) for length, world in loop.worlds.items()}
            for reading in loop.read(noted):
                place = (reading.figure.node, reading.figure.position)
                known = {
                    length: representative(places[place]).steps for length, places in noted.items() if place in places
                }
                yield _sighting(loop, reading, known)


def _sighting(loop: Loop, reading: Reading, trails: dict[int, tuple[Step, ...]]) -> Sighting:
    def unit_after(step: Step) -> str:
        found = {length: next((s for s in steps if s.node is step.node), None) for length, steps in trails.items()}
        return unit_text(loop, loop.unit_of(step, found))

    trail = tuple(Mark(step.node, verb_words(step), unit_after(step)) for step in reading.steps)
    # a term of a weighted sum has a unit of its own, and none as a part of that sum
    unit = trail[-1].unit if reading.unit is None and trail else unit_text(loop, reading.unit)
    node = reading.figure.node
    assert isinstance(node, Named)
    return Sighting(node, reading.figure.sink == _BOUND, unit, trail)


def _listen(evaluator: Evaluator, noted: list[Figure]) -> None:
    statements, expressions = evaluator.statements, evaluator.expressions
    for kind in (ir.Name, ir.Attr):
        expressions[kind] = _reading(evaluator, expressions[kind], noted)
    for statement in (ir.Assign, ir.Augment):
        statements[statement] = _binding(evaluator, statements[statement], noted)


def _reading(
    evaluator: Evaluator, evaluate: Callable[[Any, Scope], Any], noted: list[Figure]
) -> Callable[[Any, Scope], Any]:
    def listening(node: Any, scope: Scope) -> Any:
        value = evaluate(node, scope)
        if type(value) is Linear:
            noted.append(_figure(evaluator.world, node, value, _READ))
        return value

    return listening


def _binding(
    evaluator: Evaluator, run: Callable[[Any, Scope], int], noted: list[Figure]
) -> Callable[[Any, Scope], int]:
    def listening(node: Any, scope: Scope) -> int:
        signal = run(node, scope)
        for target in node.targets if isinstance(node, ir.Assign) else (node.target,):
            for name in _names(target):
                value = evaluator.eval(name, scope)
                if type(value) is Linear:
                    noted.append(_figure(evaluator.world, name, value, _BOUND))
        return signal

    return listening


def _names(target: ir.Expr) -> Iterator[Named]:
    if isinstance(target, Named):
        yield target
    elif isinstance(target, ir.Collection):
        for item in target.items:
            yield from _names(item)


def _figure(world: World, node: ir.Node, value: Linear, sink: str) -> Figure:
    return Figure(
        node,
        (sink,),
        value.weights,
        value.steps,
        value.state,
        world.current,
        world.passage,
        world.live > 0,
        sink,
        "",
        value.notes,
        world.now(),
    )
