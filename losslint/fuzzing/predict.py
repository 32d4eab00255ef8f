"""What the static side says of a program: its ledger in every world, its findings, and why it judges nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from losslint import units
from losslint.engine import analyze, project_of
from losslint.findings import Finding, Severity
from losslint.interpreter import silence
from losslint.interpreter.explore import Explorer
from losslint.interpreter.ledger import Loop
from losslint.interpreter.program import Program
from losslint.interpreter.values import Atom, Exact
from losslint.interpreter.world import Contribution, World
from losslint.lowering import ir
from losslint.lowering.positions import locate
from losslint.registry import rules
from losslint.source import ProjectRoots, SourceFile


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step of the first pass: after how many batches, and the weight of each batch in it."""

    visit: int
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the first pass, by the line that shows it (0: returned), and the weight of each batch in it."""

    line: int
    visit: int
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Ledger:
    """One world of one fork."""

    window: int
    batches: int
    last: int
    steps: tuple[Step, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Fork:
    """One loop in one fork: its ledgers, the reasons why its gradients are not judged (none where they are), by the
    line that shows it why a figure is not, and why the end of a pass is not."""

    ledgers: tuple[Ledger, ...]
    silent: tuple[str, ...]
    open_figures: tuple[tuple[int, str], ...]
    open_tail: tuple[str, ...]
    decisions: dict[str, bool]
    """What was decided about conditions that are not known, by the last name in them."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """All that the static side says of one program."""

    forks: tuple[Fork, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def silent(self) -> tuple[str, ...]:
        """The reasons of all forks."""
        return tuple(dict.fromkeys(reason for fork in self.forks for reason in fork.silent))


def predict(text: str, scale: float) -> Prediction:
    """Reads a program. Where a weight carries the AMP scale, it is `scale`."""
    source = SourceFile(Path("/nowhere/program.py"), "program.py", text)
    analysis = analyze(source, ProjectRoots(()), rules(), Severity.INFO)
    home = project_of(ProjectRoots(()))
    loops = Explorer(Program(home, home.add(source))).explore()
    forks = tuple(
        Fork(
            tuple(_ledgers(loop, scale)),
            silence.reasons(loop),
            _open(loop),
            silence.tail_reasons(loop),
            {str(key[-1] if isinstance(key, tuple) else key).split(".")[-1]: so for key, so in loop.decisions.items()},
        )
        for loop in loops
    )
    return Prediction(forks, analysis.findings, analysis.notes)


def _open(loop: Loop) -> tuple[tuple[int, str], ...]:
    open_figures = [(reading.figure, reason) for reading, reason in silence.open_readings(loop)]
    lines = _lines(loop, [figure.node for figure, _ in open_figures])
    returned = ("return", "append")
    return tuple(
        (0 if figure.sink in returned else lines.get(id(figure.node), -1), reason) for figure, reason in open_figures
    )


def _lines(loop: Loop, nodes: list[ir.Node]) -> dict[int, int]:
    return {node: place.start_line for node, place in locate(loop.program.module, nodes).items()}


def _ledgers(loop: Loop, scale: float) -> Iterable[Ledger]:
    for length, world in loop.worlds.items():
        yield _ledger(loop, world, length, units.BATCHES, units.BATCH, scale)
    if loop.window is not None:
        tail = loop.tail
        yield _ledger(loop, tail, tail.settings.window, tail.settings.batches, units.BATCH // 2, scale)


def _ledger(loop: Loop, world: World, window: int, batches: int, last: int, scale: float) -> Ledger:
    lines = _lines(loop, [figure.node for figure in world.figures])
    steps = []
    dead = {site for term in world.dead_terms.values() for site, _ in term.atoms}
    for step in world.steps:
        if 0 <= step.visit < batches:
            held = _summed(c for c in (*step.fresh, *step.stale) if c.atom[0] not in dead)
            steps.append(Step(step.visit, _by_place(world, held, batches, scale)))
    figures = []
    returned = "return" if any(figure.sink == "return" for figure in world.figures) else "append"
    for figure in world.figures:
        at_end = figure.sink == returned
        visit = _trained(world, figure.visit)
        if figure.sink in {"append", "return", "held"} - {returned} or (visit >= batches and not at_end):
            continue
        if any(not _is_trained(world, visit) for _, visit in figure.weights):
            continue
        line = 0 if at_end else lines.get(id(figure.node), -1)
        figures.append(Figure(line, visit, _by_place(world, figure.weights, batches, scale)))
    return Ledger(window, batches, last, tuple(steps), tuple(figures))


def _is_trained(world: World, visit: int) -> bool:
    """Whether a batch is one of the training data, whose loader is the first."""
    return visit < 0 or world.visits[visit].loader == world.visits[0].loader


def _trained(world: World, visit: int) -> int:
    """The number of the last training batch at a batch."""
    return sum(_is_trained(world, earlier) for earlier in range(visit + 1)) - 1


def _summed(contributions: Iterable[Contribution]) -> dict[Atom, Exact]:
    held: dict[Atom, Exact] = {}
    for contribution in contributions:
        held[contribution.atom] = held.get(contribution.atom, 0) + contribution.weight
    return held


def _by_place(world: World, weights: dict[Atom, Exact], batches: int, scale: float) -> tuple[float, ...]:
    """The weight of all items of a batch together, by the place of the batch in its pass."""
    found = [0.0] * batches
    for (_, visit), weight in weights.items():
        if visit < 0:
            continue
        found[world.visits[visit].place % batches] += _scaled(world, Fraction(weight), scale)
    return tuple(found)


def _scaled(world: World, weight: Fraction, scale: float) -> float:
    value = 1.0
    for prime, name in world.factor_names.items():
        while weight and weight.numerator % prime == 0 and _is_number(name):
            weight, value = weight / prime, value * float(name)
    unit = units.read(weight)
    return value * float(weight) * (scale / units.SCALE) ** unit.scale if unit is not None else 0.0


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
