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
    Claim.FIGURE_CURVE: lambda factor: "The reported figure is not that of the mean loss",
    Claim.FIGURE_LOCAL: lambda factor: "The reported loss is that of one process",
    Claim.GRAPHS_ALIVE: lambda factor: f"The graphs of {number(factor)} past batches are alive at once",
    Claim.LOSS_CHANGED: lambda factor: f"Through another name, the loss itself becomes {times(factor)}",
    Claim.CLIP_ORDER: lambda factor: f"{number(100 * factor)} % of the clips clip nothing that a step sees",
    Claim.SCALER_ORDER: lambda factor: f"The scaler is called {number(factor)} times where once is right",
    Claim.SCHEDULER_PACE: lambda factor: f"The schedule moves {number(factor)} times per optimizer step",
    Claim.FIGURE_PAIR: lambda factor: f"The training figure is {times(factor)} beside the validation figure",
}

_SINGLE: Mapping[Claim, str] = {
    Claim.SCHEDULER_PACE: "scheduler steps per optimizer step",
    Claim.SCALER_ORDER: "calls of the scaler per optimizer step",
    Claim.LOSS_CHANGED: "a loss of 1 after the line",
    Claim.CLIP_ORDER: "share of the clips that a step sees",
}
"""What the one number of a claim is."""
_LONGEST_PATH = 60


def picture(finding: Finding, claim: Claim | None, portrait: Portrait) -> Weights | Curves:
    """The picture of a finding; raises `PlotError` where there is nothing to draw."""
    shape = portrait.shape
    last = portrait.steps[-1].items if claim is Claim.FIGURE_LAST_BATCH and portrait.steps else ()
    short = f", the last of {sum(batch == last[-1][0] for batch, _ in last)}" if last else ""
    circumstances = f"{shape.batches} batches of {shape.batch_size}{short}, windows of {shape.window}"
    place = f"{where(finding.path, finding.cell)}:{finding.range.start_line}"
    subtitle = f"{_near(place)} · {finding.code} {finding.name} · {circumstances}"
    title = _title(finding, claim, portrait)
    curve = portrait.curve
    of_items = claim is Claim.FIGURE_LAST_BATCH and bool(portrait.steps)
    if curve is not None and not of_items and (finding.law is Law.REPORT or not portrait.steps):
        if all(isclose(*pair, rel_tol=1e-3) for pair in zip(curve.reported, curve.true, strict=True)):
            raise PlotError(f"{place}: the curve that {finding.code} is about is the true one where batches are even")
        told = range(1, len(curve.reported) + 1)
        if claim is Claim.GRAPHS_ALIVE:
            axis = "batches drawn"
            return Curves(
                title, subtitle, told, curve.reported, curve.true, axis, curve.label, ("expected", "measured")
            )
        if claim is Claim.FIGURE_SHARE:
            subtitle += ", in validation 7"
        return Curves(title, subtitle, told, curve.reported, curve.true, "report", curve.label)
    if not portrait.steps:
        raise PlotError(f"{place}: there is nothing to draw of {finding.code}")
    if claim is not None and claim in _SINGLE:
        bar = Bar(0, portrait.steps[0].expected[0], portrait.steps[0].measured[0])
        return Weights(title, subtitle, [[bar]], None, _SINGLE[claim], axis="")
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


def _title(finding: Finding, claim: Claim | None, portrait: Portrait) -> str:
    words = _TITLES.get(claim) if claim is not None else None
    if words is None or portrait.measured is None:
        return finding.name.replace("-", " ").capitalize()
    if claim is Claim.GRADIENT_SCALE and portrait.predicted is None:
        return f"The weight of items changes by {number(portrait.measured)}×"
    return words(portrait.measured)


def _near(place: str) -> str:
    """The end of a path that is too long to read."""
    parts = place.split("/")
    return place if len(place) <= _LONGEST_PATH else "/".join(["…", *parts[-2:]])
