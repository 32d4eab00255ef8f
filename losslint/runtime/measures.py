"""How each claim is measured: runs on a bench, and the number that comes out beside the one that was predicted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from losslint.claims import Claim
from losslint.findings import Range, Reason
from losslint.runtime.bench import WINDOWS, Bench, in_first_pass, representative, same, steady, weight
from losslint.runtime.ledger import UNEVEN_LAST, Event, FigureRow, Ledger
from losslint.runtime.world import LOG, SCALE
from losslint.units import ONE, Unit

_OFFICIAL = frozenset({"return", "call", "format"})
_TAIL = 2
_NAME = re.compile(r"[A-Za-z_]\w*")
_UNSCALED_TWICE = "unscale_() has already been called"
_NOTHING_TO_SCALE = "No inf checks were recorded for this optimizer"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a bench: the finding's lines, its factor as a unit, that factor in words, the places that the
    finding speaks of, the names that statements there bind or fill, and whether it rests on other files too."""

    lines: tuple[int, ...]
    unit: Unit | None
    words: str = ""
    marks: tuple[Range, ...] = ()
    names: frozenset[str] = frozenset()
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What was measured. `broken`: the law is; `matches`: and by the predicted factor (or there is no number);
    `reason`: nothing could be said. `figure` is the figure that was read."""

    measured: float | None = None
    predicted: float | None = None
    broken: bool = False
    matches: bool = False
    reason: Reason | None = None
    detail: str = ""
    figure: FigureRow | None = None


Measure = Callable[[Bench, Question], Answer]


def nothing(reason: Reason, detail: str) -> Answer:
    """No answer, and why."""
    return Answer(reason=reason, detail=detail)


def in_numbers(unit: Unit, bench: Bench) -> float:
    """A unit in the numbers of the world."""
    shape = bench.settings.shape
    numbers = {
        "batch": shape.batch_size,
        "batches": shape.batches,
        "log": LOG,
        "scale": SCALE,
        "window": shape.window,
        "processes": 1,
    }
    value = 1.0
    for symbol, number in numbers.items():
        value *= float(number) ** getattr(unit, symbol)
    return value


def _ones(unit: Unit) -> dict[str, Any]:
    """The world in which every symbol of a unit is one: what comes out there is right by definition."""
    ones: dict[str, Any] = {}
    if unit.batch:
        ones["batch_size"] = 1
    if unit.batches:
        ones |= {"batches": 1, "window": 1}
    if unit.log:
        ones["log"] = 1
    if unit.scale:
        ones["scale"] = 1.0
    if unit.window:
        ones["window"] = 1
    return ones


# ---------------------------------------------------------------- gradients


def steps_reached(bench: Bench) -> bool:
    """Whether optimizer steps see gradients of batches."""
    return len([step for step in bench.base.steps if step.fresh]) >= 2


def _problem(ledger: Ledger) -> Answer | None:
    """Why the gradients of a run cannot be judged."""
    if ledger.taints:
        return nothing(Reason.UNMODELLED_SCALING, "; ".join(ledger.taints[:3]))
    if ledger.closures:
        return nothing(Reason.CLOSURE, "the optimizer's step runs a closure")
    if not any(step.fresh for step in ledger.steps):
        why = f": {ledger.failure}" if ledger.failure else f": {ledger.gaps[0]}" if ledger.gaps else ""
        return nothing(Reason.NOT_REACHED, f"no optimizer step sees a gradient{why}")
    by_optimizer: dict[str, list[int]] = {}
    for step in ledger.steps:
        by_optimizer.setdefault(step.optimizer, []).append(step.at)
    if len({tuple(at) for at in by_optimizer.values()}) > 1:
        return nothing(Reason.SEVERAL_OPTIMIZERS, ", ".join(sorted(by_optimizer)))
    if any(total != total or abs(total) == float("inf") for total in (step.total for step in ledger.steps)):
        return nothing(Reason.NON_FINITE, "a gradient is not finite")
    return None


def gradient_scale(bench: Bench, question: Question) -> Answer:
    """The weight of a step over that of the same step where every symbol of the factor is one."""
    problem = _problem(bench.base)
    if problem is not None:
        return problem
    unit = question.unit
    if unit is None:
        return _any_scale(bench, question)
    predicted = in_numbers(unit, bench)
    # a unit is read where nothing is accumulated, unless the window is in it
    base = bench.base if unit.window else bench.run(window=1)
    by_scaler = [step.total for step in base.steps if step.fresh] if unit.scale else []
    reference = weight(bench.run(**{"window": 1, **_ones(unit)}))
    measured = weight(base)
    if reference is None or measured is None or not reference:
        return nothing(Reason.NOT_REACHED, "the world at one has no step")
    ratio = measured / reference
    if by_scaler and not same(ratio, predicted):
        other = bench.run(**{"window": 1, **_ones(unit)})
        for one, two in zip(base.steps, other.steps, strict=False):
            if two.total and same(one.total / two.total, predicted):
                ratio = one.total / two.total
    return Answer(ratio, predicted, not _scale_holds(bench), same(ratio, predicted))


def _scale_holds(bench: Bench) -> bool:
    """Whether the weights of steps depend neither on the window nor on the size of a batch nor on the AMP scale."""
    reference = _weights(bench.run(window=1))
    others = [_weights(bench.run(window=window)) for window in WINDOWS[1:]]
    others.append(_weights(bench.run(window=1, scale=2 * SCALE)))
    others.append(_weights(bench.run(window=1, batches=24)))
    if bench.base.reductions <= {"mean", "batchmean"}:
        others.append(_weights(bench.run(window=1, batch_size=4)))
    alike = all(same(other.get(name), value) for other in others for name, value in reference.items())
    return alike and _positions_alike(bench)


def _weights(ledger: Ledger) -> dict[str, float | None]:
    """The weight of all items in an ordinary step of each optimizer that sees a gradient."""
    names = dict.fromkeys(step.optimizer for step in ledger.steps if step.fresh)
    return {
        name: weight(replace(ledger, steps=[step for step in ledger.steps if step.optimizer == name])) for name in names
    }


def _positions_alike(bench: Bench) -> bool:
    """Whether all micro-batches of a pass weigh the same."""
    answer = _uneven_weights(bench)
    return not answer.broken


def _any_scale(bench: Bench, question: Question) -> Answer:
    """Whether the scale of a step depends on anything, by whatever factor; then with the program's own numbers."""
    answer = _uneven_weights(bench)
    if answer.broken or answer.reason is not None:
        return answer
    if not _scale_holds(bench):
        ratios = [weight(bench.run(window=window)) for window in (4, 1)]
        ratio = ratios[0] / ratios[1] if ratios[0] and ratios[1] else None
        return Answer(ratio, None, True, True, detail="the weight depends on the size of a window, a batch or a pass")
    if question.lines:
        own = weight(bench.run(own=True, batches=48))
        alone = weight(bench.run(window=1))
        if own and alone and not same(own, alone):
            return Answer(own / alone, None, True, True, detail="with the numbers of the code")
    return answer


