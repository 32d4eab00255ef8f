"""A file on the bench: the entry from which a claim can be measured, and runs of it under different settings."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import CodeType

import torch

from losslint.findings import Finding, Range
from losslint.runtime import machine, slicing
from losslint.runtime.entries import Entry
from losslint.runtime.ledger import FigureRow, Ledger, Shape, StepRow
from losslint.runtime.neighbours import LINES, Neighbour
from losslint.runtime.slicing import Program
from losslint.runtime.world import Settings

STANDARD = Shape(window=4, batches=12, batch_size=8, last_batch=8, epochs=2)
"""The world in which factors are measured: twelve full batches of eight items, four to a window."""
WINDOWS = (1, 2, 4)
"""The windows at which a law has to hold before a finding is refuted."""
_MOST_FORKS = 8
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass
class Bench:
    """One way of running one file: an entry, and how unknown conditions are decided."""

    program: Program
    code: CodeType
    entry: Entry
    device: torch.device
    settings: Settings = field(default_factory=lambda: Settings(STANDARD))
    runs: dict[tuple[Settings, int], Ledger] = field(default_factory=dict)

    def run(self, rounds: int = 1, **changes: object) -> Ledger:
        """The ledger of a run; keywords are those of `Settings` and of `Shape`."""
        shape = {key: value for key, value in changes.items() if key in Shape.__slots__}
        rest = {key: value for key, value in changes.items() if key not in Shape.__slots__}
        settings = replace(self.settings, shape=replace(self.settings.shape, **shape), **rest)  # type: ignore[arg-type]
        if "batch_size" in shape and "last_batch" not in shape:
            settings = replace(settings, shape=replace(settings.shape, last_batch=settings.shape.batch_size))
        key = (settings, rounds)
        if key not in self.runs:
            self.runs[key] = machine.run(self.program, self.code, self.entry, settings, self.device, rounds)
        return self.runs[key]

    @cached_property
    def base(self) -> Ledger:
        """The run in the standard world."""
        return self.run()

    def forks(self) -> Iterator[Bench]:
        """The same with one unknown condition decided the other way, and with optional arguments given."""
        decisions = list(self.base.decisions.items())[:_MOST_FORKS]
        for key, taken in decisions:
            yield replace(self, settings=replace(self.settings, forced=((key, not taken),)), runs={})
        yield replace(self, settings=replace(self.settings, given=True), runs={})

    def line_of(self, key: int) -> int:
        """The line of a condition."""
        return self.program.places[key].line


def prepare(
    text: str, path: Path, lines: tuple[int, ...], names: tuple[str, ...], files: Sequence[Neighbour] = ()
) -> tuple[Program, CodeType]:
    """The instrumented file and its code, and in the program those of `files` too. Raises `SyntaxError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = slicing.program(text, path.as_posix(), lines, names, files)
        code = _compiled(program.tree, path)
        for module in program.modules:
            own = module is program.modules[0]
            module.code = code if own else _compiled(module.tree, module.path)
        return program, code


def _compiled(tree: ast.Module, path: Path) -> CodeType:
    # the features of the future are this file's own
    return compile(tree, path.as_posix(), "exec", dont_inherit=True)


def marks_of(finding: Finding, numbers: Mapping[str, int]) -> tuple[Range, ...]:
    """The places that a finding speaks of in its file and in those whose `numbers` are known, its own first."""
    steps = [mark for mark in (*finding.trail, *finding.related) if mark.path in numbers]
    marks = [_shifted(mark.range, numbers[mark.path] * LINES) for mark in steps]
    return tuple(dict.fromkeys([finding.range, *marks]))


def _shifted(where: Range, by: int) -> Range:
    return replace(where, start_line=where.start_line + by, end_line=where.end_line + by)


def lines_of(marks: Sequence[Range]) -> tuple[int, ...]:
    """The lines that a run should pass, the finding's own first."""
    return tuple(dict.fromkeys(mark.start_line for mark in marks))


def window_names(finding: Finding, text: str) -> tuple[str, ...]:
    """The name of the window, where the factor has it."""
    factor = finding.factor
    if factor is None or factor.unit is None or not factor.unit.window:
        return ()
    generic = {"size", "batches", "log", "window", "scale"}
    parts = [_NAME.findall(part) for part in re.split("[×÷]", factor.text)]
    return tuple(names[-1] for names in parts if names and names[-1] not in generic and names[-1] in text)


def benches(
    program: Program, code: CodeType, device: torch.device, reached: Callable[[Bench], bool]
) -> Iterator[Bench]:
    """The entries from which what is looked for is reached, the nearest first."""
    for entry in program.entries:
        bench = Bench(program, code, entry, device)
        if reached(bench):
            yield bench


# ---------------------------------------------------------------- reading ledgers


def steady(ledger: Ledger) -> list[StepRow]:
    """The steps of ordinary windows: those of the commonest length, of the first optimizer."""
    steps = [step for step in ledger.steps if step.fresh]
    if not steps:
        return []
    first = [step for step in steps if step.optimizer == steps[0].optimizer]
    lengths = [len(step.fresh) for step in first]
    common = max(set(lengths), key=lambda n: (lengths.count(n), n))
    return [step for step in first if len(step.fresh) == common]


def weight(ledger: Ledger) -> float | None:
    """The weight of all items in an ordinary step."""
    steps = steady(ledger)
    totals = [round(step.total, 7) for step in steps[1:] or steps]
    return max(set(totals), key=totals.count) if totals else None


def representative(row: FigureRow, ledger: Ledger) -> float:
    """A figure at the end of the first pass."""
    early = [value for value, at in zip(row.values, row.at, strict=True) if at <= ledger.first_pass]
    return early[-1] if early else row.values[0]


def in_first_pass(row: FigureRow, ledger: Ledger) -> int:
    """How often a figure appeared in the first pass."""
    return sum(at <= ledger.first_pass for at in row.at)


def same(left: float | None, right: float | None, tolerance: float = 1e-4) -> bool:
    """Whether two factors are the same to the precision of the world."""
    return left is not None and right is not None and abs(left - right) <= tolerance * max(1e-9, abs(right))
