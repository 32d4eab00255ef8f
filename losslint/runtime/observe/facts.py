"""What is reported of a run that was observed: a fact, its place, and how the run ended. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from losslint.findings import Severity


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of the user's code: absolute path, 1-based line."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was seen to be wrong.

    `code` is the rule that covers it, empty where none does; `factor` is measured: the figure as a multiple of what it
    should be, None where the fact has no number. `seen` counts the steps, calls or reports that showed it, `of` how
    many could have.
    """

    name: str
    code: str
    severity: Severity
    message: str
    place: Place | None
    factor: float | None = None
    seen: int = 1
    of: int = 1

    def to_object(self) -> dict[str, Any]:
        """The fact as JSON takes it."""
        return {
            "code": self.code or None,
            "name": self.name,
            "severity": self.severity.label,
            "message": self.message,
            "path": None if self.place is None else self.place.path,
            "line": None if self.place is None else self.place.line,
            "factor": self.factor,
            "seen": self.seen,
            "of": self.of,
        }


def from_object(found: Mapping[str, Any]) -> Fact:
    """The fact that `to_object` wrote."""
    place = None if found["path"] is None else Place(found["path"], found["line"])
    return Fact(
        found["name"],
        found["code"] or "",
        Severity[found["severity"].upper()],
        found["message"],
        place,
        found["factor"],
        found["seen"],
        found["of"],
    )


def place_object(place: Place | None) -> dict[str, Any] | None:
    """A place as JSON takes it."""
    return None if place is None else asdict(place)
