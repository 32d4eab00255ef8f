"""The one type that every output, the fixer, the verifier and the editor read.

Lines and columns are 1-based and count code points; the end column is exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


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

    `text` is in the user's own names (`÷ accum_steps`); `value` is None where a symbol has no known number.
    """

    text: str
    value: float | None


@dataclass(frozen=True, slots=True)
class TrailStep:
    """One line where the unit came about, and the unit that the value has after it."""

    path: str
    range: Range
    message: str
    unit: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken law at one place. `path` is posix and relative to the working directory where possible."""

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

    @property
    def url(self) -> str:
        """Where the page of the rule can be read."""
        return f"https://github.com/losslint/losslint/blob/main/docs/rules/{self.name}.md"

    @property
    def sort_key(self) -> tuple[str, Range, str]:
        """The order of output: by file, place and code."""
        return (self.path, self.range, self.code)
