"""What is asked of a bench and what comes back, and the numbers of its world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from losslint.findings import Range, Reason
from losslint.runtime.bench import Bench
from losslint.runtime.ledger import FigureRow, Ledger
from losslint.runtime.world import LOG, SCALE
from losslint.units import Unit

TAIL = 2
NOTHING_TO_SCALE = "No inf checks were recorded for this optimizer"


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


def all_ones(unit: Unit) -> dict[str, Any]:
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


def obstacle(ledger: Ledger) -> Answer | None:
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


def scaler_raised(ledger: Ledger, words: str) -> bool:
    """Whether the scaler itself refused a call."""
    return any(words in gap for gap in ledger.gaps)
