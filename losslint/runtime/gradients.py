"""How claims about the gradients of optimizer steps are measured."""

from __future__ import annotations

from dataclasses import replace

from losslint.findings import Reason
from losslint.runtime.answers import (
    NOTHING_TO_SCALE,
    TAIL,
    Answer,
    Question,
    all_ones,
    in_numbers,
    nothing,
    obstacle,
    scaler_raised,
)
from losslint.runtime.bench import WINDOWS, Bench, same, steady, weight
from losslint.runtime.figures import figures_reached, rows_of, unreached, value_of
from losslint.runtime.ledger import Ledger, StepRow
from losslint.runtime.world import SCALE

_CURVED = 0.02
"""How far the slopes of a loss that is no straight line may be off the mean."""


def steps_reached(bench: Bench) -> bool:
    """Whether optimizer steps see gradients of batches."""
    return len([step for step in bench.base.steps if step.fresh]) >= 2


def gradient_scale(bench: Bench, question: Question) -> Answer:
    """The weight of a step over that of the same step where every symbol of the factor is one."""
    problem = obstacle(bench.base)
    if problem is not None:
        return problem
    unit = question.unit
    if unit is None:
        return _any_scale(bench, question)
    predicted = in_numbers(unit, bench)
    # a unit is read where nothing is accumulated, unless the window is in it
    base = bench.base if unit.window else bench.run(window=1)
    by_scaler = [step.total for step in base.steps if step.fresh] if unit.scale else []
    reference = weight(bench.run(**{"window": 1, **all_ones(unit)}))
    measured = weight(base)
    if reference is None or measured is None or not reference:
        return nothing(Reason.NOT_REACHED, "the world at one has no step")
    ratio = measured / reference
    if by_scaler and not same(ratio, predicted):
        other = bench.run(**{"window": 1, **all_ones(unit)})
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
    problem = obstacle(bench.base)
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
    batches = bench.settings.shape.batches + TAIL
    ledger = bench.run(batches=batches)
    problem = obstacle(ledger)
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
    ledger = bench.run(batches=bench.settings.shape.batches + TAIL)
    problem = obstacle(ledger)
    if problem is not None:
        return problem
    full = weight(ledger)
    window = bench.settings.shape.window
    tails = [s for s in ledger.steps if s.fresh and s.at <= ledger.first_pass and len(s.fresh) == TAIL]
    if not tails or not full:
        return Answer(None, TAIL / window, detail="no step takes the short window")
    ratio = tails[-1].total / full
    return Answer(ratio, TAIL / window, not same(ratio, 1.0), same(ratio, TAIL / window))


def first_window(bench: Bench, question: Question) -> Answer:
    """Micro-batches in the first window over those in a full one."""
    problem = obstacle(bench.base)
    if problem is not None:
        return problem
    steps = [step for step in bench.base.steps if step.fresh]
    full = len(steady(bench.base)[0].fresh)
    ratio = len(steps[0].fresh) / full
    predicted = 1 / bench.settings.shape.window
    return Answer(ratio, predicted, not same(ratio, 1.0), same(ratio, predicted))


def surviving_share(bench: Bench, question: Question) -> Answer:
    """The share of a window's micro-batches whose gradient its step sees."""
    problem = obstacle(bench.base)
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
    problem = obstacle(ledger)
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
    if ledger.doubts:
        return nothing(Reason.UNMODELLED_SCALING, "; ".join(ledger.doubts[:3]))
    if not even or not any(step.fresh for step in ledger.steps):
        return _masked_figure(bench, question)
    totals = [step.total / even for step in ledger.steps if step.fresh]
    least = min(totals)
    return Answer(least, None, not same(least, 1.0), not same(least, 1.0))


def _masked_figure(bench: Bench, question: Question) -> Answer:
    for row, even in rows_of(bench, question):
        value = value_of(bench.run(uneven=True), row)
        if value is not None and even and not same(value / even, 1.0):
            return Answer(value / even, None, True, True, figure=row)
    return Answer(1.0, None) if figures_reached(bench) else unreached(bench)


