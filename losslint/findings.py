"""The one type that every output, the fixer, the verifier and the editor read.

Lines and columns are 1-based and count code points; the end column is exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from losslint.units import Unit


class Severity(IntEnum):
    """How certain a finding is; the order is the order of certainty."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    @property
    def label(self) -> str:
        """The word users read and write: `error`, `warning` or `info`."""
        return self.name.lower()


class Law(Enum):
    """The law of the unit algebra that a finding breaks."""

    GRADIENT = "gradient"
    REPORT = "report"
    EVERY_STEP = "every-step"
    PRECISION = "precision"
    ORDER = "order"
    GRAPH = "graph"
    CONTRACT = "contract"
    MODE = "mode"
    SETUP = "set-up"
    USE = "use"


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """A piece of source text: 1-based lines and code-point columns, the end exclusive."""

    start_line: int
    start_column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Factor:
    """By how much the law is broken, as `value` times the right figure.

    `text` is in the user's own names (`÷ accum_steps`); `value` is None where a symbol has no known number. `unit` is
    the same factor as a monomial, for who knows the numbers of another world; None where it is no monomial.
    """

    text: str
    value: float | None
    unit: Unit | None = None


@dataclass(frozen=True, slots=True)
class TrailStep:
    """One line where the unit came about, and the unit that the value has after it.

    `cell` is the cell of a notebook whose lines `range` counts: its position among all cells, from 1, Markdown
    included. None in a plain file.
    """

    path: str
    range: Range
    message: str
    unit: str
    cell: int | None = None


class Applicability(Enum):
    """Whether a fix can change a run that was right."""

    SAFE = "safe"
    UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of a file to be replaced by `text`; an empty range inserts. `cell` as in `TrailStep`."""

    path: str
    range: Range
    text: str
    cell: int | None = None


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that together take a finding away; they do not overlap. `title` is an imperative, in lower case."""

    title: str
    applicability: Applicability
    edits: tuple[Edit, ...]


class Outcome(Enum):
    """What the runtime verifier says of a finding."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


class Reason(Enum):
    """Why the verifier came to no conclusion."""

    NOT_REACHED = "not-reached"
    STUB_GAP = "stub-gap"
    UNMODELLED_SCALING = "unmodelled-scaling"
    UNKNOWN_CONTRACT = "unknown-contract"
    SEVERAL_OPTIMIZERS = "several-optimizers"
    CLOSURE = "closure"
    TIMEOUT = "timeout"
    CRASH = "crash"
    NON_FINITE = "non-finite"
    NOT_MEASURABLE = "not-measurable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a tiny step measured. `predicted` and `measured` are the same factor in the world of `setting`.

    `reason` is set where the outcome is inconclusive, `detail` then says what was met; `assumes` holds what was taken
    for granted and what was put in a real object's place.
    """

    outcome: Outcome
    measured: float | None
    predicted: float | None
    setting: str
    device: str
    reason: Reason | None = None
    detail: str = ""
    assumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken law at one place. `path` is posix and relative to the working directory where possible.

    `cell` as in `TrailStep`; `fix` where there is one; `verdict` where the verifier was asked. `statement` is the
    whitespace-normalised source that the finding stands in: what tells it from others when lines or files move.
    """

    code: str
    name: str
    severity: Severity
    law: Law
    message: str
    path: str
    range: Range
    factor: Factor | None
    trail: tuple[TrailStep, ...]
    related: tuple[TrailStep, ...]
    help: str
    fingerprint: str
    cell: int | None = None
    fix: Fix | None = None
    verdict: Verdict | None = None
    statement: str = ""

    @property
    def url(self) -> str:
        """Where the page of the rule can be read."""
        return f"https://github.com/losslint/losslint/blob/main/docs/rules/{self.name}.md"

    @property
    def is_withdrawn(self) -> bool:
        """Whether the verifier has refuted it."""
        return self.verdict is not None and self.verdict.outcome is Outcome.REFUTED

    @property
    def sort_key(self) -> tuple[str, int, Range, str]:
        """The order of output: by file, place and code."""
        return (self.path, self.cell or 0, self.range, self.code)
