"""The ledger of an observed run as a picture: the weight of each micro-batch in each optimizer step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from losslint.runtime.observe.facts import Fact
from losslint.runtime.plot import Bar, Weights, draw


def draw_ledger(ledger: Sequence[dict[str, Any]], facts: Sequence[Fact], path: Path) -> bool:
    """Write the picture; False where no weight was read. Raises `PlotError` as `plot.draw` does."""
    steps = [bars for step in ledger if (bars := list(_bars(step)))]
    if not steps:
        return False
    title = facts[0].message.split(": ")[0] if facts else "every step is the mean of its micro-batches"
    title = title[:1].upper() + title[1:]
    subtitle = f"{facts[0].code or facts[0].name}, as observed" if facts else "as observed"
    draw(Weights(title, subtitle, steps, 1.0, "weight of a micro-batch in the gradient", axis="micro-batch"), path)
    return True


def _bars(step: dict[str, Any]) -> Iterator[Bar]:
    """A bar for each micro-batch, those that were zeroed in vain included."""
    shares = [_main_term(micro) for micro in step["micro_batches"]]
    if step["doubt"] or any(share is None for share in shares):
        return
    terms = [share for share in shares if share is not None]
    lost = len(step["dropped"])
    items = sum(term["items"] for term in terms)
    # what was zeroed came before what is left
    for number in range(lost):
        yield Bar(number, 1 / (len(terms) + lost), 0.0)
    for number, term in enumerate(terms, lost):
        # a criterion that sums is right where each item, not each micro-batch, weighs the same
        share = term["items"] / max(items, 1) if term["reduction"] == "sum" else 1 / len(terms)
        yield Bar(number, share * len(terms) / (len(terms) + lost), term["weight"])


def _main_term(micro: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] | None = max(micro["terms"], key=lambda term: abs(term["weight"]), default=None)
    return found
