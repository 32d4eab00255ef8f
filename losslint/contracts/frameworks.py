"""Who divides the loss by the window, and when a step is real: one record for each framework and way of using it.

`tests/test_contracts.py` measures every record that is marked as measured on the library that is installed, and checks
that its version lies in `versions`; the others say what the library's documentation and source say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Framework:
    """What a framework does with a loss between the user's line and the optimizer.

    `package`, `versions`: the distribution and the versions of it that behave so (a PEP 440 specifier).
    `evidence`: `measured` on the installed library, or read from its documentation.
    `window_argument`: the setting that makes a window; empty where the user's own code does.
    `backward`: the methods that backpropagate. `returned`: the loss that the user's step returns is backpropagated.
    `backward_divides`: backward divides the loss by the window. `undivided`: the keyword that switches this off.
    `gated`: what does nothing until the window is full, as `owner.method`.
    `last_window_steps`: an incomplete last window is stepped at the end of a pass (each micro-batch still 1/k).
    `clip`: the methods that clip. `clip_unscales`: they take the AMP scale out first.
    """

    name: str
    package: str
    versions: str
    evidence: Literal["measured", "documented"]
    window_argument: str = ""
    backward: frozenset[str] = frozenset()
    returned: bool = False
    backward_divides: bool = False
    undivided: str = ""
    gated: frozenset[str] = frozenset()
    last_window_steps: bool = False
    clip: frozenset[str] = frozenset()
    clip_unscales: bool = False


ACCELERATE = Framework(
    "accelerate",
    "accelerate",
    ">=0.12,<2",
    "measured",
    window_argument="gradient_accumulation_steps",
    backward=frozenset({"backward"}),
    backward_divides=True,
    # of what went through `prepare`, and inside `accumulate()`; the model's own `zero_grad` is never gated
    gated=frozenset({"optimizer.step", "optimizer.zero_grad", "scheduler.step"}),
    # where the loader went through `prepare`
    last_window_steps=True,
    clip=frozenset({"clip_grad_norm_", "clip_grad_value_"}),
    clip_unscales=True,
)
"""`accumulate()` counts each of its entries: two nested ones fill the window twice as fast."""

DEEPSPEED = Framework(
    "deepspeed",
    "deepspeed",
    ">=0.3",
    "documented",
    window_argument="gradient_accumulation_steps",
    backward=frozenset({"backward"}),
    backward_divides=True,
    undivided="scale_wrt_gas",
    # `engine.step()` also zeroes the gradients, and clips them where the configuration says so
    gated=frozenset({"engine.step"}),
)
"""`DeepSpeedEngine.backward(loss, scale_wrt_gas=True)` and `DeepSpeedEngine.step()`, which is to be called on every
micro-batch."""

LIGHTNING = Framework(
    "lightning",
    "lightning",
    ">=2,<3",
    "measured",
    window_argument="accumulate_grad_batches",
    returned=True,
    backward_divides=True,
    gated=frozenset({"optimizer.step", "optimizer.zero_grad"}),
    last_window_steps=True,
)
"""Automatic optimisation."""

LIGHTNING_MANUAL = Framework(
    "lightning",
    "lightning",
    ">=2,<3",
    "measured",
    backward=frozenset({"manual_backward"}),
    clip=frozenset({"clip_gradients"}),
)
"""`self.automatic_optimization = False`: `accumulate_grad_batches` is refused, and the module does it all."""

FABRIC = Framework(
    "fabric",
    "lightning",
    ">=2,<3",
    "measured",
    backward=frozenset({"backward"}),
    clip=frozenset({"clip_gradients"}),
    clip_unscales=True,
)
"""`no_backward_sync` keeps processes from exchanging gradients; no weight depends on it."""

TRAINER = Framework(
    "transformers",
    "transformers",
    ">=4.46,<6",
    "measured",
    window_argument="gradient_accumulation_steps",
    returned=True,
    backward_divides=True,
    gated=frozenset({"optimizer.step", "scheduler.step"}),
    last_window_steps=True,
)
"""`Trainer` with a model whose `forward` takes no loss keywords: an incomplete last window is divided by its own
length."""

TRAINER_NUM_ITEMS = Framework(
    "transformers",
    "transformers",
    ">=4.46,<6",
    "measured",
    window_argument="gradient_accumulation_steps",
    returned=True,
    backward_divides=False,
    gated=frozenset({"optimizer.step", "scheduler.step"}),
    last_window_steps=True,
)
"""`Trainer` with a model whose `forward` takes `**kwargs`: the loss is taken to be divided by `num_items_in_batch`
already, so a `compute_loss` that takes a mean has a step of k times the mean gradient."""

TIMM = Framework(
    "timm",
    "timm",
    ">=0.4.9,<2",
    "measured",
    # `scaler(loss, optimizer, …)` is backward, unscale, clip, step and update; `need_update=False` is backward alone
    backward=frozenset({"__call__"}),
    clip=frozenset({"__call__"}),
    clip_unscales=True,
)

FRAMEWORKS = (
    ACCELERATE,
    DEEPSPEED,
    LIGHTNING,
    LIGHTNING_MANUAL,
    FABRIC,
    TRAINER,
    TRAINER_NUM_ITEMS,
    TIMM,
)

SCALER_CALLABLES = frozenset({"NativeScaler", "NativeScalerWithGradNormCount", "ApexScaler"})
"""timm's scaler and its descendants."""

UPDATE_KEYWORDS = ("need_update", "update_grad")
"""The keywords that tell such a scaler to leave the step out."""
