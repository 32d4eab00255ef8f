"""What a program does when it is run: its ledger in the static side's worlds, and whether the laws hold in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from losslint import units
from losslint.fuzzing.generate import Program, generate
from losslint.fuzzing.spec import Sizes
from losslint.runtime import whole
from losslint.runtime.whole import Record, Shape, Shown

SCALE = whole.SCALE
GAINS = (1000.0, 1370.0, 710.0, 1930.0, 530.0, 1210.0, 890.0, 1610.0)
"""The loss of each batch: no simple multiples of one another."""
EVEN = 1000.0

_WORLDS = ((1, units.BATCHES, units.BATCH), (2, units.BATCHES, units.BATCH), (3, units.BATCHES, units.BATCH))
_TAIL = (3, 7, units.BATCH // 2)
_LAW_WINDOWS = (1, 2, 4)
_LAW_SHAPE = Shape(8, 5, 5)
_LAW_GAINS = (EVEN,) * _LAW_SHAPE.batches
_LAW_LOG = 4
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class World:
    """One run in a world that the static side has too. `shown` holds the numbers that are losses, and no others."""

    window: int
    shape: Shape
    record: Record
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Factor:
    """A figure of a line in a world whose losses are all the same: reported / true at each window, whether it is a mean
    over the pass where the losses differ, and whether it is one of the validation data."""

    line: int
    position: int
    by_window: dict[int, float]
    is_mean: bool
    judged: bool = False

    @property
    def value(self) -> float:
        return self.by_window[max(self.by_window)]

    def over(self, value: float) -> Factor:
        """The figure of a loss that is `value` where each of its items has the loss 1."""
        return replace(self, by_window={window: factor / value for window, factor in self.by_window.items()})


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a step of the scheduler counts and what the length of the schedule counts: `batch`, `step`, `epoch`, or an
    empty string; and whether it steps ahead of the optimizer."""

    steps: str
    horizon: str
    ahead: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """All that the runtime side says of one program with one setting of its flags.

    `totals`: the weights of the steps of the first pass, over the loss's own weight, for each window. `uneven`: in some
    pass some micro-batch has another weight than 1 / window, or is in no step or in several; `behind`: where each batch
    is a window, each step sees the batch before. `scaled_clip`: a clip saw gradients with the AMP scale; `empty_clip`:
    one was given no parameters; `useless_clip`: where each batch is a window, no step sees what is clipped, and in a
    larger one not all of it (None where nothing is clipped). `left`: micro-batches of an incomplete last window that
    reach no step of their pass; `short`: it was stepped with less than the weight of a full one. `summed`: the loss is
    a sum over its batch. `wrong_in_tail`: where the last window and the last batch are short, a figure is not the mean
    of equal losses. `lost_share`: a part of the loss is in no gradient; `dead`: all of it, always. `idle`: no optimizer
    ever steps. `schedule`: how the scheduler went. `rate`: the first learning rate over the given one. `stuck`: a model
    that trained in training mode trains in another one later; `judged_in_training`: it is judged in training mode,
    under `no_grad`.
    """

    flags: dict[str, bool]
    worlds: tuple[World, ...]
    totals: dict[int, tuple[float, ...]]
    uneven: bool
    behind: bool
    figures: tuple[Factor, ...]
    summed: bool
    wrong_in_tail: bool
    scaled_clip: bool
    empty_clip: bool
    useless_clip: bool | None
    lost_share: bool
    dead: bool
    idle: bool
    schedule: Schedule | None
    rate: float
    stuck: bool
    judged_in_training: bool
    retained: int
    left: int
    short: bool
    error: str


def measure(seed: int) -> list[Measured]:
    """Runs the program of a seed with every setting of its flags."""
    program = generate(seed)
    settings = product((False, True), repeat=len(program.flags))
    return [_measure(seed, dict(zip(program.flags, values, strict=True))) for values in settings]


def _run(
    seed: int,
    window: int,
    log: int,
    shape: Shape,
    gains: Sequence[float],
    flags: dict[str, bool],
    judged: Sequence[float] | None = None,
    clip: float = 1.0,
) -> Record:
    program = generate(seed, Sizes(window, log, 2, shape.batch))
    return whole.run(program.text, program.entry, flags, shape, gains, window, judged=judged, clip=clip)


