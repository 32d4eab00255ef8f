"""The tiny world in which one run of a training loop takes place: batches, gradients, AMP state and the trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from losslint import units
from losslint.interpreter import roles
from losslint.interpreter.graph import BY_HAND
from losslint.interpreter.values import (
    AMP,
    DETACHED,
    GRAPH,
    WINDOW,
    Atom,
    Cut,
    Exact,
    Key,
    Linear,
    Loader,
    Note,
    Number,
    Site,
    Step,
    Thing,
    Unknown,
)

if TYPE_CHECKING:
    from losslint.interpreter.freezing import Freeze, Replacement
    from losslint.lowering import ir


class Visit(NamedTuple):
    """One batch: its size, the pass it belongs to, its place in that pass, and the loader by path."""

    size: Exact
    passage: int
    place: int
    loader: str
    loop: ir.Node | None
    assumed: bool


class Backward(NamedTuple):
    """One backward: the weight of every loss that it adds to the gradients."""

    node: ir.Node
    visit: int
    weights: dict[Atom, Exact]
    steps: tuple[Step, ...]
    divided_by: int
    guards: tuple[ir.If, ...]
    notes: frozenset[Note]
    framework: str
    time: int


class DeadBackward(NamedTuple):
    """A backward of a loss that is in no graph: no parameter gets a gradient. `cuts`: where it left the graph."""

    node: ir.Node
    weights: dict[Atom, Exact]
    notes: frozenset[Note]
    cuts: tuple[Cut, ...]


class DeadTerm(NamedTuple):
    """A term that was taken out of the graph and then added to a loss that is in it."""

    node: ir.Node
    atoms: frozenset[Atom]
    beside: frozenset[Atom]
    cut: Cut


class Contribution(NamedTuple):
    """What one backward added to the gradients for one loss."""

    atom: Atom
    weight: Exact
    backward: int


class OptimizerStep(NamedTuple):
    """One optimizer step: what the gradients held (`fresh` was not seen by a step before)."""

    node: ir.Node
    visit: int
    optimizer: str
    scaler: bool
    fresh: tuple[Contribution, ...]
    stale: tuple[Contribution, ...]
    unscaled: bool
    framework: str
    time: int
    guards: tuple[ir.If, ...]


class Zeroing(NamedTuple):
    """Gradients set to zero, and which of them no step had seen."""

    node: ir.Node
    visit: int
    optimizer: str
    lost: tuple[Contribution, ...]
    time: int


class Event(NamedTuple):
    """Anything else in the order of the step: `clip`, `unscale`, `update`, `schedule` (its flag says that a framework
    rescales it), `train`, `eval`, `mode` (one of them), `group` (the optimizer gets more parameters). `live`: inside a
    loop over batches; `passage`: the pass that it belongs to."""

    kind: str
    node: ir.Node
    visit: int
    what: str
    flag: bool
    time: int
    live: bool
    passage: int


class Figure(NamedTuple):
    """A loss that a person reads: printed, logged, returned, stored. `live`: inside a loop over batches; `label`: the
    words that stand beside it."""

    node: ir.Node
    position: tuple[Any, ...]
    weights: dict[Atom, Exact]
    steps: tuple[Step, ...]
    state: int
    visit: int
    passage: int
    live: bool
    sink: str
    label: str
    notes: frozenset[Note]
    time: int


class Retained(NamedTuple):
    """An accumulator that keeps the graphs of several batches alive."""

    node: ir.Node
    atoms: frozenset[Atom]
    name: str
    steps: tuple[Step, ...]


class Reset(NamedTuple):
    """An accumulator that held losses is set back to a number."""

    node: ir.Node
    name: str
    live: bool


class Mutation(NamedTuple):
    """In-place arithmetic through a detached alias of a loss that is still in the graph."""

    node: ir.Node
    storage: int
    verb: str


class AmpState(NamedTuple):
    """Whether the gradients of an optimizer are unscaled, and where that was last asked for since the last `update`."""

    unscaled: bool
    node: ir.Node | None


class Scaling(NamedTuple):
    """A multiplication or division of a loss, wherever its result goes."""

    node: ir.Node
    atoms: frozenset[Atom]
    kinds: int
    state: int
    divides: bool
    visit: int
    guards: tuple[ir.If, ...]
    time: int


class LossCall(NamedTuple):
    """A known loss function with what it was given: `function` is its functional name (`cross_entropy`), `arguments`
    the values given by place, `options` those given by name, here or where the criterion was made."""

    function: str
    node: ir.Node
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    visit: int
    time: int
    passage: int
    no_grad: bool

    @property
    def prediction(self) -> Any:
        """The first argument."""
        return self.arguments[0] if self.arguments else self.options.get("input")

    @property
    def target(self) -> Any:
        """The second argument."""
        return self.arguments[1] if len(self.arguments) > 1 else self.options.get("target")


class Made(NamedTuple):
    """An optimizer or a scheduler with what it was made with: `name` is its class, `arguments` and `options` the values
    it was given by place and by name."""

    kind: str
    name: str
    node: ir.Node
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    visit: int
    time: int

    def given(self, place: int, *names: str) -> Any:
        """An argument by its place or by one of its names; None where it was not given."""
        if len(self.arguments) > place >= 0:
            return self.arguments[place]
        return next((self.options[name] for name in names if name in self.options), None)


class Stream(NamedTuple):
    """A generator over parameters: the value, the call that `made` it, and the place that has `used` it up."""

    value: Unknown
    made: ir.Expr
    used: ir.Node | None


class OutOfFuelError(Exception):
    """The run takes more statements than a tiny world may."""


@dataclass(slots=True)
class Settings:
    """What tells one run from another: the window, decided conditions, and the one condition that is flipped once.

    `thorough`: every condition that is not known is worth a fork, whatever its branches hold, and none varies.
    """

    window: int = 1
    overrides: dict[Key, Number] = field(default_factory=dict)
    decisions: dict[Key, bool] = field(default_factory=dict)
    flip: ir.Node | None = None
    batches: int = units.BATCHES
    short_tail: bool = False
    fuel: int = 60_000
    thorough: bool = False


class World:
    """State and record of one run."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.fuel = settings.fuel
        self.time = 0
        self.visits: list[Visit] = []
        self.current = -1
        self.passage = 0
        self.live = 0
        self.inside = 0
        self.no_grad = 0
        self.sites: dict[tuple[ir.Node, Any], Site] = {}
        self.guards: list[ir.If] = []
        self.entry: ir.Node | None = None

        self.contributions: list[Contribution] = []
        self.cleared: dict[str, int] = {}
        self.cleared_all = 0
        self.seen: dict[str, int] = {}
        self.divided: dict[str, list[int]] = {}
        self.switched = False
        self.amp: dict[str, AmpState] = {}

        self.backwards: list[Backward] = []
        self.dead_backwards: list[DeadBackward] = []
        self.dead_terms: dict[ir.Node, DeadTerm] = {}
        self.cuts: dict[tuple[str, ir.Node], Cut] = {}
        self.steps: list[OptimizerStep] = []
        self.zeroings: list[Zeroing] = []
        self.events: list[Event] = []
        self.figures: list[Figure] = []
        self.loss_calls: dict[ir.Node, LossCall] = {}
        self.made: dict[str, Made] = {}
        self.streams: dict[int, Stream] = {}
        """Generators by identity."""
        self.exhausted: dict[ir.Node, Stream] = {}
        """Where a generator was gone through again, with the generator."""
        self.uncalled: dict[ir.Node, str] = {}
        """Methods that stand alone, without a call, with the path of what they belong to."""
        self.placed: list[Thing] | None = None
        """The layers that something was given while a model is built; None where none is."""
        self.freezes: list[Freeze] = []
        self.replacements: list[Replacement] = []
        self.copied: set[str] = set()
        """What was copied, by path: the copy has the same one."""
        self.layers: Counter[str] = Counter()
        """How many layers of each kind were made: they go by the name of their kind."""
        self.handed: dict[str, list[int]] = {}
        """What functions out of sight were given, by path, and when; kept from the first freeze on."""
        self.unsynced: list[ir.Node] = []
        """The `no_sync` blocks around the current statement."""
        self.without_sync: dict[int, ir.Node] = {}
        """Backwards, by number, that exchange no gradients, each with the block that keeps it from that."""
        self.with_sync: set[Atom] = set()
        """Losses that are made where gradients are exchanged."""
        self.retained: list[Retained] = []
        self.mutations: list[Mutation] = []
        self.scalings: list[Scaling] = []
        self.resets: list[Reset] = []
        self.gradient_scalings: list[ir.Node] = []
        self.calls: list[int] = []
        self.used: set[Key] = set()
        self.changed_late = False
        self.left_early: set[ir.Node] = set()
        self.lengths: dict[ir.Node, int] = {}
        self.entered: set[ir.Function] = set()
        self.sums: set[str] = set()
        self.told: set[Key] = set()
        self.drawn = -1
        self.loaders: dict[str, Loader] = {}
        self.mappings: set[ir.Node] = set()
        self.fed: set[str] = set()

        self.open_conditions: dict[Key, bool] = {}
        self.condition_nodes: dict[Key, ir.Node] = {}
        self.varying: dict[ir.Node, str] = {}
        self.flipped = -1
        self.candidates: dict[Key, ir.Node] = {}
        self.weak_candidates: dict[Key, ir.Node] = {}
        self.unclear: dict[str, ir.Node] = {}
        self.factors: dict[Key, int] = {}
        self.factor_names: dict[int, str] = {}
        self.endless = False
        self._primes = units.primes()

    # ------------------------------------------------------------ time

    def tick(self, cost: int = 1) -> None:
        """Pays for a statement; raises OutOfFuelError where the run has become too long."""
        self.fuel -= cost
        if self.fuel < 0:
            raise OutOfFuelError

    def now(self) -> int:
        """A counter that orders events."""
        self.time += 1
        return self.time

    def doubt(self, reason: str, node: ir.Node) -> None:
        """Remembers why the gradients of this run cannot be judged."""
        self.unclear.setdefault(reason, node)

    # ------------------------------------------------------------ batches

    def enter_visit(self, place: int, loader: str, loop: ir.Node | None, assumed: bool = False, share: int = 1) -> int:
        """A new batch, or one of `share` equal parts of one; returns its number."""
        size: Exact = exact(Fraction(units.BATCH, share))
        if self.settings.short_tail and place == self.settings.batches - 1 and share == 1:
            size = units.BATCH // 2
        self.visits.append(Visit(size, self.passage, place, loader, loop, assumed))
        self.current = len(self.visits) - 1
        return self.current

    def batches(self, loader: str, loop: ir.Node, assumed: bool, share: int = 1) -> Iterator[int]:
        """One pass over a loader, whose batches are a `share` of the usual ones."""
        self.passage += 1
        outer = self.current
        self.live += 1
        try:
            for place in range(self.settings.batches):
                yield self.enter_visit(place, loader, loop, assumed, share)
        finally:
            self.live -= 1
            if self.live:
                self.current = outer

    @property
    def size(self) -> Exact:
        """Samples in the current batch."""
        return self.visits[self.current].size if self.current >= 0 else units.BATCH

    @property
    def samples(self) -> int:
        """Samples in one pass."""
        whole = units.BATCH * self.settings.batches
        return whole - (units.BATCH - units.BATCH // 2) if self.settings.short_tail else whole

    def visit(self) -> int:
        """The current batch, made up where a loss appears outside any loop."""
        return self.current if self.current >= 0 else self.enter_visit(0, "", None)

    # ------------------------------------------------------------ symbols

    def factor(self, key: Key, name: str) -> int:
        """The prime that stands for a factor which the loop does not explain."""
        prime = self.factors.get(key)
        if prime is None:
            prime = self.factors[key] = next(self._primes)
            self.factor_names[prime] = name
        return prime

    def site(self, node: ir.Node, part: Any, reduction: str | None, evidence: int, assumption: str) -> Site:
        """The site of a node (and of one part of its result); evidence only grows."""
        site = self.sites.get((node, part))
        if site is None:
            site = self.sites[(node, part)] = Site(node, reduction, evidence, assumption)
        elif evidence > site.evidence:
            site.evidence = evidence
            site.reduction = reduction
            site.assumption = assumption
        site.visits.add(self.current)
        return site

    # ------------------------------------------------------------ gradients

    def backward(self, node: ir.Node, loss: Linear, divide: int = 1, framework: str = "") -> None:
        """The gradients receive every loss of a form, divided by what a framework divides by."""
        if loss.state != GRAPH:
            where = tuple(note for note in loss.notes if type(note) is Cut)
            self.dead_backwards.append(DeadBackward(node, loss.weights, loss.notes, where))
            return
        index = len(self.backwards)
        if self.unsynced:
            self.without_sync[index] = self.unsynced[-1]
        weights = loss.weights
        if divide != 1:
            weights = {atom: Fraction(weight, divide) for atom, weight in weights.items()}
        weights = {atom: weight for atom, weight in weights.items() if weight}
        for atom, weight in weights.items():
            self.contributions.append(Contribution(atom, weight, index))
        self.backwards.append(
            Backward(
                node, self.current, weights, loss.steps, divide, tuple(self.guards), loss.notes, framework, self.now()
            )
        )
        for optimizer, state in self.amp.items():
            if state.unscaled:
                # new scaled gradients on top of unscaled ones: the state no longer says what the gradients are
                self.amp[optimizer] = AmpState(False, state.node)

    def cut(self, kind: str, node: ir.Node) -> Cut:
        """The place where a value leaves the graph; the same place is the same cut."""
        return self.cuts.setdefault((kind, node), Cut(kind, node, len(self.cuts)))

    def add_dead(self, node: ir.Node, live: Linear, dead: Linear) -> None:
        """Remembers a term of the current batch that somebody took out of the graph before it was added to a loss."""
        where = [note for note in dead.notes if type(note) is Cut and note.kind in BY_HAND]
        batches = {visit for form in (live, dead) for _, visit in form.weights}
        if where and len(batches) == 1 and all(site.evidence for site, _ in dead.weights):
            cut = min(where, key=lambda one: one.order)
            self.dead_terms.setdefault(node, DeadTerm(node, frozenset(dead.weights), frozenset(live.weights), cut))

    def _pending(self, optimizer: str) -> int:
        return max(self.cleared.get(optimizer, 0), self.cleared_all)

    def step(self, node: ir.Node, optimizer: str, scaler: bool, framework: str = "") -> None:
        """An optimizer consumes what the gradients hold."""
        optimizer = roles.outer_optimizer(optimizer)
        start = self._pending(optimizer)
        seen = max(self.seen.get(optimizer, 0), start)
        unscaled = self.amp.get(optimizer, AmpState(False, None)).unscaled
        held = self.contributions[start:]
        if scaler or unscaled:
            # `unscale_`, or else `scaler.step`, divides by the scale whatever it finds, in place: what is left from
            # earlier steps is divided once more at each, where the scaler is known to be enabled
            before = self.divided.setdefault(optimizer, [])
            if self.switched:
                before.clear()
            before.append(len(self.contributions))
            held = [
                c._replace(weight=Fraction(c.weight) / units.SCALE ** sum(end > place for end in before))
                for place, c in enumerate(held, start)
            ]
        old = seen - start
        self.steps.append(
            OptimizerStep(
                node,
                self.current,
                optimizer,
                scaler,
                tuple(held[old:]),
                tuple(held[:old]),
                unscaled,
                framework,
                self.now(),
                tuple(self.guards),
            )
        )
        self.seen[optimizer] = len(self.contributions)
        if unscaled and not scaler:
            self.amp[optimizer] = self.amp[optimizer]._replace(unscaled=False)

    def scale_gradients(self, node: ir.Node, factor: Exact) -> None:
        """Everything that the gradients hold is multiplied by hand."""
        self.gradient_scalings.append(node)
        for place in range(self.cleared_all, len(self.contributions)):
            old = self.contributions[place]
            self.contributions[place] = old._replace(weight=exact(old.weight * factor))

    def zero(self, node: ir.Node, optimizer: str, everything: bool) -> None:
        """Gradients are set to zero: those of one optimizer, or all of them."""
        optimizer = roles.outer_optimizer(optimizer)
        start = self.cleared_all if everything else self._pending(optimizer)
        seen = max([start, *self.seen.values()]) if everything else max(self.seen.get(optimizer, 0), start)
        lost = tuple(self.contributions[seen:])
        self.zeroings.append(Zeroing(node, self.current, "" if everything else optimizer, lost, self.now()))
        if everything:
            self.cleared_all = len(self.contributions)
        else:
            self.cleared[optimizer] = len(self.contributions)
        for name in set(self.amp) if everything else self.amp.keys() & {optimizer}:
            # the scaler remembers its own call until its `update`
            self.amp[name] = self.amp[name]._replace(unscaled=False)

    # ------------------------------------------------------------ loss functions

    def loss_call(self, function: str, node: ir.Node, arguments: Sequence[Any], options: dict[str, Any]) -> None:
        """Remembers what a loss function was given, the first time at each place."""
        if node not in self.loss_calls:
            self.loss_calls[node] = LossCall(
                function, node, tuple(arguments), options, self.current, self.now(), self.passage, self.no_grad > 0
            )

    # ------------------------------------------------------------ AMP

    def unscale(self, node: ir.Node, optimizer: str) -> None:
        """`scaler.unscale_(optimizer)`; the event's flag says that it had been done already."""
        optimizer = roles.outer_optimizer(optimizer)
        already = self.amp.get(optimizer, AmpState(False, None))
        self.event("unscale", node, optimizer, already.node is not None)
        self.amp[optimizer] = AmpState(True, node)

    def update(self, node: ir.Node) -> None:
        """`scaler.update()`."""
        self.event("update", node, "", False)
        self.amp.clear()

    def clip(self, node: ir.Node) -> None:
        """Clipping; the event's flag says that the gradients still carry the AMP scale."""
        unscaled = any(state.unscaled for state in self.amp.values())
        start = max([self.cleared_all, *self.seen.values()]) if self.seen else self.cleared_all
        held = self.contributions[start:]
        scaled = not unscaled and any(Fraction(c.weight).numerator % units.SCALE == 0 for c in held)
        self.event("clip", node, "scaled" if scaled else "", not held)

    def mode(self, name: str, arguments: Sequence[Any], node: ir.Node, model: str) -> None:
        """`model.train()` or `model.eval()`; `train(False)` is `eval()`, and a mode that is not in sight is `mode`."""
        given = arguments[0] if arguments else True
        kind = name if given is True else "eval" if given is False and name == "train" else "mode"
        self.event(kind, node, model)

    def event(self, kind: str, node: ir.Node, what: str = "", flag: bool = False) -> None:
        """Appends to the trace."""
        self.events.append(Event(kind, node, self.current, what, flag, self.now(), self.live > 0, self.passage))

    # ------------------------------------------------------------ arithmetic on forms

    def scaled(self, form: Linear, factor: Exact, step: tuple[ir.Node, str, ir.Node | None, int, str]) -> Linear:
        """A new form, every weight times `factor`."""
        weights = {atom: exact(weight * factor) for atom, weight in form.weights.items()}
        state = self.state_of_result(form.state)
        return Linear(weights, self.remember(form.steps, step, weights), state, form.vector, form.notes)

    def state_of_result(self, state: int) -> int:
        """The graph state of what arithmetic makes here of values in a state: `no_grad` joins nothing to a graph."""
        return min(state, DETACHED) if self.no_grad else state

    def remember(
        self,
        steps: tuple[Step, ...],
        step: tuple[ir.Node, str, ir.Node | None, int, str],
        weights: dict[Atom, Exact],
    ) -> tuple[Step, ...]:
        """Provenance with one line more; a line that was there already moves to the end."""
        node, verb, operand, kinds, of = step
        new = Step(node, verb, operand, kinds, weights, tuple(self.guards), of, self.entry)
        kept = tuple(old for old in steps if old.node is not node)
        return (*kept[-11:], new) if kept and kept[0].verb not in ("loss", "") else (*kept[:1], *kept[1:][-11:], new)

    def note_scaling(self, node: ir.Node, form: Linear, kinds: int, divides: bool) -> None:
        """Remembers that a loss was scaled here, wherever the result goes."""
        if kinds & (WINDOW | AMP):
            self.scalings.append(
                Scaling(
                    node,
                    frozenset(form.weights),
                    kinds,
                    form.state,
                    divides,
                    self.current,
                    tuple(self.guards),
                    self.now(),
                )
            )


def exact(value: Exact) -> Exact:
    """An int where the fraction is whole: ints are several times faster."""
    if type(value) is Fraction and value.denominator == 1:
        return value.numerator
    return value