def _uneven_weights(bench: Bench) -> Answer:
    """A weight that changes from batch to batch in the steps of one optimizer, whatever the factor."""
    totals: dict[str, list[float]] = {}
    for step in bench.base.steps:
        totals.setdefault(step.optimizer, []).extend(use.total for use in step.fresh if use.total)
    ratios = [max(own) / min(own) for own in totals.values() if own]
    if not ratios:
        return nothing(Reason.NOT_REACHED, "no step sees a gradient")
    if not same(max(ratios), 1.0):
        return Answer(max(ratios), None, True, True, detail="the weight changes from batch to batch")
    return Answer(1.0, None)


def micro_batch_ratio(bench: Bench, question: Question) -> Answer:
    """The largest weight of a micro-batch over the smallest."""
    problem = _problem(bench.base)
    if problem is not None:
        return problem
    predicted = float(bench.settings.shape.window)
    answer = Answer(1.0, predicted)
    candidates = [bench.base]
    for key, place in enumerate(bench.program.places):
        if place.kind == "if" and place.varies and (place.wanted is True or key in bench.base.decisions):
            candidates.append(bench.run(once=key))
    for ledger in candidates[: 1 if not question.lines else None]:
        totals = [use.total for step in ledger.steps for use in step.fresh if use.total]
        if totals and not same(max(totals), min(totals)):
            ratio = max(totals) / min(totals)
            if same(ratio, predicted) or not answer.broken:
                answer = Answer(ratio, predicted, True, same(ratio, predicted))
            if answer.matches:
                return answer
    return answer


