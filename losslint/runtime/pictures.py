"""What a portrait of a finding looks like: which picture, and what its title says in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isclose

from losslint.claims import Claim
from losslint.findings import Finding, Law
from losslint.output.text import where
from losslint.runtime.ledger import Portrait
from losslint.runtime.plot import Bar, Curves, PlotError, Weights, number, times

_TITLES: Mapping[Claim, Callable[[float], str]] = {
    Claim.GRADIENT_SCALE: lambda factor: f"The gradient of each step is {times(factor)}",
    Claim.MICRO_BATCH_RATIO: lambda factor: f"Micro-batches of one step differ in weight by {number(factor)}×",
    Claim.LEFT_OVER: lambda factor: "The last micro-batches of a pass reach no step of it",
    Claim.SHORT_WINDOW: lambda factor: f"The gradient of the short last window is {times(factor)}",
    Claim.FIRST_WINDOW: lambda factor: "The first step comes before its window is full",
    Claim.SURVIVING_SHARE: lambda factor: f"Each step sees {number(100 * factor)} % of its window",
    Claim.ITEM_RATIO: lambda factor: f"Items of one step differ in weight by {number(factor)}×",
    Claim.MASKED_SHARE: lambda factor: f"The items that count are weighted {times(factor)}",
    Claim.STALE_GRADIENT: lambda factor: "Steps still see gradients of the step before",
    Claim.CLIPPED_SCALE: lambda factor: f"The gradients are {times(factor)} when they are clipped",
    Claim.FIGURE_SCALE: lambda factor: f"The reported loss is {times(factor)}",
    Claim.FIGURE_SHARE: lambda factor: f"The reported loss is {times(factor)}",
    Claim.FIGURE_BATCHES: lambda factor: f"The reported loss speaks of {number(100 * factor)} % of the batches",
    Claim.FIGURE_LAST_BATCH: lambda factor: f"An item of the last batch counts {number(factor)} times in the report",
    Claim.DEAD_BACKWARD: lambda factor: "Backward reaches no parameter",
    Claim.GRADIENT_SHARE: lambda factor: f"The gradient is that of {number(100 * factor)} % of the loss",
    Claim.NO_GRADIENT: lambda factor: "Steps see no gradient of the batches drawn for them",
    Claim.FIGURE_PAIR: lambda factor: f"The training figure is {times(factor)} beside the validation figure",
}


def picture(finding: Finding, claim: Claim | None, portrait: Portrait) -> Weights | Curves:
    """The picture of a finding; raises `PlotError` where there is nothing to draw."""
    shape = portrait.shape
    last = portrait.steps[-1].items if claim is Claim.FIGURE_LAST_BATCH and portrait.steps else ()
    short = f", the last of {sum(batch == last[-1][0] for batch, _ in last)}" if last else ""
    circumstances = f"{shape.batches} batches of {shape.batch_size}{short}, windows of {shape.window}"
    place = f"{where(finding.path, finding.cell)}:{finding.range.start_line}"
    subtitle = f"{place} · {finding.code} {finding.name} · {circumstances}"
    title = _title(finding, claim, portrait.measured)
    curve = portrait.curve
    of_items = claim is Claim.FIGURE_LAST_BATCH and bool(portrait.steps)
    if curve is not None and not of_items and (finding.law is Law.REPORT or not portrait.steps):
        if all(isclose(*pair, rel_tol=1e-3) for pair in zip(curve.reported, curve.true, strict=True)):
            raise PlotError(f"{place}: the curve that {finding.code} is about is the true one where batches are even")
        told = range(1, len(curve.reported) + 1)
        return Curves(title, subtitle, told, curve.reported, curve.true, "report", curve.label)
    if not portrait.steps:
        raise PlotError(f"{place}: there is nothing to draw of {finding.code}")
    # a clip sees what the step sees, times the factor
    seen = portrait.measured if claim is Claim.CLIPPED_SCALE and portrait.measured is not None else 1.0
    steps = [
        [Bar(batch, right, weight * seen) for (batch, _), right, weight in zip(*parts, strict=True)]
        for parts in ((step.items, step.expected, step.measured) for step in portrait.steps)
    ]
    quantity = "weight in the report" if of_items else "weight in the gradient"
    quantity += " that is clipped" if claim is Claim.CLIPPED_SCALE else ""
    names = [step.title for step in portrait.steps]
    return Weights(title, subtitle, steps, sum(portrait.steps[0].expected), quantity, names)


def _title(finding: Finding, claim: Claim | None, measured: float | None) -> str:
    words = _TITLES.get(claim) if claim is not None else None
    if words is None or measured is None:
        return finding.name.replace("-", " ").capitalize()
    return words(measured)