def stale_gradient(bench: Bench, question: Question) -> Answer:
    """The weight that a step sees over the weight of what is new to it."""
    ledger = bench.run(window=1)
    problem = obstacle(ledger)
    if problem is not None:
        return problem
    by_optimizer: dict[str, list[StepRow]] = {}
    for step in ledger.steps:
        if step.fresh:
            by_optimizer.setdefault(step.optimizer, []).append(step)
    third = [steps[2] for steps in by_optimizer.values() if len(steps) > 2]
    if not third:
        return nothing(Reason.NOT_REACHED, "fewer than three steps")
    # where several optimizers step, one whose gradients stay is enough
    step = max(third, key=_grown)
    ratio = _grown(step)
    # a scaler divides what is stale once more: then the number is another, and the law no less broken
    predicted = None if step.through_scaler else 3.0
    return Answer(ratio, predicted, not same(ratio, 1.0), predicted is None or same(ratio, predicted))


def _grown(step: StepRow) -> float:
    return (step.total + sum(use.total for use in step.stale)) / step.total if step.total else 1.0


def no_gradient(bench: Bench, question: Question) -> Answer:
    """The share of steps that see no gradient of a batch drawn since the step before. The first step of each optimizer
    is left out: one that is a batch late by design has nothing to see yet."""
    ledger = bench.run(window=1)
    if scaler_raised(ledger, NOTHING_TO_SCALE):
        return Answer(1.0, 1.0, True, True, detail="the scaler raises: there is no gradient to unscale")
    if ledger.taints:
        return nothing(Reason.UNMODELLED_SCALING, "; ".join(ledger.taints[:3]))
    if not ledger.steps or not ledger.backwards:
        return unreached(bench)
    worst = 0.0
    for name in {step.optimizer for step in ledger.steps}:
        later = [step for step in ledger.steps if step.optimizer == name][1:]
        empty = [step for step in later if not any(use.total for use in step.fresh)]
        worst = max(worst, len(empty) / len(later)) if later else worst
    return Answer(worst, 1.0, worst > 0, same(worst, 1.0))


def dead_backward(bench: Bench, question: Question) -> Answer:
    """The share of the backward calls in question that add nothing to any gradient."""
    calls: list[tuple[int, bool]] = []
    for event in bench.base.events:
        if event.kind == "backward":
            calls.append((event.line, False))
        elif event.kind == "dead":
            calls[-1] = (event.line, True)
    asked = [dead for line, dead in calls if line in question.lines] or [dead for _, dead in calls]
    if not asked:
        return nothing(Reason.NOT_REACHED, "no backward")
    share = sum(asked) / len(asked)
    return Answer(share, 1.0, share > 0, same(share, 1.0))


def gradient_share(bench: Bench, question: Question) -> Answer:
    """The least weight of a batch in the gradient over the rate at which the loss moves with those of its items."""
    if bench.base.taints:
        return nothing(Reason.UNMODELLED_SCALING, "; ".join(bench.base.taints[:3]))
    once, twice = _backpropagated(bench.base), _backpropagated(bench.run(doubled=True))
    shares: list[float] = []
    for at, (gradient, losses) in once.items():
        other, raised = twice.get(at, _NOTHING)
        # several losses of a batch may show one another's terms: the largest holds them all
        rates = [high - low for low, high in zip(losses, raised, strict=False)]
        if rates and max(rates) > 0:
            # from loss 1 to loss 2, a curve of the second degree rises by the mean of its slopes there
            shares.append((gradient + other) / 2 / max(rates))
    if not shares:
        return nothing(Reason.NOT_REACHED, "no loss that is backpropagated moves with the losses of its batch")
    least = min(shares)
    broken = least < 1 - _CURVED
    return Answer(least, None, broken, broken)


_NOTHING: tuple[float, list[float]] = (0.0, [])


def _backpropagated(ledger: Ledger) -> dict[int, tuple[float, list[float]]]:
    """How many batches were drawn -> what the gradient gained there, and the losses that it gained it from."""
    found: dict[int, tuple[float, list[float]]] = {}
    for event in ledger.events:
        gradient, losses = found.get(event.at, _NOTHING)
        if event.kind == "backward":
            found[event.at] = gradient, [*losses, event.value]
        elif event.kind == "gradient":
            found[event.at] = gradient + event.value, losses
    return found
