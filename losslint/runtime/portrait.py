"""What a picture or a script of a finding shows: weights as they are beside weights as they should be."""

from __future__ import annotations

from collections.abc import Callable
from math import exp

from losslint.claims import Claim
from losslint.runtime.answers import Answer
from losslint.runtime.bench import Bench, representative, same, steady
from losslint.runtime.excerpt import CutError, excerpt
from losslint.runtime.ledger import UNEVEN_LAST, BatchUse, Curve, FigureRow, Ledger, Portrait, StepBars, StepRow
from losslint.runtime.recording import recording
from losslint.runtime.world import falling

_MOST_STEPS = 3
_CURVE_EPOCHS = 6
_TAIL_CLAIMS = (Claim.LEFT_OVER, Claim.SHORT_WINDOW)
_UNEVEN_CLAIMS = (Claim.ITEM_RATIO, Claim.MASKED_SHARE)
_SINGLE = (Claim.SCHEDULER_PACE, Claim.SCALER_ORDER, Claim.LOSS_CHANGED, Claim.CLIP_ORDER)
"""Claims that are one number, which should be 1; that of the clips counts those that are lost."""
_FOREIGN = 5.0
"""The loss of the other process."""


def portrait(claim: Claim, answer: Answer, bench: Bench, lines: tuple[int, ...]) -> Portrait:
    """The portrait of one answer."""
    ledger = _told_by(claim, bench)
    if claim in _SINGLE and answer.measured is not None:
        measured = 1 - answer.measured if claim is Claim.CLIP_ORDER else answer.measured
        bars = [StepBars("", ((0, 0),), (measured,), (1.0,))]
    elif claim is Claim.GRAPHS_ALIVE:
        bars = []
    elif claim is Claim.FIGURE_LAST_BATCH and answer.figure is not None:
        bars = _in_report(answer.figure, bench)
    elif claim is Claim.DEAD_BACKWARD:
        bars = _out_of_reach(ledger)
    else:
        right = _item_weight(bench)
        if claim is Claim.GRADIENT_SHARE and answer.measured:
            right /= answer.measured
        most = 2 if claim in _TAIL_CLAIMS else _MOST_STEPS
        bars = [*_bars(ledger, right, most, claim in _UNEVEN_CLAIMS), *_without_step(ledger, right)]
    cut, uncut = None, ""
    try:
        if bench.program.modules:
            raise CutError("it rests on several files of its project, and a script holds the statements of one")
        cut = excerpt(bench.program, bench.entry, lines, recording(bench), answer.figure)
    except (CutError, SyntaxError, RecursionError) as error:
        uncut = str(error)
    return Portrait(
        ledger.shape,
        answer.measured,
        answer.predicted,
        claim.value,
        tuple(bars),
        _curve(claim, answer.figure, bench),
        cut,
        tuple(bench.base.assumes),
        uncut,
    )


def _told_by(claim: Claim, bench: Bench) -> Ledger:
    """The run whose weights are shown."""
    if claim in _TAIL_CLAIMS:
        return bench.run(batches=bench.settings.shape.batches + 2)
    if claim is Claim.ITEM_RATIO:
        return bench.run(uneven=True)
    return bench.run(uneven=True, window=1) if claim is Claim.MASKED_SHARE else bench.base


def _bars(ledger: Ledger, right: float, most: int, counting: bool) -> list[StepBars]:
    """The first steps of a pass, and its last one where that is another kind of window. `counting`: some items do not
    count."""
    steps = [step for step in ledger.steps if (step.fresh or step.lost) and step.at <= ledger.first_pass]
    shown = steps if len(steps) <= most else [*steps[: most - 1], steps[-1]]
    return [_bar(step, 1 + steps.index(step), right, ledger, counting) for step in shown]


def _out_of_reach(ledger: Ledger) -> list[StepBars]:
    """The first micro-batches, of which no item reaches a gradient."""
    size = ledger.shape.batch_size
    items = [tuple((batch, item) for item in range(size)) for batch in range(_MOST_STEPS)]
    return [StepBars(f"batch {one[0][0] + 1}", one, (0.0,) * size, (1 / size,) * size) for one in items]


def _without_step(ledger: Ledger, right: float) -> list[StepBars]:
    """The micro-batches of the first pass that no step of it saw."""
    steps = [step for step in ledger.steps if step.at <= ledger.first_pass]
    seen = {use.batch for step in steps for use in step.fresh} | {n for step in ledger.steps for n in step.lost}
    left = sorted(number for number in ledger.trained - seen if number < ledger.first_pass)
    if not left:
        return []
    size = ledger.shape.batch_size
    items = tuple((number, item) for number in left for item in range(size))
    share = right / len(left) / size
    return [StepBars("no step of the pass", items, (0.0,) * len(items), (share,) * len(items))]


