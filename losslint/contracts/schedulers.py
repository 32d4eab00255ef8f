"""Learning-rate schedulers of torch and transformers: which argument says how long they run."""

from __future__ import annotations

HORIZONS: dict[str, tuple[tuple[int, str], ...]] = {
    "CosineAnnealingLR": ((1, "T_max"),),
    "LinearLR": ((3, "total_iters"),),
    "PolynomialLR": ((1, "total_iters"),),
    "OneCycleLR": ((2, "total_steps"), (-1, "steps_per_epoch")),
    "get_linear_schedule_with_warmup": ((2, "num_training_steps"),),
    "get_cosine_schedule_with_warmup": ((2, "num_training_steps"),),
    "get_cosine_with_hard_restarts_schedule_with_warmup": ((2, "num_training_steps"),),
    "get_polynomial_decay_schedule_with_warmup": ((2, "num_training_steps"),),
    "get_scheduler": ((3, "num_training_steps"),),
}
"""Scheduler -> the place and name of the argument that says how long it runs."""
