"""From the ledger of an observed run to facts: the gradient law and the order of a step. Free of torch.

A factor is only called wrong where its explanation is at hand: a weight of 1 on each of `k` micro-batches, two
divisions by `k`, a division by the batch size. A weight that a user may have chosen (`0.4 * auxiliary`) is no fact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isclose

from losslint.findings import Severity
from losslint.runtime.observe import figures
from losslint.runtime.observe.facts import Fact, Place
from losslint.runtime.observe.records import Held, MicroBatch, Run, Step, Term

TOLERANCE = 5e-3
"""Relative; half precision rounds a weight by less than that."""
_UNEVEN = 1.05


@dataclass(frozen=True, slots=True)
class Share:
    """The main term of one micro-batch in one step."""

    held: Held
    term: Term

    @property
    def weight(self) -> float:
        return abs(self.term.weight * self.held.factor)

    @property
    def item_weight(self) -> float:
        return abs(self.term.item_weight * self.held.factor)


@dataclass(frozen=True, slots=True)
class Reading:
    """The main term of one step: its share of each micro-batch of the window."""

    step: Step
    shares: tuple[Share, ...]

    @property
    def window(self) -> int:
        return len(self.shares)

    @property
    def total(self) -> float:
        return sum(share.weight for share in self.shares)


def facts(run: Run, events: Sequence[Fact]) -> list[Fact]:
    """Everything that was wrong with a run, the most certain first; `events` were facts when they were seen."""
    used = {held.micro.index for step in run.steps for held in step.fresh}
    found = list(events)
    for optimizer in sorted({step.optimizer for step in run.steps}):
        steps = [step for step in run.steps if step.optimizer == optimizer]
        readings = readings_of(steps)
        precision = list(_precision(steps))
        found += precision
        order = list(_order(steps, used))
        found += order
        found += _windows(readings)
        if not precision and not any(fact.name == "zero-grad-inside-window" for fact in order):
            found += _scale(readings)
    found += _leftovers(run, used)
    found += figures.judge(run)
    for number, doubt in {(step.optimizer, step.doubt): step.doubt for step in run.steps if step.doubt}:
        kind = next(step.kind for step in run.steps if step.optimizer == number)
        note = f"inconclusive: weights in the steps of `{kind}` are not judged: {doubt}"
        if note not in run.notes:
            run.notes.append(note)
    if run.micro_batches and not any(micro.terms for micro in run.micro_batches):
        run.notes.append("inconclusive: no loss that losslint knows reached `backward`: no weights were read")
    return sorted(found, key=lambda fact: -fact.severity)


def readings_of(steps: Sequence[Step]) -> list[Reading]:
    """The steps whose weights can be trusted, each read by the term that weighs most in the run."""
    trusted = [step for step in steps if not step.doubt and step.fresh]
    weights = Counter[int]()
    for step in trusted:
        for held in step.fresh:
            for term in held.micro.terms:
                weights[term.site] += abs(term.weight * held.factor)  # type: ignore[assignment]
    if not weights:
        return []
    site = max(weights, key=lambda site: weights[site])
    readings = [Reading(step, _shares(step, site)) for step in trusted]
    return [reading for reading in readings if reading.shares]


def _shares(step: Step, site: int) -> tuple[Share, ...]:
    """A share for each distinct batch; several backwards of one batch are several losses of it, no window."""
    shares: list[Share] = []
    for held in step.fresh:
        own = [term for term in held.micro.terms if term.site == site]
        if own:
            shares.append(Share(held, own[0]))
    batches = {share.held.micro.batch for share in shares}
    if len(shares) > 1 and len(batches) < len(shares) and None not in batches:
        return ()
    return tuple(shares)


def usual(readings: Sequence[Reading]) -> int:
    """The window that most steps have; of two the larger."""
    counts = Counter(reading.window for reading in readings)
    return max(counts, key=lambda window: (counts[window], window), default=1)


# ---------------------------------------------------------------- the gradient law


def _scale(readings: Sequence[Reading]) -> Iterator[Fact]:
    window = usual(readings)
    full = [reading for reading in readings if reading.window == window]
    if not full:
        return
    if window > 1:
        uneven = [reading for reading in full if _divided_in_part(reading)]
        if uneven:
            yield _in_branch(uneven, len(full))
            return
    verdicts = [_verdict(reading) for reading in full]
    counts = Counter(verdict[0] for verdict in verdicts if verdict is not None)
    if not counts:
        yield from _token_means(full)
        return
    name = max(counts, key=lambda name: counts[name])
    chosen = [(r, v) for r, v in zip(full, verdicts, strict=True) if v is not None and v[0] == name]
    reading, verdict = chosen[0]
    _, code, words = verdict
    yield Fact(
        name,
        code,
        Severity.ERROR,
        f"{words}: {_sum(reading)}",
        _place(reading.shares[0]),
        reading.total,
        len(chosen),
        len(full),
    )


def _place(share: Share) -> Place | None:
    """The backward, where the user called it; else the criterion: under a framework that is the user's line."""
    micro = share.held.micro
    return share.term.place if micro.callers else micro.place