def left_over(bench: Bench, question: Question) -> Answer:
    """Micro-batches of the first pass that no step of that pass saw."""
    batches = bench.settings.shape.batches + _TAIL
    ledger = bench.run(batches=batches)
    problem = _problem(ledger)
    if problem is not None:
        return problem
    seen = {use.batch for step in ledger.steps if step.at <= ledger.first_pass for use in step.fresh}
    in_pass = {number for number in ledger.trained if number < ledger.first_pass}
    # a window that runs on into the next pass is a whole window
    window = bench.settings.shape.window
    late = {
        use.batch
        for step in ledger.steps
        if step.at > ledger.first_pass and len(step.fresh) != window
        for use in step.fresh
        if use.batch in in_pass
    }
    seen |= {use.batch for step in ledger.steps if len(step.fresh) == window for use in step.fresh}
    last = max(seen & in_pass, default=0)
    never = {number for number in in_pass - seen if number >= last}
    missing = float(len(late | never))
    predicted = float(batches % bench.settings.shape.window)
    return Answer(missing, predicted, missing > 0, same(missing, predicted))


def short_window(bench: Bench, question: Question) -> Answer:
    """The weight of the short last window over that of a full one."""
    ledger = bench.run(batches=bench.settings.shape.batches + _TAIL)
    problem = _problem(ledger)
    if problem is not None:
        return problem
    full = weight(ledger)
    window = bench.settings.shape.window
    tails = [s for s in ledger.steps if s.fresh and s.at <= ledger.first_pass and len(s.fresh) == _TAIL]
    if not tails or not full:
        return Answer(None, _TAIL / window, detail="no step takes the short window")
    ratio = tails[-1].total / full
    return Answer(ratio, _TAIL / window, not same(ratio, 1.0), same(ratio, _TAIL / window))


def first_window(bench: Bench, question: Question) -> Answer:
    """Micro-batches in the first window over those in a full one."""
    problem = _problem(bench.base)
    if problem is not None:
        return problem
    steps = [step for step in bench.base.steps if step.fresh]
    full = len(steady(bench.base)[0].fresh)
    ratio = len(steps[0].fresh) / full
    predicted = 1 / bench.settings.shape.window
    return Answer(ratio, predicted, not same(ratio, 1.0), same(ratio, predicted))


def surviving_share(bench: Bench, question: Question) -> Answer:
    """The share of a window's micro-batches whose gradient its step sees."""
    problem = _problem(bench.base)
    if problem is not None:
        return problem
    steps = steady(bench.base)
    step = steps[-1]
    share = len(step.fresh) / (len(step.fresh) + len(step.lost))
    predicted = 1 / bench.settings.shape.window
    return Answer(share, predicted, not same(share, 1.0), same(share, predicted))


def item_ratio(bench: Bench, question: Question) -> Answer:
    """The largest weight of an item that counts over the smallest, in one step over uneven micro-batches."""
    ledger = bench.run(uneven=True)
    problem = _problem(ledger)
    if problem is not None:
        return problem
    step = steady(ledger)[0]
    weights = [value for use in step.fresh for value in use.weights if value]
    ratio = max(weights) / min(weights)
    uniform = [use for use in step.fresh if not same(max(use.weights), min(v for v in use.weights if v))]
    if uniform:  # class weights: compare items of the same class
        tops = [max(use.weights) for use in step.fresh]
        ratio = max(tops) / min(tops)
    return Answer(ratio, None, not same(ratio, 1.0), not same(ratio, 1.0))


def masked_share(bench: Bench, question: Question) -> Answer:
    """The weight of the items that count together: one where the mean is over them."""
    ledger = bench.run(window=1, uneven=True)
    even = weight(bench.run(window=1))
    if ledger.taints:
        return nothing(Reason.UNMODELLED_SCALING, "; ".join(ledger.taints[:3]))
    if not even or not any(step.fresh for step in ledger.steps):
        return _masked_figure(bench, question)
    totals = [step.total / even for step in ledger.steps if step.fresh]
    least = min(totals)
    return Answer(least, None, not same(least, 1.0), not same(least, 1.0))


