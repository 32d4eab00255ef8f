"""The page on which a program is written: its lines, the names in it, and what its axes come to together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from losslint.fuzzing.spec import Sizes, Spec


class Page:
    """Lines of code at the depth of the block that is open, and the choices that they follow.

    `flags` are the switches that the program's entry can be given."""

    def __init__(self, spec: Spec, sizes: Sizes) -> None:
        self.spec = spec
        self.sizes = sizes
        self.lines: list[str] = []
        self.depth = 0
        self.flags: set[str] = set()
        self.inside_helper = False

    def add(self, *lines: str) -> None:
        """Writes lines at the depth of the open block."""
        self.lines += ["    " * self.depth + line if line else "" for line in lines]

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Writes a header and what is added inside of it one level deeper."""
        self.add(header)
        self.depth += 1
        yield
        self.depth -= 1

    # ------------------------------------------------------------ names

    def own(self, name: str) -> str:
        """A thing that outlives a call: an attribute in a method."""
        return f"self.{name}" if self.spec.frame == "method" and not self.inside_helper else name

    def setting(self, name: str) -> str:
        """How the code spells one of its numbers."""
        if self.inside_helper:
            return name
        if self.spec.settings == "args":
            return self.own(f"args.{name}")
        return name.upper() if self.spec.frame == "script" else self.own(name)

    @property
    def window(self) -> str:
        """The number of micro-batches per step, as the code spells it."""
        return self.setting(self.spec.window_name)

    # ------------------------------------------------------------ what the axes come to together

    @cached_property
    def zero_based(self) -> str | None:
        """The number of the batch from 0, where the loop counts its batches."""
        index = self.spec.index
        return {"enumerate0": index, "manual": index, "enumerate1": f"({index} - 1)", "count": f"({index} - 1)"}.get(
            self.spec.iteration
        )

    @cached_property
    def one_based(self) -> str | None:
        """The number of the batch from 1, where the loop counts its batches."""
        index = self.spec.index
        return {
            "enumerate0": f"({index} + 1)",
            "manual": f"({index} + 1)",
            "enumerate1": index,
            "count": index,
        }.get(self.spec.iteration)

    @cached_property
    def uses_scaler(self) -> bool:
        """Whether there is a GradScaler."""
        return self.spec.framework == "plain" and self.spec.amp not in ("none", "bfloat16", "float16")

    @cached_property
    def has_epochs(self) -> bool:
        """Whether the program has a loop over epochs."""
        return self.spec.frame == "fit" or (self.spec.frame in ("method", "script") and self.spec.epochs)

    @cached_property
    def in_function(self) -> bool:
        """Whether settings can be given as parameters with a default."""
        return self.spec.frame != "script"

    @cached_property
    def helper(self) -> str:
        """What stands in a function of its own: the loss, or the update where it needs nothing but its arguments."""
        spec = self.spec
        switched = spec.amp in ("optional", "disabled")
        alone = spec.framework == "plain" and not switched and self.optimizers == ["optimizer"]
        schedules = self.cadence in ("ahead", "update")
        if spec.helper == "update" and (not alone or schedules or spec.clip == "exhausted"):
            return "inline"
        if spec.helper == "loss" and self.graph in ("rounded", "detached", "no_grad"):
            return "inline"
        return spec.helper

    @cached_property
    def branch(self) -> str:
        """The condition under which the loss is scaled."""
        spec = self.spec
        scales_by_statement = spec.scale in ("rebound", "in_place", "inverse", "helper")
        if spec.branch == "skip_nan":
            return "skip_nan"
        if not scales_by_statement or self.spec.tail == "true_length":
            return "none"
        if spec.branch in ("first", "log", "both") and self.zero_based is None:
            return "none"
        if spec.branch == "epoch" and not self.has_epochs:
            return "none"
        if spec.branch == "debug" and not self.in_function:
            return "first" if self.zero_based else "none"
        return spec.branch

    @cached_property
    def gate(self) -> str:
        """How the loop decides that it is time to step."""
        spec = self.spec
        if spec.gate in ("phase", "off_phase", "floor") and self.one_based is None:
            return "modulus"
        return spec.gate

    @cached_property
    def graph(self) -> str:
        """What becomes of the graph between the model and the backward."""
        spec = self.spec
        if spec.graph in ("dead_term", "live_term") and (spec.reduction != "mean" or spec.helper == "loss"):
            return "attached"
        return spec.graph

    @cached_property
    def optimizers(self) -> list[str]:
        """The optimizers by name: one, or one for each module of the model."""
        spec = self.spec
        apart = spec.optimizers != "one" and spec.framework == "plain" and spec.frame != "method"
        return ["optimizer_backbone", "optimizer_head"] if apart else ["optimizer"]

    @cached_property
    def cadence(self) -> str:
        """When the scheduler steps; empty where there is none."""
        spec = self.spec
        if spec.scheduler == "none" or spec.framework != "plain" or len(self.optimizers) > 1:
            return ""
        if not self.has_epochs and spec.cadence in ("epoch", "epoch_first"):
            return "update"
        return spec.cadence

    @cached_property
    def steps_first(self) -> bool:
        """Whether the update stands ahead of the backward."""
        spec = self.spec
        can = self.gate != "inner" and spec.gate_style != "skip" and not self.uses_scaler and spec.framework == "plain"
        return spec.order == "step_first" and can

    @cached_property
    def value(self) -> float:
        """What the loss of a batch is where each of its items has the loss 1."""
        return 1.1 if self.graph in ("dead_term", "live_term") else 1.0

    @cached_property
    def weight(self) -> float:
        """What a batch that is trained on alone weighs in its step."""
        return 1.1 if self.graph == "live_term" else 1.0

    @cached_property
    def together(self) -> bool:
        """Whether one line shows the figure of the training and that of the validation."""
        spec = self.spec
        sink = spec.sink == "print" or (spec.sink == "returned" and not self.in_function)
        return spec.together and spec.validation != "none" and sink and spec.accumulator != "none"

    @cached_property
    def accumulates(self) -> bool:
        """Whether accelerate's `accumulate()` is the gate."""
        return self.spec.framework == "accelerate" and self.gate in ("accumulate", "nested")