def _sum(reading: Reading) -> str:
    batches = f"{reading.window} micro-batches" if reading.window > 1 else "its micro-batch"
    return f"the gradient of a step is {times(reading.total)} the mean of {batches} (Σw = {number(reading.total)})"


def _verdict(reading: Reading) -> tuple[str, str, str] | None:
    """Name, code and words for a total that is explained; None where it is right, or a weight that was chosen."""
    window, total = reading.window, reading.total
    terms = [share.term for share in reading.shares]
    callers = frozenset[str]().union(*(share.held.micro.callers for share in reading.shares))
    if _near(total, 1.0) or any(term.reduction == "sum" for term in terms):
        return None
    divisors = [_product(term.divisors) for term in terms]
    if window > 1 and _near(total, window) and all(_near(share.weight, 1.0) for share in reading.shares):
        if any(term.divisors or term.multipliers for term in terms) and not all(_near(d, 1.0) for d in divisors):
            return None
        return (*_undivided(callers), "nothing divides the loss by the accumulation window")
    if window > 1 and _near(total, 1 / window) and all(_twice(term, window) for term in terms):
        return (*_twice_divided(callers), f"the loss is divided by the window of {window} twice")
    if window > 1 and all(_near(divisor, position) for position, divisor in enumerate(divisors, start=1)):
        return (
            "wrong-loss-divisor",
            "LL104",
            "each loss is divided by its place in the window (1, 2, 3, …) instead of the window's length",
        )
    items = terms[0].items
    if items > 1 and window != items and all(_near(d, t.items) for d, t in zip(divisors, terms, strict=True)):
        return "wrong-loss-divisor", "LL104", f"the mean loss is divided by its {items} samples once more"
    return None


def _undivided(callers: frozenset[str]) -> tuple[str, str]:
    if "transformers" in callers:
        return "num-items-ignored", "LL904"
    if "lightning" in callers:
        return "lightning-manual-scaling", "LL903"
    return "unscaled-accumulation", "LL102"


def _twice_divided(callers: frozenset[str]) -> tuple[str, str]:
    if "lightning" in callers:
        return "lightning-manual-scaling", "LL903"
    if "deepspeed" in callers:
        return "deepspeed-double-scaling", "LL902"
    if "accelerate" in callers and "transformers" not in callers:
        return "accelerate-double-scaling", "LL901"
    return "loss-scaled-twice", "LL103"


def _twice(term: Term, window: int) -> bool:
    by_window = [value for value in term.divisors if _near(value, window)]
    return len(by_window) >= 2


def _divided_in_part(reading: Reading) -> bool:
    """Whether some micro-batches of a window are divided by it and others are not at all."""
    divided = [_near(_product(share.term.divisors), reading.window) for share in reading.shares]
    plain = [not share.term.divisors and not share.term.multipliers for share in reading.shares]
    return any(divided) and any(plain) and all(d or p for d, p in zip(divided, plain, strict=True))