def _masked_figure(bench: Bench, question: Question) -> Answer:
    for row, even in _rows(bench, question):
        value = _value(bench.run(uneven=True), row)
        if value is not None and even and not same(value / even, 1.0):
            return Answer(value / even, None, True, True, figure=row)
    return Answer(1.0, None) if figures_reached(bench) else _unreached(bench)


def stale_gradient(bench: Bench, question: Question) -> Answer:
    """The weight that a step sees over the weight of what is new to it."""
    ledger = bench.run(window=1)
    problem = _problem(ledger)
    if problem is not None:
        return problem
    steps = [step for step in ledger.steps if step.fresh]
    if len(steps) < 3:
        return nothing(Reason.NOT_REACHED, "fewer than three steps")
    step = steps[2]
    ratio = (step.total + sum(use.total for use in step.stale)) / step.total if step.total else 1.0
    # a scaler divides what is stale once more: then the number is another, and the law no less broken
    predicted = None if step.through_scaler else 3.0
    return Answer(ratio, predicted, not same(ratio, 1.0), predicted is None or same(ratio, predicted))


def no_gradient(bench: Bench, question: Question) -> Answer:
    """The share of steps that see no gradient of a batch drawn since the step before. The first step of each optimizer
    is left out: one that is a batch late by design has nothing to see yet."""
    ledger = bench.run(window=1)
    if _raised(ledger, _NOTHING_TO_SCALE):
        return Answer(1.0, 1.0, True, True, detail="the scaler raises: there is no gradient to unscale")
    if ledger.taints:
        return nothing(Reason.UNMODELLED_SCALING, "; ".join(ledger.taints[:3]))
    if not ledger.steps or not ledger.backwards:
        return _unreached(bench)
    worst = 0.0
    for name in {step.optimizer for step in ledger.steps}:
        later = [step for step in ledger.steps if step.optimizer == name][1:]
        empty = [step for step in later if not any(use.total for use in step.fresh)]
        worst = max(worst, len(empty) / len(later)) if later else worst
    return Answer(worst, 1.0, worst > 0, same(worst, 1.0))


# ---------------------------------------------------------------- clips, scalers, schedulers


def clipped_scale(bench: Bench, question: Question) -> Answer:
    """The gradient at the clip over the gradient at the step, relative to the same at a scale of one."""
    ratio, plain = _clip_over_step(bench.base), _clip_over_step(bench.run(scale=1.0))
    if ratio is None or plain is None:
        problem = _problem(bench.base)
        return problem or nothing(Reason.NOT_REACHED, "no clip before a step")
    if bench.base.taints:
        return nothing(Reason.UNMODELLED_SCALING, "; ".join(bench.base.taints[:3]))
    measured = ratio / plain
    return Answer(measured, SCALE, not same(measured, 1.0), same(measured, SCALE))


def _clip_over_step(ledger: Ledger) -> float | None:
    steps = iter(ledger.steps)
    clip = None
    for event in ledger.events:
        if event.kind == "clip" and clip is None:
            clip = event.value
        elif event.kind == "step":
            step = next(steps, None)
            total = 0.0 if step is None else step.total + sum(use.total for use in step.stale)
            if clip is not None and total:
                return clip / total
            clip = None
    return None


def clip_order(bench: Bench, question: Question) -> Answer:
    """The share of clips that find no gradient to clip, or whose gradient is zeroed before a step sees it."""
    kinds = [event.kind for event in bench.base.events]
    clips = kinds.count("clip")
    if not clips and "norm" not in kinds:
        return nothing(Reason.NOT_REACHED, "no clip")
    made, waiting, lost = False, 0, 0
    for kind in kinds:
        if kind == "backward":
            made = True
        elif kind == "clip" and made:
            waiting += 1
        elif kind == "clip":
            lost += 1
        elif kind in ("step", "zero"):
            lost += waiting if kind == "zero" else 0
            made, waiting = False, 0
    share = lost / clips if clips else 0.0
    return Answer(share, 1.0, share > 0, same(share, 1.0))