def _measure(seed: int, flags: dict[str, bool]) -> Measured:
    program = generate(seed)
    losses = _places_of_losses(seed, flags)
    worlds = []
    for window, batches, last in (*_WORLDS, _TAIL):
        shape = Shape(batches, units.BATCH, units.BATCH if _has_full_batches(program) else last)
        record = _run(seed, window, units.LOG, shape, GAINS[:batches], flags)
        worlds.append(World(window, shape, record, _only(record.shown, losses)))
    records = {
        window: _run(seed, window, _LAW_LOG, _LAW_SHAPE, _LAW_GAINS, flags, _LAW_GAINS) for window in _LAW_WINDOWS
    }
    high = records[max(records)]
    mixed = _run(seed, max(_LAW_WINDOWS), _LAW_LOG, _LAW_SHAPE, GAINS[: _LAW_SHAPE.batches], flags, _LAW_GAINS)
    summed = records[1].reductions == {"sum"} and _is_summed(records[1])
    reference = program.weight * (_LAW_SHAPE.batch if summed else 1)
    figures = [*_factors(records, mixed), *_judged_factors(seed, flags, records)]
    shares = [share for record in records.values() for share in record.shares]
    totals = {
        window: tuple(sum(step.weights) / reference for step in _first_pass(record))
        for window, record in records.items()
    }
    if program.spec.framework == "adversaries":
        uneven = any(_is_mixed(record, reference) for record in records.values())
    else:
        uneven = any(_is_uneven(record, window, reference) for window, record in records.items())
    left, short = _tail(worlds[-1])
    error = next((record.error for record in (*records.values(), *(w.record for w in worlds)) if record.error), "")
    return Measured(
        flags,
        tuple(worlds),
        totals,
        uneven,
        _is_behind(records[1], reference),
        tuple(one if one.judged else one.over(program.value) for one in figures),
        summed,
        _differs_in_tail(seed, flags, losses),
        any(clip.scaled for record in records.values() for clip in record.clips),
        any(not clip.parameters for record in records.values() for clip in record.clips),
        _is_useless(seed, flags, records) if records[1].clips else None,
        any(_TOLERANCE < share < 1 - _TOLERANCE for share in shares),
        bool(shares) and not any(shares),
        bool(records[1].shares) and not any(record.steps for record in records.values()),
        _schedule(high, max(records)),
        high.rate,
        any(record.trained[0] and not all(record.trained) for record in records.values() if record.trained),
        any(training for record in records.values() for training in record.judged),
        records[1].retained,
        left,
        short,
        error,
    )


