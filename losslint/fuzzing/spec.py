"""What a generated training loop is made of: one choice for each axis, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers that stand in a program: they change what it computes and never how it is written."""

    window: int = 4
    log_every: int = 50
    epochs: int = 10
    batch_size: int = 32


@dataclass(frozen=True, slots=True)
class Spec:
    """The axes. What a choice means is what `write` does with it; no field says whether the loop is right."""

    frame: str
    framework: str
    iteration: str
    gate: str
    gate_style: str
    tail: str
    scale: str
    scale_where: str
    branch: str
    amp: str
    clip: str
    zero: str
    zero_call: str
    helper: str
    criterion: str
    reduction: str
    accumulator: str
    accumulate_at: str
    value: str
    divisor: str
    sink: str
    log: str
    epochs: bool
    settings: str
    window_name: str
    index: str
    loss: str
    progress: bool
    order: str
    scope: str
    graph: str
    scheduler: str
    cadence: str
    horizon: str
    optimizers: str
    loader: str
    validation: str
    judged: str
    judged_grad: bool
    judged_figure: str
    trains: str
    together: bool


_WINDOW_NAMES = (
    "accum_steps",
    "accumulation_steps",
    "grad_accum",
    "gradient_accumulation_steps",
    "accum_iter",
    "accumulate",
    "micro_batches",
    "update_freq",
)


def draw(seed: int) -> Spec:
    """The choices of a seed. Common and right ways are drawn more often, so that single mistakes stand alone."""
    random = Random(seed)

    def one(**weights: int) -> str:
        return random.choices(list(weights), list(weights.values()))[0]

    frame = one(function=5, fit=4, method=4, script=4)
    framework = one(plain=16, accelerate=3, fabric=1, lightning=1)
    iteration = one(enumerate0=8, enumerate1=3, plain=3, count=1, manual=1, inner=2)
    if iteration == "inner":
        gate, tail = "inner", "drop"
    elif iteration == "plain":
        gate, tail = one(counter=2, countdown=1, global_step=2), one(drop=2, flush=1)
    elif iteration in ("enumerate1", "count"):
        gate, tail = one(modulus=4, negated=2), one(drop=2, last=3, flush=1)
    else:
        gate = one(modulus=6, negated=3, phase=2, floor=1, off_phase=1)
        tail = one(drop=3, last=4, flush=2, trimmed=1, true_length=1)
    scale = one(rebound=5, in_place=3, alias=3, expression=3, inverse=2, at_loss=2, missing=2, helper=2, gradients=2)
    if random.random() < 0.12:
        scale = one(twice=2, after=2, unused=2, by_index=1, by_batch=1, by_batches=1, back_and_forth=1)
    branch = one(none=16, debug=1, first=2, log=1, window=2, finite=1, epoch=1, both=1, skip_nan=2)
    amp = one(none=10, scaler=5, bfloat16=1, optional=2, disabled=1)
    if amp == "scaler" and random.random() < 0.2:
        amp = one(bypassed=1, unscaled_backward=1, no_update=1)
    clip = one(none=6, right=3, unscaled_first=1, late=1, value=1)
    zero = one(after=9, start=2, every=1, never=1, early=1)
    accumulator = one(total=6, list=2, meter=2, detached=1, attached=1, last=1, none=1)
    divisor = one(batches=6, counted=3, steps=1, samples=1, dataset=1, index=1, nothing=1, window=1)
    value = one(loss=6, times_window=1, times_batch=1, scaled=1)
    if random.random() < 0.15:
        value, divisor = "times_batch", one(samples=2, dataset=1)
    if random.random() < 0.03:
        framework = one(transformers=1, adversaries=2)
    graph, scheduler = "attached", one(none=3, cosine=2, linear=1, onecycle=1, step=1, factor=1, absolute=1)
    if random.random() < 0.12:
        graph = one(rewrapped=2, made_leaf=1, rounded=1, detached=1, no_grad=1, kept=1, dead_term=2, live_term=2)
    if amp in ("scaler", "bfloat16") and random.random() < 0.15:
        amp = one(unscale_each=1, update_each=1, float16=1)
    if random.random() < 0.08:
        clip = one(early=1, exhausted=1)
    if framework == "accelerate" and random.random() < 0.8:
        gate = one(accumulate=6, nested=1)
        iteration = one(enumerate0=2, plain=1)
        scale = one(missing=6, rebound=1, expression=1)
    return Spec(
        frame=frame,
        framework=framework,
        iteration=iteration,
        gate=gate,
        gate_style=one(plain=6, flag=2, skip=1),
        tail=tail,
        scale=scale,
        scale_where=one(inline=4, function=1),
        branch=branch,
        amp=amp,
        clip=clip,
        zero=zero,
        zero_call=one(optimizer=8, model=2, none=1),
        helper=one(inline=7, loss=2, update=2),
        criterion=one(module=5, local=3, functional=3, parameter=1),
        reduction=one(mean=12, sum=1, none_mean=1, sum_divided=1),
        accumulator=accumulator,
        accumulate_at=one(before=4, after=6),
        value=value,
        divisor=divisor,
        sink=one(print=5, returned=5, logger=1, writer=1, wandb=1),
        log=one(none=7, loss=2, running=1, progress=1),
        epochs=random.random() < 0.6,
        settings=one(named=3, args=1),
        window_name=random.choice(_WINDOW_NAMES),
        index=one(i=4, step=3, batch_idx=3, it=1),
        loss=one(loss=8, train_loss=1, batch_loss=1),
        progress=random.random() < 0.1,
        order=one(usual=26, step_first=2, uncalled=1),
        scope=one(forward=3, backward=1),
        graph=graph,
        scheduler=scheduler,
        cadence=one(update=6, batch=4, epoch=4, ahead=2, epoch_first=1),
        horizon=one(updates=4, batches=4, epochs=4, literal=1),
        optimizers=one(one=14, modules=2, one_zeroed=1),
        loader=one(plain=4, drop_last=2, sampler=1),
        validation=one(none=9, inline=3, helper=3),
        judged=one(eval=4, train=1),
        judged_grad=random.random() < 0.1,
        judged_figure=one(mean=5, weighted=2, total=1, times_batch=1),
        trains=one(epoch=3, once=1),
        together=random.random() < 0.5,
    )
