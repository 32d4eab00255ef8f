"""Reported figures: numbers with `loss` in their name beside the losses that were measured. Free of torch.

A figure is only called wrong where every one of a place's reports is the same known factor off the same kind of mean
(the last micro-batch, the last window, all since the last report, all so far), and none of them is any true mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isclose
from typing import TypeAlias

from losslint.findings import Severity
from losslint.runtime.observe.facts import Fact
from losslint.runtime.observe.records import Figure, MicroBatch, Run

FEWEST = 3
_PRECISE = 2e-3
"""Relative: coarser figures could be anything."""
_TOLERANCE = 2e-4


_Possible: TypeAlias = tuple[float, str, str, str, str]
"""What a figure may be off by: the factor, the rule's name and code, the factor and its reason in words."""


def judge(run: Run) -> list[Fact]:
    """Figures that are off by a factor that is known."""
    losses = losses_of(run.micro_batches)
    if losses is None:
        return []
    window = Counter(len(step.fresh) for step in run.steps if step.fresh).most_common(1)
    factors = list(_factors(run, window[0][0] if window else 1))
    found: dict[object, Fact] = {}
    for figures in by_place(run.figures):
        fact = _judge(figures, losses, factors)
        if fact is not None:
            # what is logged is often printed by the logger as well
            found.setdefault((fact.code, fact.place), fact)
    return list(found.values())


def by_place(figures: Sequence[Figure]) -> list[list[Figure]]:
    """The figures that one line reports under one name, each list in the order of the reports."""
    places: dict[object, list[Figure]] = {}
    for figure in figures:
        places.setdefault((figure.place, figure.name, figure.sink), []).append(figure)
    return list(places.values())


def losses_of(micro_batches: Sequence[MicroBatch]) -> list[tuple[float, int]] | None:
    """The mean loss of each micro-batch and its items; None where a micro-batch has several terms or an unknown one."""
    losses = []
    for micro in micro_batches:
        if len(micro.terms) != 1:
            return None
        mean = micro.terms[0].mean
        if mean is None:
            return None
        losses.append((mean, micro.terms[0].items))
    return losses


def _factors(run: Run, window: int) -> Iterator[_Possible]:
    """Everything that figures of this run may be off by."""
    if window > 1:
        yield float(window), "raw-loss-accumulated", "LL201", f"{window}×", f"a window has {window} micro-batches"
        yield 1 / window, "scaled-loss-accumulated", "LL202", f"1/{window} of", f"a window has {window} micro-batches"
    items = Counter(term.items for micro in run.micro_batches for term in micro.terms).most_common(1)
    if items and items[0][0] > 1 and items[0][0] != window:
        size = items[0][0]
        yield float(size), "mean-loss-times-batch-size", "LL203", f"{size}×", f"a batch has {size} targets"
        yield 1 / size, "mean-loss-over-samples", "LL204", f"1/{size} of", f"a batch has {size} targets"
    for scale in sorted({micro.scale for micro in run.micro_batches if micro.scale and micro.scale > 1}):
        yield scale, "amp-scaled-loss-logged", "LL212", f"{scale:g}×", "which is the AMP scale"


def _judge(figures: Sequence[Figure], losses: Sequence[tuple[float, int]], factors: Sequence[_Possible]) -> Fact | None:
    usable = [figure for figure in figures if figure.value and figure.precision <= _PRECISE * abs(figure.value)]
    usable = [figure for figure in usable if figure.after]
    if len(usable) < FEWEST or any(is_mean(figure, losses) for figure in usable):
        return None
    for factor, name, code, words, why in factors:
        stretch = round(max(factor, 1 / factor))
        befores = [0, *(figure.after for figure in usable)]
        means = [_means(losses, f.after, stretch, before) for f, before in zip(usable, befores, strict=False)]
        if all(any(_same(f, factor * mean) for mean in own) for f, own in zip(usable, means, strict=True)):
            place = usable[0].place
            return Fact(
                name,
                code,
                Severity.ERROR,
                f"`{usable[0].name}` as given to `{usable[0].sink}` is {words} the mean loss: {why}",
                place,
                factor,
                len(usable),
                len(figures),
            )
    return None


def is_mean(figure: Figure, losses: Sequence[tuple[float, int]]) -> bool:
    """Whether the figure is a mean of the losses up to it, over any stretch; a stretch may weigh batches by items."""
    for end in (figure.after, figure.after + 1):
        total = weighted = 0.0
        count = items = 0
        for mean, size in reversed(losses[:end]):
            total, weighted, count, items = total + mean, weighted + mean * size, count + 1, items + size
            if _same(figure, total / count) or _same(figure, weighted / max(items, 1)):
                return True
    return False


def _means(losses: Sequence[tuple[float, int]], after: int, window: int, before: int) -> Iterator[float]:
    """The means that reports are usually made of."""
    for end in (after, after + 1):
        for length in {1, window, after - before, end}:
            stretch = [mean for mean, _ in losses[max(0, end - length) : end]]
            if 0 < length <= end and len(stretch) == length:
                yield sum(stretch) / length


def _same(figure: Figure, value: float) -> bool:
    return isclose(figure.value, value, rel_tol=_TOLERANCE, abs_tol=figure.precision)
