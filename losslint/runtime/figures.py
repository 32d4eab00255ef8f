"""How claims about reported figures, and about the losses they are made of, are measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from losslint.findings import Range, Reason
from losslint.runtime.answers import TAIL, Answer, Question, all_ones, in_numbers, nothing
from losslint.runtime.bench import Bench, in_first_pass, representative, same
from losslint.runtime.ledger import UNEVEN_LAST, FigureRow, Ledger
from losslint.runtime.neighbours import LINES
from losslint.units import ONE, Unit

_OFFICIAL = frozenset({"return", "call", "format"})
_NAME = re.compile(r"[A-Za-z_]\w*")


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


def rows_of(bench: Bench, question: Question) -> list[tuple[FigureRow, float]]:
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
    if is_named(row, question):
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


def is_named(row: FigureRow, question: Question) -> bool:
    """Whether a figure shows what a statement of the finding's made, in a file that the finding speaks of."""
    files = {mark.start_line // LINES for mark in question.marks}
    return row.line // LINES in files and bool(question.names & set(_NAME.findall(row.text)))


def _within(inner: Range, outer: Range) -> bool:
    """Whether a range lies in another one and is not the same."""
    return (
        inner != outer
        and (outer.start_line, outer.start_column) <= (inner.start_line, inner.start_column)
        and (inner.end_line, inner.end_column) <= (outer.end_line, outer.end_column)
    )


def value_of(ledger: Ledger, row: FigureRow) -> float | None:
    other = next((one for one in ledger.figures if _key(one) == _key(row)), None)
    return representative(other, ledger) if other is not None else None


def unreached(bench: Bench) -> Answer:
    ledger = bench.base
    why = ledger.failure or next(iter(ledger.gaps), "")
    return nothing(Reason.NOT_REACHED, f"no figure made of losses was shown{': ' + why if why else ''}")


def figure_scale(bench: Bench, question: Question) -> Answer:
    """The figure over the same figure where every symbol of the factor is one."""
    rows = rows_of(bench, question)
    if not rows:
        return unreached(bench)
    unit = question.unit if question.unit is not None else ONE
    predicted = in_numbers(unit, bench)
    whole = all_ones(Unit(batch=1, batches=1, log=1, scale=1, window=1))
    ones = whole if unit.is_one else all_ones(unit)
    closest = Answer(predicted=predicted)
    for row, value in rows:
        reference = value_of(bench.run(**ones), row)
        if not reference:
            continue
        ratio = value / reference
        unscaled = value_of(bench.run(**whole), row)
        broken = not unscaled or not same(value / unscaled, 1.0)
        if same(ratio, predicted):
            return Answer(ratio, predicted, broken, True, figure=row)
        if closest.measured is None:
            closest = Answer(ratio, predicted, broken, False, figure=row)
    if closest.measured is None:
        return nothing(Reason.NOT_REACHED, "the figure does not appear in the world at one")
    # a condition on the epoch may let the first pass alone hold the law
    for row, _ in () if unit.is_one else rows:
        later = _later(bench, row, ones, predicted)
        if later.matches:
            return later
    if bench.base.doubts:
        return nothing(Reason.UNMODELLED_SCALING, "; ".join(bench.base.doubts[:3]))
    return closest


def _later(bench: Bench, row: FigureRow, ones: dict[str, Any], predicted: float) -> Answer:
    """The same for the last time that a figure is shown, where it is shown once in a pass."""
    other = next((one for one in bench.run(**ones).figures if _key(one) == _key(row)), None)
    if other is None or not other.values[-1] or in_first_pass(row, bench.base) > 1 or len(row.values) < 2:
        return Answer(predicted=predicted)
    ratio = row.values[-1] / other.values[-1]
    return Answer(ratio, predicted, not same(ratio, 1.0), same(ratio, predicted), figure=row)


def figure_share(bench: Bench, question: Question) -> Answer:
    """The figure where passes and batches differ in size, over the same where there is one batch of one."""
    ones: dict[str, Any] = {"batch_size": 1, "batches": 1, "window": 1, "epochs": 1, "log": 1}
    uneven: dict[str, Any] = {"validation": 7, "last_batch": UNEVEN_LAST}
    if question.words.startswith("batches seen"):
        # a loop that is left early may be left before an incomplete window
        uneven["batches"] = bench.settings.shape.batches + TAIL
    rows = rows_of(bench, question)
    if not rows:
        return unreached(bench)
    answer = Answer()
    for row, _ in rows:
        value, reference = value_of(bench.run(**uneven), row), value_of(bench.run(**ones), row)
        if reference is None:
            # what cannot be shown of a single batch must not move with the length of a pass
            reference = value_of(bench.run(**{**uneven, "batches": 4 * bench.settings.shape.batches}), row)
        if not value or not reference:
            continue
        ratio = value / reference
        broken = not same(ratio, 1.0, 0.02)
        if broken or answer.measured is None:
            answer = Answer(ratio, None, broken, broken, figure=row)
        if broken and row.line in question.lines:
            return answer
    return answer if answer.measured is not None else unreached(bench)


def figure_batches(bench: Bench, question: Question) -> Answer:
    """The share of a pass's batches in the figure; for a figure that grows, the second pass over the first."""
    rows = rows_of(bench, question)
    if not rows:
        return unreached(bench)
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
        value = value_of(base, row)
        moved = [
            place
            for place in range(batches)
            if value is not None and not same(value_of(bench.run(**small, raised=frozenset({place})), row), value, 1e-6)
        ]
        share = len(moved) / batches
        if moved == [batches - 1]:
            return Answer(share, 1 / batches, True, True, figure=row)
        if answer.measured is None and moved:
            answer = Answer(share, 1 / batches, False, False, figure=row)
    return answer if answer.measured is not None else unreached(bench)


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
    rows = rows_of(bench, question)
    if not rows:
        return unreached(bench)
    shape = bench.settings.shape
    predicted = shape.batch_size / UNEVEN_LAST
    base = bench.run(last_batch=UNEVEN_LAST)
    answer = Answer(None, predicted)
    for row, _ in rows:
        value = value_of(base, row)
        first = value_of(bench.run(last_batch=UNEVEN_LAST, raised=frozenset({0})), row)
        last = value_of(bench.run(last_batch=UNEVEN_LAST, raised=frozenset({shape.batches - 1})), row)
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
    return answer if answer.measured is not None else unreached(bench)


def figure_curve(bench: Bench, question: Question) -> Answer:
    """The figure at twice the loss over twice the figure."""
    rows = rows_of(bench, question)
    if not rows:
        return unreached(bench)
    answer = Answer(1.0, None, figure=rows[0][0])
    for row, value in rows:
        doubled = value_of(bench.run(doubled=True), row)
        if doubled is None or not value:
            continue
        mixed = bench.run(raised=frozenset(range(0, bench.settings.shape.batches, 2)))
        halfway = value_of(mixed, row)
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
    here = [(row, value) for row, value in rows_of(bench, everywhere) if row.line in question.lines[:1]]
    if len(here) < 2:
        return nothing(Reason.NOT_REACHED, "the two figures are not shown on one line")
    closest = Answer(predicted=predicted)
    for left, one in here:
        for right, two in here:
            if left is right or not two:
                continue
            ones = bench.run(**all_ones(question.unit))
            first, second = value_of(ones, left), value_of(ones, right)
            if not first or not second:
                continue
            ratio = one / two / (first / second)
            if same(ratio, predicted):
                return Answer(ratio, predicted, True, True, figure=left)
            if closest.measured is None:
                closest = Answer(ratio, predicted, not same(ratio, 1.0), False, figure=left)
    return closest if closest.measured is not None else unreached(bench)


def _pairs(bench: Bench) -> Answer:
    rows = rows_of(bench, Question((), None))
    answer = Answer(1.0, None)
    for (left, one), (right, two) in pairwise(sorted(rows, key=lambda row: (row[0].line, row[0].column))):
        if left.line == right.line and two and not same(one / two, 1.0):
            answer = Answer(one / two, None, True, True, figure=left)
    return answer if rows else unreached(bench)


def figure_local(bench: Bench, question: Question) -> Answer:
    """How far the figure moves when the loss of another process does."""
    rows = rows_of(bench, question)
    if not rows:
        return unreached(bench)
    foreign = bench.run(foreign=5.0)
    moves = [(row, (value_of(foreign, row) or value) - value) for row, value in rows]
    here = [pair for pair in moves if pair[0].line in question.lines[:1]] or moves
    row, moved = max(here, key=lambda pair: abs(pair[1]))
    return Answer(moved, 0.0, not moved, not moved, figure=row)


def graphs_alive(bench: Bench, question: Question) -> Answer:
    """The graphs of past batches that are alive at once, over the batches of a pass."""
    window = bench.run(window=1)
    short = bench.run(window=1, batches=6)
    if not window.backwards and not figures_reached(bench) and not window.graphs:
        return unreached(bench)
    grows = window.graphs >= 10 and window.graphs > short.graphs
    return Answer(float(window.graphs), None, grows, grows)


def loss_changed(bench: Bench, question: Question) -> Answer:
    """A loss after another name of it was changed in place, over the loss as it was made."""
    ledger = bench.base
    if not ledger.backwards and not figures_reached(bench):
        return unreached(bench)
    broken = not same(ledger.changed, 1.0)
    return Answer(ledger.changed, None, broken, broken)
