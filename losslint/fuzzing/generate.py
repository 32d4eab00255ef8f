"""Writes the training loop of a seed, as a person would write it, and the line that starts it."""

from __future__ import annotations

from dataclasses import dataclass

from losslint.fuzzing.programs import adversaries, frames, lightning, trainers
from losslint.fuzzing.programs.page import Page
from losslint.fuzzing.spec import Sizes, Spec, draw


@dataclass(frozen=True, slots=True)
class Program:
    """`text` is the file that both sides get. `entry` is what the runtime side evaluates once the file has run: an
    expression over the names of the file and `model`, `loader`, `optimizer`, `criterion`, `scaler`, `writer`, `args`,
    `fit`; empty for a script. `flags` are the switches that `entry` can be given."""

    seed: int
    spec: Spec
    text: str
    entry: str
    flags: tuple[str, ...]
    value: float = 1.0
    """What the loss of a batch is where each of its items has the loss 1."""
    weight: float = 1.0
    """What a batch that is trained on alone weighs in its step."""


def generate(seed: int, sizes: Sizes | None = None) -> Program:
    """The program of a seed; `sizes` changes numbers in it and nothing else."""
    spec = draw(seed)
    if spec.framework == "lightning":
        module = lightning.ModulePage(spec, sizes or Sizes())
        return Program(seed, spec, lightning.text(module), lightning.entry(), ())
    page = Page(spec, sizes or Sizes())
    if spec.framework == "transformers":
        return Program(seed, spec, trainers.text(page), trainers.entry(), ())
    if spec.framework == "adversaries":
        return Program(seed, spec, adversaries.text(page), adversaries.entry(), ())
    text, entry = frames.text(page), frames.entry(page)
    return Program(seed, spec, text, entry, tuple(sorted(page.flags)), page.value, page.weight)
