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
        return self.spec.framework == "plain" and self.spec.amp not in ("none", "bfloat16")

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
        if spec.helper == "update" and (spec.framework != "plain" or spec.amp in ("optional", "disabled")):
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
    def accumulates(self) -> bool:
        """Whether accelerate's `accumulate()` is the gate."""
        return self.spec.framework == "accelerate" and self.gate in ("accumulate", "nested")
