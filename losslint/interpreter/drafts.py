"""Drafts of findings that more than one rule makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from losslint.findings import Severity
from losslint.interpreter import explain, laws
from losslint.registry import Draft, Mark

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop
    from losslint.interpreter.world import Backward
    from losslint.remedies import Remedy


def undivided(
    loop: Loop, backward: Backward, said: str, advice: str, remedies: Callable[[], Iterable[Remedy]]
) -> Draft:
    """A window of losses that reaches the optimizer step undivided: what is said of it, with the factor."""
    sites = laws.sites_of(backward)
    factor = explain.factor(loop, laws.TIMES_WINDOW)
    numbers = explain.in_numbers(loop, laws.TIMES_WINDOW)
    return Draft(
        backward.node,
        explain.lowered(Severity.ERROR, explain.is_certain(sites)),
        f"{said} gradient = mean gradient {factor.text}{numbers}{explain.assumption(sites)}",
        factor,
        explain.trail(loop, backward.steps),
        advice,
        related=[Mark(loop.high.steps[0].node, f"one step per {explain.window_name(loop)} micro-batches", "")],
        remedies=remedies,
    )
