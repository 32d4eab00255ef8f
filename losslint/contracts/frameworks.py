"""Who divides the loss by the window: frameworks, with the versions their behaviour was read from.

Sources: accelerate 1.x (`Accelerator.backward`, `accumulate`), lightning 2.x (automatic optimisation,
`Fabric.backward`), DeepSpeed 0.1x (`engine.backward(scale_wrt_gas=True)`, `engine.step`), apex (`amp.scale_loss`),
timm 1.x (`NativeScaler.__call__`), transformers 4.x/5.x (`Trainer.training_step`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Framework:
    """`backward_divides`: its backward divides by the window. `gates_step`: its optimizer steps only on the last
    micro-batch of a window inside `accumulate()` (accelerate) or always (DeepSpeed)."""

    name: str
    versions: str
    backward_divides: bool
    gates_step: bool
    window_argument: str


ACCELERATE = Framework("accelerate", ">=0.12", True, True, "gradient_accumulation_steps")
DEEPSPEED = Framework("deepspeed", ">=0.3", True, True, "gradient_accumulation_steps")
LIGHTNING = Framework("lightning", ">=1.0", True, True, "accumulate_grad_batches")

SCALER_CALLABLES = frozenset({"NativeScaler", "NativeScalerWithGradNormCount", "ApexScaler"})
"""timm and its descendants: `scaler(loss, optimizer, …)` does backward, unscale, clip, step and update.
`need_update=False` / `update_grad=False` leaves the step out."""
