"""What rules read: one loop in one fork, run at every window, and the questions that the laws ask of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from losslint import units
from losslint.interpreter import defaults
from losslint.interpreter.arithmetic import path_text
from losslint.interpreter.program import Program, blocks
from losslint.interpreter.reading import Reading, by_place, main_site, representative, site_total, split_of, step_in
from losslint.interpreter.values import BATCHES, GRAPH, SAMPLES, Exact, Key, Loader, Site, Step
from losslint.interpreter.world import Backward, Contribution, Figure, OptimizerStep, Retained, World, Zeroing
from losslint.lowering import ir


class Window(NamedTuple):
    """The accumulation window: what names it, and where it showed itself."""

    key: Key
    node: ir.Node


class Leftover(NamedTuple):
    """How many micro-batches are left over, whether they leak into the next pass, and whether constants of the program
    show that there are some."""

    batches: int
    leaked: bool
    shown: bool


@dataclass(eq=False)
class Loop:
    """One root in one fork: its worlds by window length. `again` runs it once more with a condition flipped on one
    step, or with a short tail."""

    program: Program
    kind: str
    worlds: dict[int, World]
    window: Window | None
    decisions: dict[Key, bool]
    again: Callable[[ir.Node | None, bool], World]
    siblings: list[Loop] = field(default_factory=list)

    # ------------------------------------------------------------ worlds

    @property
    def base(self) -> World:
        """The world at window 1: nothing is accumulated, so what it shows is right by definition of the loss."""
        return self.worlds[1]

    @property
    def high(self) -> World:
        """The world at the longest window."""
        return self.worlds[max(self.worlds)]

    @cached_property
    def tail(self) -> World:
        """The world whose last window is short, and whose last batch is short."""
        return self.again(None, True)

    @property
    def facts(self) -> list[ir.Facts]:
        """What the module contains, and every function that was run, in whichever file."""
        return [self.program.module.facts, *(function.facts for function in self.base.entered)]

    @property
    def subjects(self) -> int:
        """How much of what the laws speak of was found here."""
        world = self.base
        return len(world.backwards) + len(world.dead_backwards) + len(world.figures) + len(world.retained)

    # ------------------------------------------------------------ gradients

    @property
    def gradients_known(self) -> bool:
        """Whether the gradients of this loop can be judged: one optimizer (or several that step together), nothing
        unclear."""
        world = self.high
        return (
            bool(world.backwards and world.steps) and not world.unclear and self.in_step and self.zeroed_inside is None
        )

    @cached_property
    def in_step(self) -> bool:
        """Whether all optimizers step on the same batches, after the same backwards."""
        by_optimizer: dict[str, list[int]] = {}
        for step in self.high.steps:
            by_optimizer.setdefault(step.optimizer, []).append(step.visit)
        if len({tuple(visits) for visits in by_optimizer.values()}) != 1:
            return False
        if len(by_optimizer) == 1:
            return True
        # several optimizers on one batch, each after a backward of its own, are adversaries and not one network
        times = sorted((step.time, "step") for step in self.high.steps)
        backward = sorted(b.time for b in self.high.backwards)
        return not any(
            any(first[0] < time < second[0] for time in backward)
            for first, second in pairwise(times)
            if self._same_visit(first[0], second[0])
        )

    def _same_visit(self, first: int, second: int) -> bool:
        visits = {step.time: step.visit for step in self.high.steps}
        return visits[first] == visits[second]

    def steady(self, world: World) -> list[OptimizerStep]:
        """The steps of the first optimizer that consumed something."""
        if not world.steps:
            return []
        name = world.steps[0].optimizer
        return [step for step in world.steps if step.optimizer == name and step.fresh]

    def step_weight(self, world: World) -> dict[ir.Node, Fraction] | None:
        """The weight that each loss has in an ordinary optimizer step, by the place that makes it: one that ends a
        whole window, where there is one."""
        steps = self.steady(world)
        whole = [step for step in steps if len({c.atom[1] for c in step.fresh}) == world.settings.window]
        totals = Counter(_total(step) for step in whole or steps)
        if not totals:
            return None
        best = max(totals, key=lambda total: totals[total])
        return dict(best)

    @cached_property
    def gradient_exponent(self) -> int | None:
        """The power of the window in an optimizer step: 0 is right, 1 is undivided, -1 divided twice."""
        weights = {length: self.step_weight(world) for length, world in self.worlds.items()}
        if len(weights) < 2 or any(not weight for weight in weights.values()):
            return None
        base = weights[1]
        assert base is not None
        exponents = set()
        if any(weight.keys() - base.keys() for weight in weights.values() if weight is not None):
            # a window that lets its micro-batches take different branches: their losses count together
            together = {length: sum(weight.values(), Fraction(0)) for length, weight in weights.items() if weight}
            return units.window_exponent(together)
        for node in base:
            values = {length: weight.get(node, Fraction(0)) for length, weight in weights.items() if weight is not None}
            exponents.add(units.window_exponent(values))
        return exponents.pop() if len(exponents) == 1 else None

    def backward_weights(self, world: World) -> dict[ir.Node, list[tuple[Backward, Fraction]]]:
        """The weight of the batch's own loss at each backward, by the place that makes the loss."""
        found: dict[ir.Node, list[tuple[Backward, Fraction]]] = {}
        for backward in world.backwards:
            for (site, visit), weight in backward.weights.items():
                if visit == backward.visit:
                    found.setdefault(site.node, []).append((backward, Fraction(weight)))
        return found

    def loss_weight(self, node: ir.Node) -> Fraction:
        """What the loss made at `node` is worth in the gradient at window 1, the AMP scale left out; 1 where it is
        only reported."""
        for backward in self.base.backwards:
            for (site, _), weight in backward.weights.items():
                if site.node is node and weight:
                    value = Fraction(weight)
                    return value / units.SCALE if value.numerator % units.SCALE == 0 else value
        return Fraction(1)

    def is_summed(self, site: Site) -> bool:
        """Whether a loss is a sum over its batch that is not divided by the batch's size on its way to the gradient."""
        if site.reduction != "sum":
            return False
        unit = units.read(self.loss_weight(site.node)) if site.node in self.trained else None
        return unit is None or unit.batch != 0

    @cached_property
    def trained(self) -> set[ir.Node]:
        """The places whose loss reaches a backward."""
        return {site.node for backward in self.base.backwards for site, _ in backward.weights}

    # ------------------------------------------------------------ figures

    @cached_property
    def readings(self) -> list[Reading]:
        """Every figure that a person reads, with its unit."""
        return list(self.read({length: by_place(world) for length, world in self.worlds.items()}))

    def read(self, indexed: dict[int, dict[tuple[ir.Node, tuple[Any, ...]], list[Figure]]]) -> Iterator[Reading]:
        """The reading of each place, from its figures at every window."""
        for place, figures in indexed[1].items():
            last = representative(figures)
            site = main_site(last.weights, self.trained)
            if site is None:
                continue
            values: dict[int, Fraction] = {}
            for length, places in indexed.items():
                if place in places:
                    values[length] = site_total(representative(places[place]).weights, site.node)
            visits = len({visit for s, visit in last.weights if s.node is site.node})
            shown = representative(indexed[max(indexed)].get(place, figures))
            visit = next((visit for s, visit in last.weights if s.node is site.node), -1)
            loader = self.base.visits[visit].loader if visit >= 0 else ""
            unit = None if self._left_early(visit, visits) else self._unit(values, site, visits)
            yield Reading(shown, site, unit, visits, values, shown.steps, loader)

    def _left_early(self, visit: int, visits: int) -> bool:
        """Whether the pass behind a figure was broken off: what part of the real pass that is, is not known."""
        world = self.base
        return visit >= 0 and world.visits[visit].loop in world.left_early and visits < world.settings.batches

    def have_one_reference(self, *readings: Reading) -> bool:
        """Whether the units of figures count from the same: a training loss that is scaled counts from its own."""
        return len({self._reference(reading.site, reading.visits > 1) for reading in readings}) == 1

    def _reference(self, site: Site, per_sample: bool) -> Fraction:
        """What counts as the loss itself. Over several batches a summed loss is compared with its mean per sample."""
        weight = self.loss_weight(site.node)
        if site.reduction == "mean" and site.evidence >= 3 and weight.denominator % units.BATCH == 0:
            # a mean that is divided by the batch size once more has too small a gradient: it says nothing of the loss
            return weight * units.BATCH
        if site.reduction != "sum":
            return weight
        if not per_sample:
            return weight if site.node in self.trained else Fraction(units.BATCH)
        while weight.numerator % units.BATCH == 0:
            weight /= units.BATCH
        return weight

    def _unit(self, values: dict[int, Fraction], site: Site, visits: int) -> units.Unit | None:
        base = values.get(1)
        if not base:
            return None
        unit = units.read(base / self._reference(site, visits > 1))
        if unit is None or unit.other:
            return None
        if len(values) < len(self.worlds):
            return None
        exponent = units.window_exponent(values) if len(values) > 1 else 0
        if exponent is None:
            return None
        return units.Unit(unit.batch, unit.batches, unit.log, unit.scale, unit.processes, exponent, False)

    def divided_elsewhere(self, reading: Reading) -> bool:
        """Whether the same sum is also shown divided: then the undivided one is a total on purpose."""
        added = reading.accumulated
        return any(
            other is not reading
            and added is not None
            and other.accumulated is not None
            and other.accumulated.node is added.node
            and other.division is not None
            # an entry of the same list from another epoch is the same figure
            and (reading.division is None or other.division.node is not reading.division.node)
            for other in self.readings
        )

    def handed_to_other_files(self, reading: Reading) -> bool:
        """Whether a figure is returned to (or held for) callers in other files: what they make of it is not seen."""
        if reading.figure.sink not in ("return", "held"):
            return False
        module = self.program.module
        home = next(
            (f for f in module.functions if _holds(f.body, reading.figure.node) or f is reading.figure.node), None
        )
        if home is None:
            return False
        names = {home.name, home.outer or home.name}
        return any(self.program.project.used_elsewhere(module, name) for name in names)

    def is_training(self, reading: Reading) -> bool:
        """Whether the losses of a figure come from batches that were trained on."""
        trained = {visit for backward in self.base.backwards for _, visit in backward.weights}
        figure = representative(by_place(self.base)[(reading.figure.node, reading.figure.position)])
        return any(visit in trained for site, visit in figure.weights if site.evidence)

    def _first(self, reading: Reading, passage: int | None = None) -> list[Figure]:
        figures = by_place(self.base)[(reading.figure.node, reading.figure.position)]
        return figures if passage is None else [f for f in figures if f.passage == passage]

    def ends_an_epoch(self, reading: Reading) -> bool:
        """Whether a figure stands after a loop over a loader that is one of several epochs."""
        figures = self._first(reading)
        site = reading.site
        last = figures[0]
        visits = [visit for s, visit in last.weights if s.node is site.node]
        if not visits or visits[0] < 0:
            return False
        visit = self.base.visits[visits[0]]
        made = next(s for s, _ in last.weights if s.node is site.node)
        same_pass = [other for other in made.visits if other >= 0 and self.base.visits[other].passage == visit.passage]
        if not isinstance(visit.loop, ir.For) or not visit.loader or len(same_pass) < 2:
            return False
        return visit.place == self.base.settings.batches - 1

    def reset_in_loop(self, added: Step) -> ir.Node | None:
        """The line that sets an accumulator to zero on every batch."""
        resets = [reset for reset in self.base.resets if reset.name == added.of and reset.live]
        return resets[0].node if len(resets) >= 3 else None

    def grows_over_epochs(self, reading: Reading) -> bool:
        """Whether a figure of the second pass holds the first pass too, divided by one pass's count."""
        if reading.unit is None or not reading.unit.is_one or reading.division is None:
            return False
        figures = self._first(reading)
        passages = sorted({figure.passage for figure in figures})
        if len(passages) < 2:
            return False
        first = representative([f for f in figures if f.passage == passages[0]])
        second = representative([f for f in figures if f.passage == passages[1]])
        site = reading.site.node
        ratio = site_total(second.weights, site) / site_total(first.weights, site)
        return ratio == 2 and self.one_call(first, second)

    def one_call(self, first: Figure, second: Figure) -> bool:
        """Whether two figures come from one call of the root: a root that is called twice by us has no epoch loop."""
        return not any(first.time < time < second.time for time in self.base.calls)

    def epochs_in_one_figure(self, reading: Reading) -> bool:
        """Whether a figure that is shown once holds both passes, divided by one pass's count."""
        if self.base.uncalled:
            # where the step is only named, nothing tells a pass over all batches from one over a window
            return False
        figures = self._first(reading)
        visits = {visit for site, visit in figures[-1].weights if site.node is reading.site.node and visit >= 0}
        passages = {self.base.visits[visit].passage for visit in visits}
        if len(passages) < 2 or len(figures) > 1 or any(time < figures[0].time for time in self.base.calls[1:]):
            return False
        total = site_total(figures[-1].weights, reading.site.node) / self.loss_weight(reading.site.node)
        return total == 2

    def other_split(self, reading: Reading) -> tuple[str, str] | None:
        """The loader that was added up and the other one whose length it is divided by, both by name."""
        division = reading.division
        if division is None or not division.of or division.of in self._own_names(reading):
            return None
        mine, other = split_of(reading.loader), split_of(division.of)
        return (reading.loader, division.of) if mine and other and mine != other else None

    def _loader(self, reading: Reading) -> Loader | None:
        return self.base.loaders.get(reading.loader)

    def _own_names(self, reading: Reading) -> set[str]:
        """What the loader behind a figure, and the set that it walks, are called."""
        loader = self._loader(reading)
        names = {reading.loader, f"{reading.loader}.dataset", f"{reading.loader}.sampler"} if reading.loader else set()
        return names | {loader.source} if loader is not None and loader.source else names

    def counts_own_samples(self, reading: Reading) -> bool:
        """Whether samples that are divided by are known to be those of the batches that were added up."""
        division = reading.division
        return division is None or not division.kinds & SAMPLES or division.of in self._own_names(reading)

    def left_out(self, reading: Reading) -> str:
        """Why the samples that a divisor counts are more than the loader gave; empty where they are not."""
        division, loader = reading.division, self._loader(reading)
        if division is None or loader is None or not division.kinds & SAMPLES or not division.of:
            return ""
        if division.of in (loader.source, f"{loader.path}.dataset"):
            if loader.sampled:
                return "the loader's sampler walks a part of the samples that the divisor counts"
            return "`drop_last=True` leaves samples out that the divisor counts" if loader.drop_last else ""
        walked = self.base.loaders.get(loader.source)
        if walked is not None and walked.part_of == division.of:
            return f"the loader walks a part of `{division.of}`, all of which the divisor counts"
        return ""

    def left_early(self, reading: Reading) -> ir.If | None:
        """The condition on the batch's own number that ends a pass before its end, whose full length is divided by."""
        division, loop = reading.division, self._loop_of(reading)
        if division is None or loop is None or not division.kinds & (BATCHES | SAMPLES) or not division.of:
            return None
        counter = next(iter(loop.target.items), None) if isinstance(loop.target, ir.Collection) else None
        if not isinstance(counter, ir.Name):
            return None
        for statement in loop.body:
            if not isinstance(statement, ir.If) or not any(isinstance(inner, ir.Break) for inner in statement.body):
                continue
            if any(_compares(test, counter.id) for test in _conjuncts(statement.test)):
                return statement
        return None

    def _loop_of(self, reading: Reading) -> ir.For | None:
        atoms = (atom for figure in self._first(reading) for atom in figure.weights)
        visits = [visit for site, visit in atoms if site.node is reading.site.node]
        loop = self.base.visits[visits[0]].loop if visits and visits[0] >= 0 else None
        return loop if isinstance(loop, ir.For) else None

    def weighs_short_batch_like_a_full_one(self, reading: Reading) -> bool:
        """Whether the loss of a short last batch has the weight that the loss of a full batch has."""
        loader = self._loader(reading)
        if not reading.loader or reading.visits != self.base.settings.batches:
            return False
        if loader is not None and (loader.drop_last or loader.single):
            return False
        world = self.tail
        figures = by_place(world).get((reading.figure.node, reading.figure.position))
        if not figures:
            return False
        full: set[Exact] = set()
        short: set[Exact] = set()
        for (site, visit), weight in representative(figures).weights.items():
            if site.node is reading.site.node and visit >= 0:
                (full if world.visits[visit].size == units.BATCH else short).add(weight)
        return len(short) == 1 and full == short

    def nonlinear_figures(self) -> Iterator[tuple[Figure, Step, Site]]:
        """Figures in which a nonlinear function of each batch is added up over batches, with the adding line and the
        place of the function. One that is trained on is the loss itself; of a batch of one sample it is a figure of the
        sample."""
        seen = set()
        for figure in self.base.figures:
            bent = [
                (site, visit)
                for site, visit in figure.weights
                if "nonlinear" in site.traits and site.node not in self.trained and self.base.visits[visit].size != 1
            ]
            # one of each pass is a figure of that pass: an epoch's, a fold's
            passes = Counter(self.base.visits[visit].passage for visit in {visit for _, visit in bent})
            if max(passes.values(), default=0) < 2:
                continue
            added = next((step for step in reversed(figure.steps) if step.verb in ("+=", "append")), None)
            if added is not None and added.node not in seen:
                seen.add(added.node)
                yield figure, added, bent[0][0]

    def judges_while_training(self, reading: Reading) -> bool:
        """Whether a figure is of a loss that is not trained on, computed among batches that are: of other data."""
        trained = {self.base.visits[backward.visit].passage for backward in self.base.backwards}
        passes = {self.base.visits[visit].passage for _, visit in reading.figure.weights if visit >= 0}
        return reading.site.node not in self.trained and bool(passes) and passes <= trained

    def keeps_graph(self, retained: Retained) -> bool:
        """Whether graphs are built for nothing where nothing is trained: in an evaluation without `no_grad`."""
        evaluates = any(event.kind == "eval" for event in self.base.events)
        handed_out = [f for f in self.base.figures if f.sink == "return" and f.state == GRAPH]
        if any(retained.atoms & figure.weights.keys() for figure in handed_out):
            # its caller may backpropagate it
            return False
        return evaluates and not self.base.backwards and any(site.evidence >= 2 for site, _ in retained.atoms)

    def emptied_in_loop(self, retained: Retained) -> bool:
        """Whether the loop that fills an accumulator also sets it to zero somewhere: it does not grow without end."""
        loops = {self.base.visits[visit].loop for _, visit in retained.atoms if visit >= 0}
        return any(isinstance(loop, (ir.For, ir.While)) and _empties(loop.body, retained.name) for loop in loops)

    def steps_of(self, retained: Retained) -> tuple[Step, ...]:
        """The trail of an accumulator that is not reported."""
        return retained.steps

    def calls_by_name(self, names: set[str]) -> bool:
        """Whether code that ran calls, by name, a function of the file that did not run and that calls one of `names`;
        or calls one of them itself where the run did not follow."""
        entered = self.base.entered
        called = {name for function in entered for name in function.facts.calls}
        if self.kind == "script":
            called |= self.program.module.facts.calls
        hidden = [f for f in self.program.module.functions if f not in entered and not f.facts.calls.isdisjoint(names)]
        return any(function.name in called for function in hidden)

    @cached_property
    def zeroed_inside(self) -> Zeroing | None:
        """The zeroing that throws away micro-batches of a window that has not been stepped yet."""
        world = self.high
        stepped = {step.visit for step in world.steps}
        # a pass without any step is no accumulation: a dry run that warms up, a look at the gradients
        passages = {world.visits[visit].passage for visit in stepped if visit >= 0}
        inside = [
            zeroing
            for zeroing in world.zeroings
            if self._loses_its_own_pass(zeroing)
            and (zeroing.visit < 0 or world.visits[zeroing.visit].passage in passages)
        ]
        if self.window is None or any(step.framework for step in world.steps):
            # an engine keeps gradients of its own
            return None
        if len(inside) >= max(len(stepped), 2) or self._zeroed_before_the_last(inside):
            return inside[0]
        return None

    def _zeroed_before_the_last(self, inside: Sequence[Zeroing]) -> bool:
        """Whether all steps after the first one of a pass see the micro-batch of their own iteration alone, because the
        same backward's gradients of those before it were thrown away."""
        world = self.high
        pairs = [
            (before, step)
            for before, step in pairwise(world.steps)
            if 0 <= before.visit < step.visit and world.visits[before.visit].passage == world.visits[step.visit].passage
        ]
        return bool(pairs) and all(
            step.fresh
            and all(c.atom[1] == step.visit for c in step.fresh)
            and any(
                before.time < zeroing.time < step.time and self._made_by(zeroing.lost) & self._made_by(step.fresh)
                for zeroing in inside
            )
            for before, step in pairs
        )

    def _made_by(self, contributions: Iterable[Contribution]) -> set[ir.Node]:
        return {self.high.backwards[contribution.backward].node for contribution in contributions}

    def _loses_its_own_pass(self, zeroing: Zeroing) -> bool:
        """At the start of an epoch a leftover of the last one is thrown away on purpose."""
        visits = self.high.visits
        passage = visits[zeroing.visit].passage if zeroing.visit >= 0 else 0
        return any(visits[c.atom[1]].passage == passage for c in zeroing.lost)

    # ------------------------------------------------------------ the end of a pass

    @cached_property
    def leftover(self) -> Leftover | None:
        """Micro-batches of an incomplete last window that reach no step of their own pass."""
        world = self.tail
        if world.endless or world.unclear or not world.steps or not world.backwards:
            return None
        if any(step.framework for step in world.steps):
            return None
        reached = {
            c.atom[1]: world.visits[step.visit].passage for step in world.steps for c in step.fresh if step.visit >= 0
        }
        first = world.visits[world.backwards[0].visit].passage
        mine = {b.visit for b in world.backwards if world.visits[b.visit].passage == first}
        length = world.lengths.get(world.visits[world.backwards[0].visit].loop)  # type: ignore[arg-type]
        known = defaults.known_number(self.program, self.window.key) if self.window is not None else None
        shown = length is not None and known is not None
        if length is not None and known is not None and length % known.value == 0:
            return None
        if len(mine) != world.settings.batches or not (shown or all(world.visits[visit].loader for visit in mine)):
            return None
        left = {visit for visit in mine if reached.get(visit) != first}
        if not left or len(left) >= world.settings.window or self._steps_first:
            return None
        usual = {len({c.atom[1] for c in step.fresh}) for step in world.steps}
        if usual == {world.settings.window} and any(visit in reached for visit in left):
            # the gate counts on over the end of a pass: every window is whole
            return None
        dropped = {c.atom[1] for zeroing in world.zeroings for c in zeroing.lost}
        return Leftover(len(left), any(visit in reached for visit in left) and not left <= dropped, shown)

    @property
    def _steps_first(self) -> bool:
        """Whether steps come ahead of their batch's own backward: the last one always waits for the next pass."""
        world = self.high
        return bool(world.steps) and not any(
            step.visit == world.backwards[c.backward].visit for step in world.steps for c in step.fresh
        )

    @cached_property
    def visible_epochs(self) -> bool:
        """Whether the passes come from a loop over epochs and not from our calling the root twice."""
        world = self.tail
        second = next((b for b in world.backwards if world.visits[b.visit].passage > 1), None)
        return second is not None and not any(time < second.time for time in world.calls[1:])

    @cached_property
    def short_window_underweighted(self) -> bool:
        """Whether a last window that is shorter is stepped with the weight of a full one."""
        world = self.tail
        if world.endless or world.unclear or self.leftover is not None:
            return False
        for step in world.steps:
            visits = {c.atom[1] for c in step.fresh}
            is_short = 0 < len(visits) < world.settings.window
            if is_short and step.visit >= 0 and world.visits[step.visit].place == world.settings.batches - 1:
                usual = self.step_weight(world) or {}
                return bool(usual) and all(abs(weight) < abs(usual.get(node, weight)) for node, weight in _total(step))
        return False

    @property
    def nominal_batch(self) -> bool:
        """Whether the window is a nominal batch size over the batch size, which goes with rescaled weight decay."""
        key = str(self.window.key) if self.window is not None else ""
        return " / " in key or "nominal" in key or "nbs" in key

    # ------------------------------------------------------------ units of a trail

    def unit_at(self, step: Step) -> units.Unit | None:
        """The unit that a value had after one line of its trail."""
        return self.unit_of(step, {length: step_in(world, step.node) for length, world in self.worlds.items()})

    def unit_of(self, step: Step, found: Mapping[int, Step | None]) -> units.Unit | None:
        """The unit after one line of a trail, which was found at every window."""
        site = next(iter(step.weights), None)
        if site is None:
            return None
        values = {length: site_total(same.weights, site[0].node) for length, same in found.items() if same is not None}
        base = values.get(1)
        if not base:
            return None
        reference = self._reference(site[0], True) if step.verb != "loss" else Fraction(1)
        unit = units.read(base / reference)
        if unit is None:
            return None
        exponent = units.window_exponent(values) if len(values) == len(self.worlds) and len(values) > 1 else 0
        return units.Unit(unit.batch, unit.batches, unit.log, unit.scale, unit.processes, exponent or 0, unit.other)