def scaler_order(bench: Bench, question: Question) -> Answer:
    """Calls of `unscale_` and `update` per optimizer step."""
    events = [event for event in bench.base.events if event.kind in ("unscale", "update", "step")]
    steps = sum(event.kind == "step" for event in events)
    if not steps or not any(step.through_scaler for step in bench.base.steps):
        # an error of the scaler's own, before the first step, is what is claimed
        if _raised(bench.base, _UNSCALED_TWICE):
            return Answer(2.0, None, True, True, detail="the scaler raises: `unscale_` was called twice")
        return nothing(Reason.NOT_REACHED, "no step through the scaler")
    if _raised(bench.base, _UNSCALED_TWICE):
        return Answer(2.0, None, True, True, detail="the scaler raises: `unscale_` was called twice")
    rounds = list(_between(events, "update"))
    idle = sum("step" not in kinds for kinds in rounds)
    if not rounds or idle:
        measured = len(rounds) / steps
        return Answer(measured, None, True, True, detail="`update` calls per step")
    unscales = max(kinds.count("unscale") for kinds in rounds)
    broken = unscales > max(1, bench.base.optimizers)
    return Answer(float(unscales), None, broken, broken, detail="`unscale_` calls per `update`")


def _raised(ledger: Ledger, words: str) -> bool:
    """Whether the scaler itself refused a call."""
    return any(words in gap for gap in ledger.gaps)


def _between(events: Sequence[Event], kind: str) -> Iterator[list[str]]:
    """The kinds of events before each event of a kind."""
    part: list[str] = []
    for event in events:
        if event.kind == kind:
            yield part
            part = []
        else:
            part.append(event.kind)


def scheduler_pace(bench: Bench, question: Question) -> Answer:
    """Scheduler steps per optimizer step. A schedule that was laid out for as many steps as it takes is right."""
    ledger = bench.base
    paces: dict[int, list[float]] = {}
    for event in ledger.events:
        if event.kind == "schedule":
            paces.setdefault(event.line, []).append(event.value)
    if not ledger.steps or not any(event.kind in ("schedule", "told") for event in ledger.events):
        return nothing(Reason.NOT_REACHED, "no scheduler or no optimizer step")
    steps = max(Counter(step.optimizer for step in ledger.steps).values())
    window = float(bench.settings.shape.window)
    answer = Answer(1.0, window)
    for lengths in paces.values():
        ratio = len(lengths) / steps
        through = not lengths[0] or len(lengths) > lengths[0]
        broken = ratio > 1 and same(ratio, window) and through
        if answer.measured is None or broken or ratio > answer.measured:
            answer = Answer(ratio, window, broken, broken)
        if broken:
            break
    return answer


# ---------------------------------------------------------------- figures


def figures_reached(bench: Bench) -> bool:
    """Whether a figure that depends on losses was shown."""
    return any(True for _ in _moving(bench))


def _moving(bench: Bench) -> Iterator[FigureRow]:
    """The figures that change when the losses do."""
    doubled = {_key(row): row for row in bench.run(doubled=True).figures}
    for row in bench.base.figures:
        other = doubled.get(_key(row))
        if other is not None and not same(
            representative(row, bench.base), representative(other, bench.run(doubled=True)), 1e-6
        ):
            yield row


def _key(row: FigureRow) -> tuple[int, int, str]:
    return row.line, row.column, row.text


def _rows(bench: Bench, question: Question) -> list[tuple[FigureRow, float]]:
    """The figures in question, the likeliest first: on the finding's own lines, shown to a person, shown once."""
    found = []
    moving = list(_moving(bench))
    for row in moving:
        if question.marks and not _is_spoken_of(row, moving, question):
            continue
        often = in_first_pass(row, bench.base)
        if row.sink not in _OFFICIAL and (often > 1 or row.sink == "meter") and row.line not in question.lines[-1:]:
            continue
        near = question.lines.index(row.line) if row.line in question.lines else 99
        found.append((near == 99, row.sink not in _OFFICIAL, near, -row.line, row))
    found.sort(key=lambda entry: entry[:4])
    return [(row, representative(row, bench.base)) for *_, row in found]


def _is_spoken_of(row: FigureRow, rows: Sequence[FigureRow], question: Question) -> bool:
    """Whether a finding speaks of a figure: it shows what a statement of the finding's made, begins in one of the
    finding's marks, or a mark lies in it. Of marks that lie in one another only the innermost count."""
    marks = question.marks
    at = (row.line, row.column)
    if question.names & set(_NAME.findall(row.text)):
        return True
    for mark in marks:
        if mark.start_line > row.line or mark.end_line < row.line or any(_within(other, mark) for other in marks):
            continue
        start, end = (mark.start_line, mark.start_column), (mark.end_line, mark.end_column)
        if start <= at <= end:
            return True
        before = [(one.line, one.column) for one in rows if one.line == row.line and (one.line, one.column) <= start]
        if mark.start_line == row.line and before and at == max(before):
            return True
    return False


