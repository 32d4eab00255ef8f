"""A figure that a person reads: its unit, its trail, and the loss that it is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.interpreter.values import (
    WINDOW,
    Atom,
    Exact,
    Site,
    Step,
)
from losslint.interpreter.world import Figure, World
from losslint.lowering import ir

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A reported figure with its unit. `unit` is None where it fits no monomial or an unknown factor is in it.

    `figure` is its instance at the longest window; `site` the loss that it is made of; `visits` how many batches went
    into it at window 1; `alone`: it holds the loss of one batch only; `weights` its total at every window.
    """

    figure: Figure
    site: Site
    unit: units.Unit | None
    visits: int
    weights: dict[int, Fraction]
    steps: tuple[Step, ...]
    loader: str

    @property
    def accumulated(self) -> Step | None:
        """The line where batches are added up."""
        return next((step for step in reversed(self.steps) if step.verb in ("+=", "append")), None)

    @property
    def handed_out(self) -> ir.Node:
        """The line that gives the figure out: where a function returns it, else where it is shown."""
        returned = next((step.node for step in reversed(self.steps) if step.verb == "return"), None)
        return returned if returned is not None else self.figure.node

    def added_at(self, *made: Step) -> ir.Node | None:
        """The line to mark in a sum over batches: where the loop hands its loss to a meter, or the adding line itself
        where there is no meter or where what is wrong (`made`) happens inside of it."""
        added = self.accumulated
        if added is None:
            return None
        inside = added.entry is not None and any(step.entry is added.entry for step in made)
        return added.node if added.entry is None or inside else added.entry

    @property
    def division(self) -> Step | None:
        """The division that makes a mean out of the sum: the last one that comes after the adding up."""
        added = self.accumulated
        later = self.steps[self.steps.index(added) + 1 :] if added is not None else self.steps
        return next((step for step in reversed(later) if step.verb == "/"), None)

    @property
    def division_is_window(self) -> bool:
        """Whether the only division in the trail is the one by the window."""
        return all(step.kinds & WINDOW for step in self.steps if step.verb == "/")


def by_place(world: World) -> dict[tuple[ir.Node, tuple[Any, ...]], list[Figure]]:
    """The figures of a run by the place that shows them, oldest first."""
    return grouped(world.figures)


def grouped(figures: Iterable[Figure]) -> dict[tuple[ir.Node, tuple[Any, ...]], list[Figure]]:
    """Figures by place, in their order."""
    places: dict[tuple[ir.Node, tuple[Any, ...]], list[Figure]] = {}
    for figure in figures:
        places.setdefault((figure.node, figure.position), []).append(figure)
    return places


def representative(figures: list[Figure]) -> Figure:
    """The last instance in the first pass: a running figure is judged at its end, a cumulative one before it grows."""
    first = figures[0].passage
    return [figure for figure in figures if figure.passage == first][-1]


def main_site(weights: dict[Atom, Exact], trained: set[ir.Node]) -> Site | None:
    """The loss that a figure is made of: one that is trained on, else the one with the best evidence."""
    sites = list(dict.fromkeys(site for site, _ in weights if site.evidence))
    for site in sites:
        if site.node in trained:
            return site
    return max(sites, key=lambda site: site.evidence, default=None)


def site_total(weights: dict[Atom, Exact], node: ir.Node) -> Fraction:
    """The weight that the losses made at one place have together."""
    return Fraction(sum(weight for (site, _), weight in weights.items() if site.node is node))


def step_in(world: World, node: ir.Node) -> Step | None:
    """The line of provenance that a node made in a run."""
    trails = (record.steps for records in (world.figures, world.backwards) for record in records)
    return next((step for steps in trails for step in steps if step.node is node), None)


def split_of(path: str) -> str:
    """`train`, `val` or `test`, where a name says so."""
    found = {_SPLITS[word] for word in _SPLIT_WORD.findall(path.lower())}
    return found.pop() if len(found) == 1 else ""


_SPLITS = {"train": "train", "val": "val", "eval": "val", "dev": "val", "test": "test"}


_SPLIT_WORD = re.compile(r"(?<![a-z])(train|val(?!u)|eval|dev(?!ic)|test)")
