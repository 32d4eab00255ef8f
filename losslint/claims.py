"""What a rule claims of a run: the number by which the runtime verifier confirms or refutes a finding.

A rule names its claim in its own file (`RULE = Rule(..., claim=Claim.GRADIENT_SCALE)`); how it is measured is written
down in `losslint.runtime.measures`. Nothing here imports torch.
"""

from __future__ import annotations

from enum import Enum


class Claim(Enum):
    """The kinds of claim. `right` is the value that the law asks for, where it is a number."""

    GRADIENT_SCALE = "the weight of all items in an optimizer step together"
    MICRO_BATCH_RATIO = "the largest weight of a micro-batch in a step over the smallest"
    LEFT_OVER = "micro-batches of a pass that reach no step of that pass"
    SHORT_WINDOW = "the weight of a short last window over that of a full one"
    FIRST_WINDOW = "micro-batches in the first window over those in a full one"
    SURVIVING_SHARE = "the share of a window's micro-batches that its step sees"
    ITEM_RATIO = "the largest weight of an item that counts in a step over the smallest"
    MASKED_SHARE = "the weight of the items that count together"
    STALE_GRADIENT = "steps that still see gradients of the step before"
    CLIPPED_SCALE = "the gradient that is clipped over the gradient that is stepped on"
    SCALER_ORDER = "calls of the scaler that are out of step with the optimizer"
    FIGURE_SCALE = "the reported figure over the mean of the losses it speaks of"
    FIGURE_SHARE = "the reported figure over the mean of the whole pass, where sizes differ"
    FIGURE_BATCHES = "the share of a pass's batches that the reported figure holds"
    FIGURE_LAST_BATCH = "the weight of an item in a short last batch over that of any other"
    FIGURE_CURVE = "the reported figure at twice the loss over twice the figure"
    FIGURE_PAIR = "the training figure over the validation figure of the same loss"
    FIGURE_LOCAL = "how far the reported figure moves with the loss of another process"
    GRAPHS_ALIVE = "the graphs of past batches that the accumulator keeps alive"
    LOSS_CHANGED = "the loss after the line over the loss before it"
    NO_GRADIENT = "optimizer steps that see no gradient of a batch that was drawn for them"
    DEAD_BACKWARD = "calls of backward that reach no loss that the parameters have a part in"
    GRADIENT_SHARE = "the weight of a batch in the gradient over its weight in the loss that is backpropagated"
    CLIP_ORDER = "clips that no later step of the same window sees"
    SCHEDULER_PACE = "scheduler steps per optimizer step"
