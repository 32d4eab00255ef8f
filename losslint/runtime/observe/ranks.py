"""Several processes: what each rank saw, brought together on rank 0. Free of torch.

A rank's summary holds its steps (number, optimizer, weight, weight of an item, checksum of the gradient), its losses
and whether its model was wrapped for data parallel training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isclose
from typing import Any

from losslint.findings import Severity
from losslint.runtime.observe import figures
from losslint.runtime.observe.facts import Fact, from_object
from losslint.runtime.observe.judge import TOLERANCE, Reading, number, readings_of
from losslint.runtime.observe.records import Run

_SAME_GRADIENT = 1e-4
_UNEVEN = 1.05


def summary(run: Run, parallel: bool) -> dict[str, Any]:
    """What the other ranks need to know of this one, as JSON takes it."""
    steps = []
    for optimizer in sorted({step.optimizer for step in run.steps}):
        own = [step for step in run.steps if step.optimizer == optimizer]
        read = {reading.step.number: reading for reading in readings_of(own)}
        for step in own:
            steps.append(
                {"key": [optimizer, step.number], "checksum": step.checksum, **_weights(read.get(step.number))}
            )
    return {"parallel": parallel, "steps": steps, "losses": figures.losses_of(run.micro_batches)}


def _weights(reading: Reading | None) -> dict[str, Any]:
    if reading is None:
        return {"total": None, "item": None, "divisor": None, "window": None}
    terms = [share.term for share in reading.shares]
    product = 1.0
    for divisor in terms[0].divisors:
        product *= divisor
    item = sum(share.item_weight for share in reading.shares) / reading.window
    return {"total": reading.total, "item": item, "divisor": product, "window": reading.window}


def judge(run: Run, summaries: Sequence[dict[str, Any]]) -> Iterator[Fact]:
    """What only shows between ranks; `run` is that of rank 0, `summaries` are in the order of the ranks."""
    places = {(step.optimizer, step.number): step.place for step in run.steps}
    by_rank = [{tuple(step["key"]): step for step in summary["steps"]} for summary in summaries]
    common = [key for key in by_rank[0] if all(key in steps for steps in by_rank)]
    rows = [[steps[key] for steps in by_rank] for key in common]
    if not rows:
        return
    place = places[common[0]]
    parallel = all(summary["parallel"] for summary in summaries)
    apart = [row for row in rows if _apart([step["checksum"] for step in row])]
    if apart:
        words = "`no_sync` covers the last micro-batch of the window" if parallel else "no wrapper synchronises them"
        yield Fact(
            "no-sync-misuse" if parallel else "gradients-not-synchronised",
            "LL905" if parallel else "",
            Severity.ERROR,
            f"the ranks step on different gradients: {words}, and the models drift apart",
            place,
            None,
            len(apart),
            len(rows),
        )
        return
    read = [row for row in rows if all(step["total"] for step in row)]
    yield from _uneven(read, place)
    if parallel:
        yield from _divided_by_ranks(read, len(summaries), place)
    yield from _local_figures(run, summaries)


def others(own: Sequence[Fact], summaries: Sequence[dict[str, Any]]) -> Iterator[Fact]:
    """Facts that other ranks saw and this one did not."""
    known = {(fact.name, fact.place) for fact in own}
    for summary in summaries[1:]:
        for fact in map(from_object, summary["facts"]):
            if (fact.name, fact.place) not in known:
                known.add((fact.name, fact.place))
                yield fact


def _apart(checksums: Sequence[list[float] | None]) -> bool:
    first = checksums[0]
    if first is None:
        return False
    for other in checksums[1:]:
        if other is None:
            return False
        scale = max(abs(first[0]), abs(other[0]), 1e-30)
        if any(abs(a - b) > _SAME_GRADIENT * scale for a, b in zip(first, other, strict=True)):
            return True
    return False


def _uneven(rows: Sequence[Sequence[dict[str, Any]]], place: Any) -> Iterator[Fact]:
    ratios = [max(step["item"] for step in row) / min(step["item"] for step in row) for row in rows]
    uneven = [ratio for ratio in ratios if ratio > _UNEVEN]
    if uneven and len(uneven) * 2 > len(ratios):
        worst = max(uneven)
        yield Fact(
            "uneven-ranks",
            "",
            Severity.WARNING,
            f"the ranks average over different numbers of targets: a target of one rank weighs {number(worst)}× one of "
            "another",
            place,
            worst,
            len(uneven),
            len(ratios),
        )


def _divided_by_ranks(rows: Sequence[Sequence[dict[str, Any]]], ranks: int, place: Any) -> Iterator[Fact]:
    divided = [
        row
        for row in rows
        if all(_near(step["total"], 1 / ranks) and _near(step["divisor"], ranks * step["window"]) for step in row)
    ]
    if divided:
        yield Fact(
            "wrong-loss-divisor",
            "LL104",
            Severity.ERROR,
            f"the loss is divided by the {ranks} processes, whose gradients are averaged already: the gradient of a "
            f"step is 1/{ranks} of the mean",
            place,
            1 / ranks,
            len(divided),
            len(rows),
        )


def _local_figures(run: Run, summaries: Sequence[dict[str, Any]]) -> Iterator[Fact]:
    losses = [summary["losses"] for summary in summaries]
    if any(own is None for own in losses):
        return
    together = [
        (sum(mean for mean, _ in batch) / len(batch), sum(items for _, items in batch))
        for batch in zip(*losses, strict=False)
    ]
    for found in figures.by_place(run.figures):
        local = [f for f in found if figures.is_mean(f, losses[0]) and not figures.is_mean(f, together)]
        if len(local) >= figures.FEWEST:
            yield Fact(
                "rank-local-loss-logged",
                "LL213",
                Severity.INFO,
                f"`{local[0].name}` as given to `{local[0].sink}` is the loss of rank 0's share of the data",
                local[0].place,
                None,
                len(local),
                len(found),
            )


def _near(value: float, right: float) -> bool:
    return isclose(value, right, rel_tol=TOLERANCE)