def _within(inner: Range, outer: Range) -> bool:
    """Whether a range lies in another one and is not the same."""
    return (
        inner != outer
        and (outer.start_line, outer.start_column) <= (inner.start_line, inner.start_column)
        and (inner.end_line, inner.end_column) <= (outer.end_line, outer.end_column)
    )


def _value(ledger: Ledger, row: FigureRow) -> float | None:
    other = next((one for one in ledger.figures if _key(one) == _key(row)), None)
    return representative(other, ledger) if other is not None else None


def _unreached(bench: Bench) -> Answer:
    ledger = bench.base
    why = ledger.failure or next(iter(ledger.gaps), "")
    return nothing(Reason.NOT_REACHED, f"no figure made of losses was shown{': ' + why if why else ''}")


def figure_scale(bench: Bench, question: Question) -> Answer:
    """The figure over the same figure where every symbol of the factor is one."""
    rows = _rows(bench, question)
    if not rows:
        return _unreached(bench)
    unit = question.unit if question.unit is not None else ONE
    predicted = in_numbers(unit, bench)
    whole = _ones(Unit(batch=1, batches=1, log=1, scale=1, window=1))
    ones = whole if unit.is_one else _ones(unit)
    closest = Answer(predicted=predicted)
    for row, value in rows:
        reference = _value(bench.run(**ones), row)
        if not reference:
            continue
        ratio = value / reference
        unscaled = _value(bench.run(**whole), row)
        broken = not unscaled or not same(value / unscaled, 1.0)
        if same(ratio, predicted):
            return Answer(ratio, predicted, broken, True, figure=row)
        if closest.measured is None:
            closest = Answer(ratio, predicted, broken, False, figure=row)
    if closest.measured is None:
        return nothing(Reason.NOT_REACHED, "the figure does not appear in the world at one")
    if bench.base.taints:
        return nothing(Reason.UNMODELLED_SCALING, "; ".join(bench.base.taints[:3]))
    return closest


def figure_share(bench: Bench, question: Question) -> Answer:
    """The figure where passes and batches differ in size, over the same where there is one batch of one."""
    ones: dict[str, Any] = {"batch_size": 1, "batches": 1, "window": 1, "epochs": 1, "log": 1}
    uneven: dict[str, Any] = {"validation": 7, "last_batch": UNEVEN_LAST}
    if question.words.startswith("batches seen"):
        # a loop that is left early may be left before an incomplete window
        uneven["batches"] = bench.settings.shape.batches + _TAIL
    rows = _rows(bench, question)
    if not rows:
        return _unreached(bench)
    answer = Answer()
    for row, _ in rows:
        value, reference = _value(bench.run(**uneven), row), _value(bench.run(**ones), row)
        if not value or not reference:
            continue
        ratio = value / reference
        broken = not same(ratio, 1.0, 0.02)
        if broken or answer.measured is None:
            answer = Answer(ratio, None, broken, broken, figure=row)
        if broken and row.line in question.lines:
            return answer
    return answer if answer.measured is not None else _unreached(bench)


def figure_batches(bench: Bench, question: Question) -> Answer:
    """The share of a pass's batches in the figure; for a figure that grows, the second pass over the first."""
    rows = _rows(bench, question)
    if not rows:
        return _unreached(bench)
    grows = question.words.startswith("×")
    if grows or not question.words:
        answer = _growth(bench, rows)
        if answer.broken or grows:
            return answer
    batches = 4
    small: dict[str, Any] = {"batches": batches, "window": min(2, bench.settings.shape.window)}
    answer = Answer(1.0, 1 / batches) if not question.lines else Answer(None, 1 / batches)
    base = bench.run(**small)
    for row, _ in rows:
        if not question.words and not _ends_a_pass(row, base):
            continue
        value = _value(base, row)
        moved = [
            place
            for place in range(batches)
            if value is not None and not same(_value(bench.run(**small, raised=frozenset({place})), row), value, 1e-6)
        ]
        share = len(moved) / batches
        if moved == [batches - 1]:
            return Answer(share, 1 / batches, True, True, figure=row)
        if answer.measured is None and moved:
            answer = Answer(share, 1 / batches, False, False, figure=row)
    return answer if answer.measured is not None else _unreached(bench)