def _in_report(figure: FigureRow, bench: Bench) -> list[StepBars]:
    """The weight of each item of a pass with a short last batch in what is reported."""
    shape = bench.settings.shape
    sizes = [shape.batch_size] * (shape.batches - 1) + [UNEVEN_LAST]
    base = _last_value(bench.run(last_batch=UNEVEN_LAST), figure)
    items: list[tuple[int, int]] = []
    measured: list[float] = []
    for number, size in enumerate(sizes):
        raised = _last_value(bench.run(last_batch=UNEVEN_LAST, raised=frozenset({number})), figure)
        items += [(number, item) for item in range(size)]
        measured += [(raised - base) / size] * size
    return [StepBars("report", tuple(items), tuple(measured), (1 / len(items),) * len(items))]


def _last_value(ledger: Ledger, figure: FigureRow) -> float:
    """What a figure said at the end of the first pass; 0 where it said nothing."""
    row = next((r for r in ledger.figures if (r.line, r.column) == (figure.line, figure.column)), None)
    return representative(row, ledger) if row is not None else 0.0


def _item_weight(bench: Bench) -> float:
    """The weight of an item where nothing is accumulated and a batch is one item: that of the loss itself."""
    steps = steady(bench.run(window=1, batch_size=1, scale=1.0))
    return steps[0].total if steps else 1.0


def _bar(step: StepRow, number: int, right: float, ledger: Ledger, counting: bool) -> StepBars:
    lost = [
        BatchUse(batch, 1, batch, (0.0,) * ledger.shape.batch_size)
        for batch in step.lost
        if batch not in {use.batch for use in step.fresh}
    ]
    own = sorted([*lost, *step.fresh], key=lambda use: use.batch)
    items: list[tuple[int, int]] = []
    measured: list[float] = []
    expected: list[float] = []
    count = sum(bool(weight) for use in own for weight in use.weights)
    for use in [*step.stale, *own]:
        share = 0.0 if use in step.stale else right / len(own) / max(1, len(use.weights))
        for item, weight in enumerate(use.weights):
            items.append((use.batch, item))
            measured.append(weight)
            expected.append(share if not counting else right / count if weight else 0.0)
    return StepBars(f"step {number}", tuple(items), tuple(measured), tuple(expected))


def _curve(claim: Claim, figure: FigureRow | None, bench: Bench) -> Curve | None:
    """What is reported over a few passes in which the loss falls, beside the mean of the batches since the report
    before; for graphs, how many of past batches are alive as batches are drawn."""
    if claim is Claim.GRAPHS_ALIVE:
        batches = range(1, bench.settings.shape.batches + 1)
        alive = tuple(float(bench.run(window=1, batches=count, epochs=1).graphs) for count in batches)
        return Curve("graphs of past batches", 0, alive, (0.0,) * len(alive))
    if figure is None:
        return None
    settings: dict[str, object] = {"validation": 7, "last_batch": UNEVEN_LAST} if claim is Claim.FIGURE_SHARE else {}
    ledger = bench.run(_CURVE_EPOCHS, falling=True, epochs=_CURVE_EPOCHS, **settings)
    row = next((r for r in ledger.figures if (r.line, r.column) == (figure.line, figure.column)), None)
    if row is None:
        return None
    right = _right(claim, figure, bench)
    true = []
    before = 0
    for at in row.at:
        # a report after training batches is about those, and one after others about the others
        kind = at - 1 in ledger.trained
        since = [falling(n) for n in range(min(before, at - 1), at) if (n in ledger.trained) == kind]
        mean = sum(since) / len(since) if since else falling(at)
        true.append(right(mean))
        before = at
    return Curve(figure.text, figure.line, row.values, tuple(true))


def _right(claim: Claim, figure: FigureRow, bench: Bench) -> Callable[[float], float]:
    """What a figure should say of a mean loss."""
    if claim is Claim.FIGURE_LOCAL:
        return lambda mean: (mean + _FOREIGN) / 2
    values = [_last_value(ledger, figure) for ledger in (bench.base, bench.run(doubled=True))]
    is_perplexity = all(same(value, exp(loss)) for value, loss in zip(values, (1.0, 2.0), strict=True))
    return exp if is_perplexity else lambda mean: mean