def _schedule(record: Record, window: int) -> Schedule | None:
    if not record.schedules:
        return None
    schedule = record.schedules[0]
    counts = {len(record.steps): "step", record.visits // window: "step"}
    counts |= {record.visits: "batch", record.visits // _LAW_SHAPE.batches: "epoch"}
    return Schedule(counts.get(schedule.steps, ""), counts.get(schedule.horizon or -1, ""), schedule.ahead)


def _has_full_batches(program: Program) -> bool:
    """Whether the loader drops a short last batch."""
    return program.spec.loader == "drop_last" and program.spec.frame == "script"


def _is_useless(seed: int, flags: dict[str, bool], records: dict[int, Record]) -> bool:
    """Whether clips that halve what they are given change no step where each batch is a window, and not all that is
    stepped on in a larger one."""
    high = max(records)
    alone, window = (
        _run(seed, length, _LAW_LOG, _LAW_SHAPE, _LAW_GAINS, flags, clip=0.5).steps for length in (1, high)
    )
    halved = [tuple(weight / 2 for weight in step.weights) for step in records[high].steps]
    same = [step.weights for step in records[1].steps] == [step.weights for step in alone]
    return same and (not any(map(any, halved)) or halved != [step.weights for step in window])


def _is_summed(record: Record) -> bool:
    """Whether the loss that is trained on is a sum over its batch."""
    steps = _first_pass(record)
    return bool(steps) and sum(steps[0].weights) > 2


def _places_of_losses(seed: int, flags: dict[str, bool]) -> set[tuple[int, int]]:
    """Where losses are shown, by line and position: the numbers that double where every loss does."""
    shape = Shape(units.BATCHES, units.BATCH, units.BATCH)
    gains = GAINS[: shape.batches]
    shown = _run(seed, 2, units.LOG, shape, gains, flags).shown
    double = _run(seed, 2, units.LOG, shape, [2 * gain for gain in gains], flags).shown
    return {
        (one.line, position)
        for one, other in zip(shown, double, strict=False)
        for position, (value, twice) in enumerate(zip(one.numbers, other.numbers, strict=False))
        if value and abs(twice - 2 * value) <= _TOLERANCE * abs(value)
    }


def _only(shown: Sequence[Shown], places: set[tuple[int, int]]) -> tuple[Shown, ...]:
    found = []
    for one in shown:
        numbers = tuple(n for position, n in enumerate(one.numbers) if (one.line, position) in places)
        if numbers:
            found.append(Shown(one.line, one.visit, numbers))
    return tuple(found)


def _first_pass(record: Record) -> list[whole.Step]:
    return [step for step in record.steps if step.visit < _LAW_SHAPE.batches]


def _is_uneven(record: Record, window: int, reference: float) -> bool:
    batches = _LAW_SHAPE.batches
    for passage in range(max(1, record.visits // batches)):
        passed = [step for step in record.steps if step.visit // batches == passage]
        for optimizer in {step.optimizer for step in record.steps} or {0}:
            steps = [step for step in passed if step.optimizer == optimizer]
            if len(steps) != batches // window:
                return True
            for place in range(batches):
                for number, step in enumerate(steps):
                    wanted = reference / window if place // window == number else 0.0
                    if abs(step.weights[place] - wanted) > _TOLERANCE * reference:
                        return True
    return False


def _is_mixed(record: Record, reference: float) -> bool:
    """Whether a step of two networks sees anything but the losses of its own network on its own batch: the critic's of
    real and of made data, or the generator's one. The critic steps first."""
    for step in record.steps:
        for place, weight in enumerate(step.weights):
            wanted = (2 - step.optimizer) * reference if place == step.visit % _LAW_SHAPE.batches else 0.0
            if abs(weight - wanted) > _TOLERANCE * reference:
                return True
    return False


def _is_behind(record: Record, reference: float) -> bool:
    """Whether each step of a pass sees the whole batch before its own, and nothing else."""
    steps = _first_pass(record)
    return bool(steps) and all(
        abs(weight - (reference if place == step.visit - 1 else 0.0)) <= _TOLERANCE * reference
        for step in steps
        for place, weight in enumerate(step.weights)
    )


def _tail(world: World) -> tuple[int, bool]:
    """How many batches of the incomplete last window reach no step of their pass, and whether a step of it is short."""
    batches = world.shape.batches
    steps = [step for step in world.record.steps if step.visit < batches]
    reached = {place for step in steps for place, weight in enumerate(step.weights) if weight}
    tail = range(batches - batches % world.window, batches)
    stepped = [step.visit for step in world.record.steps]
    lengths = [
        sum(before < visit <= step for visit in world.record.backwards)
        for before, step in zip([-1, *stepped], stepped, strict=False)
    ]
    following = next((step for step in world.record.steps if step.visit >= batches), None)
    if following is not None and set(lengths) == {world.window}:
        # a gate that counts on over the end of a pass has whole windows all the same, if nothing zeroes in between
        reached |= {place for place in tail if following.weights[place]}
    left = len([place for place in tail if place not in reached and place in world.record.backwards])
    last = [step for step in steps if step.visit == batches - 1]
    usual = [sum(step.weights) for step in steps if step.visit < batches - 1]
    short = bool(last and usual) and 0 < sum(last[-1].weights) < usual[0] * (1 - _TOLERANCE)
    return left, short


def _differs_in_tail(seed: int, flags: dict[str, bool], losses: set[tuple[int, int]]) -> bool:
    window, batches, last = _TAIL
    record = _run(seed, window, units.LOG, Shape(batches, units.BATCH, last), [EVEN] * batches, flags)
    return any(abs(n / EVEN - 1) > _TOLERANCE for one in _only(record.shown, losses) for n in one.numbers)


def _factors(records: dict[int, Record], mixed: Record) -> list[Factor]:
    """Every figure of the first pass: the last number of each place that shows one."""
    batches = _LAW_SHAPE.batches
    mean = sum(GAINS[:batches]) / batches
    high = max(records)
    double = {window: _by_place(record.shown) for window, record in records.items()}
    differing = _by_place(mixed.shown)
    found = []
    for place, value in double[high].items():
        other = differing.get(place)
        if other is None or abs(other - value) <= _TOLERANCE * abs(value):
            continue
        by_window = {window: places[place] / EVEN for window, places in double.items() if place in places}
        if len(by_window) == len(records):
            # one that is shown several times in a pass is not a figure of the pass
            running = len([one for one in mixed.shown if one.line == place[0] and one.visit < batches]) > 1
            is_mean = running or abs(other / mean - value / EVEN) <= 10 * _TOLERANCE * abs(value / EVEN)
            found.append(Factor(place[0], place[1], by_window, is_mean))
    return found


def _judged_factors(seed: int, flags: dict[str, bool], records: dict[int, Record]) -> list[Factor]:
    """The figures of the validation data, in the same way: those that double where every loss there does."""
    if generate(seed).spec.validation == "none":
        return []
    batches, high = _LAW_SHAPE.batches, max(records)
    gains = GAINS[:batches]
    double, mixed = (
        _by_place(_run(seed, high, _LAW_LOG, _LAW_SHAPE, _LAW_GAINS, flags, judged).shown)
        for judged in ([2 * EVEN] * batches, gains)
    )
    by_window = {window: _by_place(record.shown) for window, record in records.items()}
    found = []
    for place, value in by_window[high].items():
        if value and abs(double.get(place, 0.0) - 2 * value) <= _TOLERANCE * abs(value):
            is_mean = abs(mixed[place] / (sum(gains) / batches) - value / EVEN) <= 10 * _TOLERANCE * abs(value / EVEN)
            factors = {window: places[place] / EVEN for window, places in by_window.items() if place in places}
            found.append(Factor(*place, factors, is_mean, judged=True))
    return found


def _by_place(shown: Sequence[Shown]) -> dict[tuple[int, int], float]:
    places: dict[tuple[int, int], float] = {}
    for one in shown:
        if one.visit < _LAW_SHAPE.batches:
            for position, number in enumerate(one.numbers):
                places[one.line, position] = number
        elif one.line == 0:
            # what is returned at the end: the figure of the first pass comes first
            places[0, 0] = one.numbers[0]
    return places
