"""What a picture or a script of a finding shows: weights as they are beside weights as they should be."""

from __future__ import annotations

from losslint.claims import Claim
from losslint.runtime.answers import Answer
from losslint.runtime.bench import Bench, representative, steady
from losslint.runtime.excerpt import CutError, excerpt
from losslint.runtime.ledger import UNEVEN_LAST, BatchUse, Curve, FigureRow, Ledger, Portrait, StepBars, StepRow
from losslint.runtime.recording import recording
from losslint.runtime.world import falling

_MOST_STEPS = 3
_CURVE_EPOCHS = 6
_TAIL_CLAIMS = (Claim.LEFT_OVER, Claim.SHORT_WINDOW)


def portrait(claim: Claim, answer: Answer, bench: Bench, lines: tuple[int, ...]) -> Portrait:
    """The portrait of one answer."""
    shape = bench.settings.shape
    ledger = bench.run(batches=shape.batches + 2) if claim in _TAIL_CLAIMS else bench.base
    if claim is Claim.FIGURE_LAST_BATCH and answer.figure is not None:
        bars = _in_report(answer.figure, bench)
    elif claim is Claim.DEAD_BACKWARD:
        bars = _out_of_reach(ledger)
    else:
        right = _item_weight(bench)
        if claim is Claim.GRADIENT_SHARE and answer.measured:
            right /= answer.measured
        bars = [*_bars(ledger, right, 2 if claim in _TAIL_CLAIMS else _MOST_STEPS), *_without_step(ledger, right)]
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
        _curve(answer.figure, bench) if answer.figure is not None else None,
        cut,
        tuple(bench.base.assumes),
        uncut,
    )


def _bars(ledger: Ledger, right: float, most: int) -> list[StepBars]:
    """The first steps of a pass, and its last one where that is another kind of window."""
    steps = [step for step in ledger.steps if (step.fresh or step.lost) and step.at <= ledger.first_pass]
    shown = steps if len(steps) <= most else [*steps[: most - 1], steps[-1]]
    return [_bar(step, 1 + steps.index(step), right, ledger) for step in shown]


def _out_of_reach(ledger: Ledger) -> list[StepBars]:
    """The first micro-batches, of which no item reaches a gradient."""
    size = ledger.shape.batch_size
    items = [tuple((batch, item) for item in range(size)) for batch in range(_MOST_STEPS)]
    return [StepBars(f"batch {one[0][0] + 1}", one, (0.0,) * size, (1 / size,) * size) for one in items]


def _without_step(ledger: Ledger, right: float) -> list[StepBars]:
    """The micro-batches of the first pass that no step saw."""
    seen = {use.batch for step in ledger.steps for use in step.fresh} | {n for step in ledger.steps for n in step.lost}
    left = sorted(number for number in ledger.trained - seen if number < ledger.first_pass)
    if not left:
        return []
    size = ledger.shape.batch_size
    items = tuple((number, item) for number in left for item in range(size))
    share = right / len(left) / size
    return [StepBars("no step", items, (0.0,) * len(items), (share,) * len(items))]


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


def _bar(step: StepRow, number: int, right: float, ledger: Ledger) -> StepBars:
    lost = [
        BatchUse(batch, 1, batch, (0.0,) * ledger.shape.batch_size)
        for batch in step.lost
        if batch not in {use.batch for use in step.fresh}
    ]
    own = sorted([*lost, *step.fresh], key=lambda use: use.batch)
    items: list[tuple[int, int]] = []
    measured: list[float] = []
    expected: list[float] = []
    for use in [*step.stale, *own]:
        share = 0.0 if use in step.stale else right / len(own) / max(1, len(use.weights))
        for item, weight in enumerate(use.weights):
            items.append((use.batch, item))
            measured.append(weight)
            expected.append(share)
    return StepBars(f"step {number}", tuple(items), tuple(measured), tuple(expected))


def _curve(figure: FigureRow, bench: Bench) -> Curve | None:
    """The figure over a few passes in which the loss falls, beside the mean of the batches since it was last shown."""
    ledger = bench.run(falling=True, epochs=_CURVE_EPOCHS, rounds=_CURVE_EPOCHS)
    row = next((r for r in ledger.figures if (r.line, r.column) == (figure.line, figure.column)), None)
    if row is None:
        return None
    true = []
    before = 0
    for at in row.at:
        since = [falling(number) for number in range(min(before, at - 1), at)]
        true.append(sum(since) / len(since) if since else falling(at))
        before = at
    return Curve(figure.text, figure.line, row.values, tuple(true))