def _ends_a_pass(row: FigureRow, ledger: Ledger) -> bool:
    return in_first_pass(row, ledger) == 1


def _growth(bench: Bench, rows: list[tuple[FigureRow, float]]) -> Answer:
    ledger = bench.run(rounds=2)
    for row, _ in rows:
        full = next((one for one in ledger.figures if _key(one) == _key(row)), row)
        later = [value for value, at in zip(full.values, full.at, strict=True) if at > ledger.first_pass]
        first = representative(full, ledger)
        if later and first and in_first_pass(full, ledger) == 1 and same(later[0] / first, 2.0):
            return Answer(later[0] / first, 2.0, True, True, figure=row)
    return Answer(1.0, 2.0, figure=rows[0][0])


def figure_last_batch(bench: Bench, question: Question) -> Answer:
    """The weight of an item in a short last batch over that of an item in any other batch."""
    rows = _rows(bench, question)
    if not rows:
        return _unreached(bench)
    shape = bench.settings.shape
    predicted = shape.batch_size / UNEVEN_LAST
    base = bench.run(last_batch=UNEVEN_LAST)
    answer = Answer(None, predicted)
    for row, _ in rows:
        value = _value(base, row)
        first = _value(bench.run(last_batch=UNEVEN_LAST, raised=frozenset({0})), row)
        last = _value(bench.run(last_batch=UNEVEN_LAST, raised=frozenset({shape.batches - 1})), row)
        if value is None or first is None or last is None or same(first, value, 1e-7):
            continue
        if same(last, value, 1e-7):
            answer = answer if answer.measured is not None else Answer(0.0, predicted, figure=row)
            continue
        ratio = (last - value) / UNEVEN_LAST / ((first - value) / shape.batch_size)
        if same(ratio, predicted, 1e-3):
            return Answer(ratio, predicted, True, True, figure=row)
        if answer.measured is None:
            answer = Answer(ratio, predicted, not same(ratio, 1.0, 1e-3), False, figure=row)
    return answer if answer.measured is not None else _unreached(bench)


def figure_curve(bench: Bench, question: Question) -> Answer:
    """The figure at twice the loss over twice the figure."""
    rows = _rows(bench, question)
    if not rows:
        return _unreached(bench)
    answer = Answer(1.0, None, figure=rows[0][0])
    for row, value in rows:
        doubled = _value(bench.run(doubled=True), row)
        if doubled is None or not value:
            continue
        mixed = bench.run(raised=frozenset(range(0, bench.settings.shape.batches, 2)))
        halfway = _value(mixed, row)
        # a nonlinear figure of the whole set is not the mean of those of its halves
        if halfway is not None and not same(doubled / value, 2.0) and same(halfway, (value + doubled) / 2):
            return Answer(doubled / value / 2, None, True, True, figure=row)
    return answer


def figure_pair(bench: Bench, question: Question) -> Answer:
    """The training figure over the validation figure on the finding's line."""
    if question.unit is None:
        return _pairs(bench)
    predicted = in_numbers(question.unit, bench)
    everywhere = replace(question, marks=())
    here = [(row, value) for row, value in _rows(bench, everywhere) if row.line in question.lines[:1]]
    if len(here) < 2:
        return nothing(Reason.NOT_REACHED, "the two figures are not shown on one line")
    closest = Answer(predicted=predicted)
    for left, one in here:
        for right, two in here:
            if left is right or not two:
                continue
            ones = bench.run(**_ones(question.unit))
            first, second = _value(ones, left), _value(ones, right)
            if not first or not second:
                continue
            ratio = one / two / (first / second)
            if same(ratio, predicted):
                return Answer(ratio, predicted, True, True, figure=left)
            if closest.measured is None:
                closest = Answer(ratio, predicted, not same(ratio, 1.0), False, figure=left)
    return closest if closest.measured is not None else _unreached(bench)


