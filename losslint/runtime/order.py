"""How claims about the order and the number of calls are measured: clips, scalers, schedulers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from losslint.findings import Reason
from losslint.runtime.answers import Answer, Question, nothing, obstacle, scaler_raised
from losslint.runtime.bench import Bench, same
from losslint.runtime.ledger import Event, Ledger
from losslint.runtime.world import SCALE

_UNSCALED_TWICE = "unscale_() has already been called"


def clipped_scale(bench: Bench, question: Question) -> Answer:
    """The gradient at the clip over the gradient at the step, relative to the same at a scale of one."""
    ratio, plain = _clip_over_step(bench.base), _clip_over_step(bench.run(scale=1.0))
    if ratio is None or not plain:
        problem = obstacle(bench.base)
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
    # gradients that were set to zero one by one are gone as well
    kinds = ["lost" if event.kind == "clip" and not event.value else event.kind for event in bench.base.events]
    clips = kinds.count("clip") + kinds.count("lost")
    if not clips and "norm" not in kinds:
        return nothing(Reason.NOT_REACHED, "no clip")
    made, waiting, lost = False, 0, 0
    for kind in kinds:
        if kind == "backward":
            made = True
        elif kind == "clip" and made:
            waiting += 1
        elif kind in ("clip", "lost"):
            lost += 1
        elif kind in ("step", "zero"):
            lost += waiting if kind == "zero" else 0
            made, waiting = False, 0
    share = lost / clips if clips else 0.0
    # some clips of a window may see what came before them
    predicted = 1.0 if same(share, 1.0) or not share else None
    return Answer(share, predicted, share > 0, share > 0)


def scaler_order(bench: Bench, question: Question) -> Answer:
    """Calls of `unscale_` and `update` per optimizer step."""
    events = [event for event in bench.base.events if event.kind in ("unscale", "update", "step")]
    steps = sum(event.kind == "step" for event in events)
    if not steps or not any(step.through_scaler for step in bench.base.steps):
        # an error of the scaler's own, before the first step, is what is claimed
        if scaler_raised(bench.base, _UNSCALED_TWICE):
            return Answer(2.0, None, True, True, detail="the scaler raises: `unscale_` was called twice")
        return nothing(Reason.NOT_REACHED, "no step through the scaler")
    if scaler_raised(bench.base, _UNSCALED_TWICE):
        return Answer(2.0, None, True, True, detail="the scaler raises: `unscale_` was called twice")
    rounds = list(_between(events, "update"))
    idle = sum("step" not in kinds for kinds in rounds)
    if not rounds or idle:
        measured = len(rounds) / steps
        return Answer(measured, None, True, True, detail="`update` calls per step")
    unscales = max(kinds.count("unscale") for kinds in rounds)
    broken = unscales > max(1, bench.base.optimizers)
    return Answer(float(unscales), None, broken, broken, detail="`unscale_` calls per `update`")


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
    paces, alone = _lengths(ledger), _lengths(bench.run(window=1))
    if not ledger.steps or not any(event.kind in ("schedule", "told") for event in ledger.events):
        return nothing(Reason.NOT_REACHED, "no scheduler or no optimizer step")
    steps = max(Counter(step.optimizer for step in ledger.steps).values())
    window = float(bench.settings.shape.window)
    answer = Answer(1.0, window)
    for line, lengths in paces.items():
        # an optimizer that steps off the end of its windows has whole ones in between
        between = _between_steps(ledger, line)
        ratio = window if same(between, window) else len(lengths) / steps
        # how many epochs the code lays it out for, may be its own number: what it counts shows in how it changes
        counts_steps = bool(lengths[0]) and same(max(alone.get(line, [0.0])) / lengths[0], window)
        through = not lengths[0] or len(lengths) > lengths[0] or counts_steps
        broken = ratio > 1 and through
        if answer.measured is None or broken or ratio > answer.measured:
            answer = Answer(ratio, window, broken, broken and same(ratio, window))
        if broken:
            break
    return answer


def _between_steps(ledger: Ledger, line: int) -> float:
    """The most steps of the scheduler on a line that lie between two steps of an optimizer."""
    counted = most = 0
    for event in ledger.events:
        if event.kind == "step":
            most, counted = max(most, counted), 0
        counted += event.kind == "schedule" and event.line == line
    return float(most)


def _lengths(ledger: Ledger) -> dict[int, list[float]]:
    """For each line that steps a scheduler, what it was laid out for at each step; 0 where that is not known."""
    found: dict[int, list[float]] = {}
    for event in ledger.events:
        if event.kind == "schedule":
            found.setdefault(event.line, []).append(event.value)
    return found
