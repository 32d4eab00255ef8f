"""How each claim is measured: runs on a bench, and the number that comes out beside the one that was predicted."""

from __future__ import annotations

from losslint.claims import Claim
from losslint.runtime import figures, gradients, order
from losslint.runtime.answers import NOTHING_TO_SCALE, Measure, scaler_raised
from losslint.runtime.bench import Bench

MEASURES: dict[Claim, Measure] = {
    Claim.GRADIENT_SCALE: gradients.gradient_scale,
    Claim.MICRO_BATCH_RATIO: gradients.micro_batch_ratio,
    Claim.LEFT_OVER: gradients.left_over,
    Claim.SHORT_WINDOW: gradients.short_window,
    Claim.FIRST_WINDOW: gradients.first_window,
    Claim.SURVIVING_SHARE: gradients.surviving_share,
    Claim.ITEM_RATIO: gradients.item_ratio,
    Claim.MASKED_SHARE: gradients.masked_share,
    Claim.STALE_GRADIENT: gradients.stale_gradient,
    Claim.CLIPPED_SCALE: order.clipped_scale,
    Claim.SCALER_ORDER: order.scaler_order,
    Claim.FIGURE_SCALE: figures.figure_scale,
    Claim.FIGURE_SHARE: figures.figure_share,
    Claim.FIGURE_BATCHES: figures.figure_batches,
    Claim.FIGURE_LAST_BATCH: figures.figure_last_batch,
    Claim.FIGURE_CURVE: figures.figure_curve,
    Claim.FIGURE_PAIR: figures.figure_pair,
    Claim.FIGURE_LOCAL: figures.figure_local,
    Claim.GRAPHS_ALIVE: figures.graphs_alive,
    Claim.LOSS_CHANGED: figures.loss_changed,
    Claim.NO_GRADIENT: gradients.no_gradient,
    Claim.DEAD_BACKWARD: gradients.dead_backward,
    Claim.GRADIENT_SHARE: gradients.gradient_share,
    Claim.CLIP_ORDER: order.clip_order,
    Claim.SCHEDULER_PACE: order.scheduler_pace,
}
GRADIENTS = frozenset(
    {
        Claim.GRADIENT_SCALE,
        Claim.MICRO_BATCH_RATIO,
        Claim.LEFT_OVER,
        Claim.SHORT_WINDOW,
        Claim.FIRST_WINDOW,
        Claim.SURVIVING_SHARE,
        Claim.ITEM_RATIO,
        Claim.STALE_GRADIENT,
    }
)
"""Claims that need optimizer steps."""


def reached(claim: Claim, bench: Bench) -> bool:
    """Whether a bench gets to what a claim speaks of."""
    if claim in GRADIENTS:
        return gradients.steps_reached(bench)
    if claim in (Claim.CLIPPED_SCALE, Claim.SCALER_ORDER, Claim.CLIP_ORDER, Claim.NO_GRADIENT, Claim.SCHEDULER_PACE):
        return bool(bench.base.steps) or (claim is Claim.NO_GRADIENT and scaler_raised(bench.base, NOTHING_TO_SCALE))
    if claim in (Claim.DEAD_BACKWARD, Claim.GRADIENT_SHARE):
        return bool(bench.base.backwards)
    if claim in (Claim.GRAPHS_ALIVE, Claim.LOSS_CHANGED, Claim.MASKED_SHARE):
        return bool(bench.base.backwards) or figures.figures_reached(bench)
    return figures.figures_reached(bench)
