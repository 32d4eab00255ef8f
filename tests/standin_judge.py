"""A judge that runs the text it is given and says `confirmed`: the isolation around the real one is tested with it."""

from __future__ import annotations

import math
from pathlib import Path

from losslint.findings import Finding, Outcome, Verdict
from losslint.runtime.ledger import Portrait


def verify(finding: Finding, text: str, path: Path, device: str = "cpu") -> Verdict:
    namespace = {"__name__": "slice", "math": math}
    exec(text, namespace)
    measured = namespace.get("measured", 4.0)
    return Verdict(Outcome.CONFIRMED, measured, 4.0, "the stand-in's world", device)  # type: ignore[arg-type]


def portray(finding: Finding, text: str, path: Path, device: str = "cpu") -> Portrait | None:
    return None