def _pairs(bench: Bench) -> Answer:
    rows = _rows(bench, Question((), None))
    answer = Answer(1.0, None)
    for (left, one), (right, two) in pairwise(sorted(rows, key=lambda row: (row[0].line, row[0].column))):
        if left.line == right.line and two and not same(one / two, 1.0):
            answer = Answer(one / two, None, True, True, figure=left)
    return answer if rows else _unreached(bench)


def figure_local(bench: Bench, question: Question) -> Answer:
    """How far the figure moves when the loss of another process does."""
    rows = _rows(bench, question)
    if not rows:
        return _unreached(bench)
    foreign = bench.run(foreign=5.0)
    moves = [(row, (_value(foreign, row) or value) - value) for row, value in rows]
    here = [pair for pair in moves if pair[0].line in question.lines[:1]] or moves
    row, moved = max(here, key=lambda pair: abs(pair[1]))
    return Answer(moved, 0.0, not moved, not moved, figure=row)


def graphs_alive(bench: Bench, question: Question) -> Answer:
    """The graphs of past batches that are alive at once, over the batches of a pass."""
    window = bench.run(window=1)
    short = bench.run(window=1, batches=6)
    if not window.backwards and not figures_reached(bench) and not window.graphs:
        return _unreached(bench)
    grows = window.graphs >= 10 and window.graphs > short.graphs
    return Answer(float(window.graphs), None, grows, grows)


def loss_changed(bench: Bench, question: Question) -> Answer:
    """A loss after another name of it was changed in place, over the loss as it was made."""
    ledger = bench.base
    if not ledger.backwards and not figures_reached(bench):
        return _unreached(bench)
    broken = not same(ledger.changed, 1.0)
    return Answer(ledger.changed, None, broken, broken)


MEASURES: dict[Claim, Measure] = {
    Claim.GRADIENT_SCALE: gradient_scale,
    Claim.MICRO_BATCH_RATIO: micro_batch_ratio,
    Claim.LEFT_OVER: left_over,
    Claim.SHORT_WINDOW: short_window,
    Claim.FIRST_WINDOW: first_window,
    Claim.SURVIVING_SHARE: surviving_share,
    Claim.ITEM_RATIO: item_ratio,
    Claim.MASKED_SHARE: masked_share,
    Claim.STALE_GRADIENT: stale_gradient,
    Claim.CLIPPED_SCALE: clipped_scale,
    Claim.SCALER_ORDER: scaler_order,
    Claim.FIGURE_SCALE: figure_scale,
    Claim.FIGURE_SHARE: figure_share,
    Claim.FIGURE_BATCHES: figure_batches,
    Claim.FIGURE_LAST_BATCH: figure_last_batch,
    Claim.FIGURE_CURVE: figure_curve,
    Claim.FIGURE_PAIR: figure_pair,
    Claim.FIGURE_LOCAL: figure_local,
    Claim.GRAPHS_ALIVE: graphs_alive,
    Claim.LOSS_CHANGED: loss_changed,
    Claim.NO_GRADIENT: no_gradient,
    Claim.CLIP_ORDER: clip_order,
    Claim.SCHEDULER_PACE: scheduler_pace,
}

GRADIENTS = frozenset(
    {
        Claim.GRADIENT_SCALE,
        Claim.MICRO_BATCH_RATIO,
        Claim.LEFT_OVER,
        Claim.SHORT_WINDOW,
        Claim.FIRST_WINDOW,
        Claim.SURVIVING_SHARE,
        Claim.ITEM_RATIO,
        Claim.STALE_GRADIENT,
    }
)
"""Claims that need optimizer steps."""


def reached(claim: Claim, bench: Bench) -> bool:
    """Whether a bench gets to what a claim speaks of."""
    if claim in GRADIENTS:
        return steps_reached(bench)
    if claim in (Claim.CLIPPED_SCALE, Claim.SCALER_ORDER, Claim.CLIP_ORDER, Claim.NO_GRADIENT, Claim.SCHEDULER_PACE):
        return bool(bench.base.steps) or (claim is Claim.NO_GRADIENT and _raised(bench.base, _NOTHING_TO_SCALE))
    if claim in (Claim.GRAPHS_ALIVE, Claim.LOSS_CHANGED, Claim.MASKED_SHARE):
        return bool(bench.base.backwards) or figures_reached(bench)
    return figures_reached(bench)