def _in_branch(uneven: Sequence[Reading], of: int) -> Fact:
    reading = uneven[0]
    weights = sorted(share.weight for share in reading.shares)
    place = _place(reading.shares[0])
    plain = sum(not share.term.divisors for share in reading.shares)
    return Fact(
        "loss-scaled-in-branch",
        "LL101",
        Severity.ERROR,
        f"{plain} of {reading.window} micro-batches reach `backward` undivided, the others divided by "
        f"{reading.window}: one weighs {number(weights[-1] / weights[0])}× another; {_sum(reading)}",
        place,
        reading.total,
        len(uneven),
        of,
    )


def _token_means(full: Sequence[Reading]) -> Iterator[Fact]:
    worst = 1.0
    place: Place | None = None
    seen = 0
    for reading in full:
        terms = [share.term for share in reading.shares]
        if reading.window < 2 or terms[0].criterion not in ("cross_entropy", "nll_loss"):
            continue
        weights = [share.item_weight for share in reading.shares]
        ratio = max(weights) / min(weights) if min(weights) else 1.0
        if ratio > _UNEVEN and len({term.items for term in terms}) > 1:
            seen += 1
            worst = max(worst, ratio)
            place = terms[0].place
    if seen * 2 > len(full):
        yield Fact(
            "token-mean-of-means",
            "LL110",
            Severity.WARNING,
            f"means over uneven numbers of targets are averaged: a target weighs up to {number(worst)}× another of the "
            "same step",
            place,
            worst,
            seen,
            len(full),
        )


def _windows(readings: Sequence[Reading]) -> Iterator[Fact]:
    """Windows of another length than the usual one."""
    window = usual(readings)
    if window < 2:
        return
    first = readings[0]
    if first.step.number == 0 and first.window == 1 and len(readings) > 1 and not first.step.dropped:
        yield Fact(
            "off-phase-step",
            "LL108",
            Severity.WARNING,
            f"the first step is taken after 1 micro-batch, the others after {window}: the gate is true "
            "at the first batch",
            first.step.place,
            first.total,
            1,
            1,
        )
    short = [reading for reading in readings[1:] if reading.window < window and not _near(reading.total, 1.0)]
    if short:
        reading = short[0]
        yield Fact(
            "short-window-underweighted",
            "LL107",
            Severity.INFO,
            f"a window of {reading.window} instead of {window} micro-batches: Σw = {number(reading.total)}",
            reading.step.place,
            reading.total,
            len(short),
            len(readings),
        )


# ---------------------------------------------------------------- precision


def _precision(steps: Sequence[Step]) -> Iterator[Fact]:
    live = [step for step in steps if step.fresh]
    for name, code, words, broken in (
        (
            "unscaled-backward",
            "LL301",
            "the scaler takes its scale off a gradient that never carried it",
            _never_scaled,
        ),
        ("scaler-step-bypassed", "LL302", "the optimizer steps on gradients that still carry the AMP scale", _still),
        ("scaler-cadence", "LL304", "the scale is taken off a window's gradient more than once", _more_than_once),
    ):
        seen = [(step, factor) for step in live for factor in [broken(step)] if factor is not None]
        if seen:
            step, factor = seen[0]
            held = step.fresh[0]
            place = held.micro.place if name == "unscaled-backward" else step.place
            yield Fact(
                name,
                code,
                Severity.ERROR,
                f"{words}: the gradient is {times(factor)} what it should be",
                place,
                factor,
                len(seen),
                len(live),
            )
            return


def _never_scaled(step: Step) -> float | None:
    bare = [held for held in step.fresh if held.micro.scale is None and held.unscaled]
    return abs(bare[0].factor) if bare and len(bare) == len(step.fresh) else None


def _still(step: Step) -> float | None:
    kept = [held for held in step.fresh if held.micro.scale not in (None, 1.0) and not held.unscaled]
    return kept[0].micro.scale if kept and len(kept) == len(step.fresh) else None