def _empties(block: ir.Block, name: str) -> bool:
    """Whether a block sets a sum or a list to nothing."""
    for statement in block:
        if isinstance(statement, ir.Assign) and any(path_text(target) == name for target in statement.targets):
            value = statement.value
            if isinstance(value, ir.Const) or (isinstance(value, ir.Collection) and not value.items):
                return True
        if any(_empties(inner, name) for inner in blocks(statement)):
            return True
    return False


def _holds(block: ir.Block, node: ir.Node) -> bool:
    """Whether a statement stands in a block, at any depth."""
    return any(statement is node or any(_holds(inner, node) for inner in blocks(statement)) for statement in block)


def _conjuncts(test: ir.Expr) -> Iterator[ir.Expr]:
    """The parts of an `and`."""
    if isinstance(test, ir.Logic) and test.op == "and":
        for part in test.values:
            yield from _conjuncts(part)
    else:
        yield test


def _compares(test: ir.Expr, name: str) -> bool:
    """Whether a test compares a name (or the number after it) with something."""
    if not isinstance(test, ir.Compare):
        return False
    sides = [side.left if isinstance(side, ir.Binary) else side for side in (test.left, *test.rights)]
    return any(isinstance(side, ir.Name) and side.id == name for side in sides)


def _total(step: OptimizerStep) -> frozenset[tuple[ir.Node, Fraction]]:
    sums: dict[ir.Node, Exact] = {}
    for contribution in step.fresh:
        node = contribution.atom[0].node
        sums[node] = sums.get(node, 0) + contribution.weight
    return frozenset((node, Fraction(weight)) for node, weight in sums.items())
