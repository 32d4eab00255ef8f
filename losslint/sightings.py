"""The unit of every loss that a file names, where the name stands: what an editor shows to who points at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from losslint.findings import Range, TrailStep
from losslint.source import ProjectRoots, SourceFile

if TYPE_CHECKING:
    from losslint.notebooks import Notebook


@dataclass(frozen=True, slots=True)
class NamedUnit:
    """A name that holds a loss at `range`: the unit in the user's words, and the lines where it came about.

    `bound`: the name is given the value there. `path` and `cell` as in `Finding`.
    """

    path: str
    range: Range
    bound: bool
    unit: str
    trail: tuple[TrailStep, ...]
    cell: int | None = None


def named_units(source: SourceFile, roots: ProjectRoots) -> tuple[NamedUnit, ...]:
    """The losses that are named in a file and in those it calls, each place with each of its units once.

    Raises `SourceError` where the file does not parse.
    """
    from losslint.engine import places_of, project_of, trail_steps
    from losslint.interpreter.program import Program
    from losslint.interpreter.sightings import Listener

    home = project_of(roots)
    module = home.add(source)
    seen = list(Listener(Program(home, module)).sightings())
    nodes = [node for one in seen for node in (one.node, *(mark.node for mark in one.trail))]
    places = places_of(nodes, source, home, module)
    bound = {id(one.node) for one in seen if one.bound}

    def found() -> Iterator[NamedUnit]:
        for one in seen:
            place = places.get(id(one.node))
            # what a statement binds is told, not what `+=` finds there
            if place is not None and (one.bound or id(one.node) not in bound):
                unit = NamedUnit(place[0], place[1], one.bound, one.unit, trail_steps(one.trail, places))
                yield unit if source.notebook is None else _in_cells(unit, source.name, source.notebook)

    return tuple(dict.fromkeys(found()))


def _in_cells(unit: NamedUnit, name: str, notebook: Notebook) -> NamedUnit:
    """A unit in the program of a notebook as one in its cells."""

    def step_in_cell(step: TrailStep) -> TrailStep:
        if step.path != name:
            return step
        cell, where = notebook.place(step.range)
        return replace(step, cell=cell, range=where)

    trail = tuple(map(step_in_cell, unit.trail))
    if unit.path != name:
        return replace(unit, trail=trail)
    cell, where = notebook.place(unit.range)
    return replace(unit, cell=cell, range=where, trail=trail)