def _more_than_once(step: Step) -> float | None:
    unscaled = {held.unscaled for held in step.fresh if held.micro.scale not in (None, 1.0)}
    if len(unscaled) < 2 and not any(times > 1 for times in unscaled):
        return None
    worst = max((held for held in step.fresh if held.micro.scale), key=lambda held: held.unscaled)
    return (worst.micro.scale or 1.0) * worst.factor


# ---------------------------------------------------------------- order


def _order(steps: Sequence[Step], used: set[int]) -> Iterator[Fact]:
    steps = [step for step in steps if not step.doubt]
    stale = [step for step in steps if step.stale]
    if stale and len(stale) * 2 >= len(steps) - 1:
        last = stale[-1]
        held = len(last.stale) + len(last.fresh)
        yield Fact(
            "missing-zero-grad",
            "LL401",
            Severity.ERROR,
            f"the gradient of an earlier step is still there: step {last.number + 1} is taken on {held} micro-batches, "
            f"of which {len(last.fresh)} {'is' if len(last.fresh) == 1 else 'are'} new",
            last.place,
            held / len(last.fresh) if last.fresh else None,
            len(stale),
            len(steps),
        )
    lost = [(step, _lost(step.dropped, used)) for step in steps]
    empty = [(step, dropped) for step, dropped in lost if dropped and not step.fresh]
    if empty:
        step, dropped = empty[0]
        before = not steps[0].fresh and not steps[0].dropped
        name, code = ("step-before-backward", "LL403") if before else ("zero-grad-before-step", "LL402")
        yield Fact(
            name,
            code,
            Severity.ERROR,
            "gradients are zeroed after `backward` and before the step: it sees none",
            step.zeroed_at or step.place,
            0.0,
            len(empty),
            len(steps),
        )
        return
    inside = [(step, dropped) for step, dropped in lost if dropped and step.fresh]
    if inside and len(inside) * 2 >= len(steps) - 1:
        step, dropped = inside[-1]
        window = len(dropped) + len(step.fresh)
        share = len(step.fresh) / window
        yield Fact(
            "zero-grad-inside-window",
            "LL109",
            Severity.ERROR,
            f"gradients are zeroed inside the window: {len(dropped)} of its {window} micro-batches never reach the "
            f"step (Σw = {number(step.total)})",
            step.zeroed_at or step.place,
            share,
            len(inside),
            len(steps),
        )


def _lost(dropped: Sequence[MicroBatch], used: set[int]) -> list[MicroBatch]:
    return [micro for micro in dropped if micro.index not in used]


def _leftovers(run: Run, used: set[int]) -> Iterator[Fact]:
    leaking = [
        step
        for step in run.steps
        if any(held.leaked for held in step.fresh) and not all(held.leaked for held in step.fresh)
    ]
    if leaking:
        step = leaking[0]
        old = sum(held.leaked for held in step.fresh)
        yield Fact(
            "leftover-micro-batches",
            "LL106",
            Severity.WARNING,
            f"{old} micro-batches of an incomplete last window leak into the first step of the next pass, which is "
            f"taken on {len(step.fresh)}",
            step.place,
            step.total,
            len(leaking),
            len(run.steps),
        )
    left = _lost(run.left, used)
    if run.ended and left and run.steps:
        yield Fact(
            "leftover-micro-batches",
            "LL106",
            Severity.WARNING,
            f"the gradients of the last {len(left)} micro-batches never reach a step",
            left[-1].place,
            0.0,
        )


# ---------------------------------------------------------------- numbers


def _near(value: float, right: float) -> bool:
    return isclose(value, right, rel_tol=TOLERANCE)


def _product(values: Sequence[float]) -> float:
    product = 1.0
    for value in values:
        product *= value
    return product


def number(value: float) -> str:
    """At most four digits that matter: `4`, `0.25`, `65536`."""
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.4g}"


def times(factor: float) -> str:
    """`4×` or `1/4 of`, as the factor reads better."""
    if 0 < factor < 1 and _near(1 / factor, round(1 / factor)):
        return f"1/{round(1 / factor)} of"
    return f"{number(round(factor, 6))}×"
