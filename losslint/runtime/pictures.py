"""What a portrait of a finding looks like: which picture, and what its title says in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from losslint.claims import Claim
from losslint.findings import Finding, Law
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
    Claim.FIGURE_LAST_BATCH: lambda factor: f"Items of the last batch are weighted {times(factor)} in the report",
    Claim.FIGURE_PAIR: lambda factor: f"The training figure is {times(factor)} beside the validation figure",
}


def picture(finding: Finding, claim: Claim | None, portrait: Portrait) -> Weights | Curves:
    """The picture of a finding; raises `PlotError` where there is nothing to draw."""
    shape = portrait.shape
    circumstances = f"{shape.batches} batches of {shape.batch_size}, windows of {shape.window}"
    subtitle = f"{finding.path}:{finding.range.start_line} · {finding.code} {finding.name} · {circumstances}"
    title = _title(finding, claim, portrait.measured)
    curve = portrait.curve
    if curve is not None and (finding.law is Law.REPORT or not portrait.steps):
        return Curves(
            title, subtitle, range(1, len(curve.reported) + 1), curve.reported, curve.true, quantity=curve.label
        )
    if not portrait.steps:
        raise PlotError(f"{finding.path}:{finding.range.start_line}: there is nothing to draw of {finding.code}")
    steps = [
        [Bar(batch, *pair) for (batch, _), *pair in zip(step.items, step.expected, step.measured, strict=True)]
        for step in portrait.steps
    ]
    return Weights(title, subtitle, steps, total=sum(portrait.steps[0].expected), quantity=portrait.quantity)


def _title(finding: Finding, claim: Claim | None, measured: float | None) -> str:
    words = _TITLES.get(claim) if claim is not None else None
    if words is None or measured is None:
        return finding.name.replace("-", " ").capitalize()
    return words(measured)
