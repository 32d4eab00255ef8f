"""A verdict in words, for every format that people read."""

from __future__ import annotations

from losslint.findings import Outcome, Verdict
from losslint.output.text import Style

STYLES = {Outcome.CONFIRMED: Style.ERROR, Outcome.REFUTED: Style.GOOD, Outcome.INCONCLUSIVE: Style.WARNING}

WITHDRAWN = "the finding is withdrawn; this is a bug in losslint, please report it"


def short(verdict: Verdict) -> str:
    """The outcome and the number behind it: `confirmed, measured × 4`, `inconclusive (timeout)`."""
    outcome = verdict.outcome.value
    if verdict.reason is not None:
        return f"{outcome} ({verdict.reason.value})"
    return outcome if verdict.measured is None else f"{outcome}, measured × {figure(verdict.measured)}"


def long(verdict: Verdict) -> str:
    """All of the verdict but what it takes for granted, in one line."""
    words = short(verdict)
    if verdict.predicted is not None and verdict.measured is not None:
        words += f", predicted × {figure(verdict.predicted)}"
    circumstances = ", ".join(filter(None, (verdict.setting, verdict.device)))
    if circumstances:
        words += f" ({circumstances})"
    if verdict.detail:
        words += f": {verdict.detail}"
    return f"{words}; {WITHDRAWN}" if verdict.outcome is Outcome.REFUTED else words


def figure(value: float) -> str:
    """A factor with the digits that matter: `4`, `0.25`, `1.333`, `65536`."""
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.4g}"
