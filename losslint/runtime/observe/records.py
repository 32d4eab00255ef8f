"""The ledger of an observed run: criterion terms, micro-batches, optimizer steps. Free of torch.

A term's weight is what the gradient holds of it: 1 for a mean loss that reaches `backward` as it is. Weights are
recorded as autograd saw them, the AMP scale included; `Held.factor` has what was done to the gradient afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from losslint.runtime.observe.facts import Place, place_object


@dataclass(slots=True)
class Term:
    """One call of a criterion.

    `items` are the targets that count (an ignored index does not); `value` is the loss as it was returned, None for a
    reduction that was found in the graph. `coefficient` is the gradient that arrived at the output, summed over its
    elements; None until a backward came by. `divisors` and `multipliers` are the plain numbers between the criterion
    and the loss that was backpropagated. `site` tells calls from different places apart.
    """

    criterion: str
    reduction: str
    items: int
    value: float | None
    place: Place | None
    site: int
    coefficient: float | None = None
    divisors: tuple[float, ...] = ()
    multipliers: tuple[float, ...] = ()

    @property
    def weight(self) -> float:
        """The weight of all items together."""
        weight = self.coefficient or 0.0
        return weight * self.items if self.reduction == "sum" else weight

    @property
    def item_weight(self) -> float:
        """The weight of one item."""
        weight = self.coefficient or 0.0
        return weight if self.reduction == "sum" else weight / max(self.items, 1)

    @property
    def mean(self) -> float | None:
        """The mean loss of the items."""
        if self.value is None or self.reduction == "mean":
            return self.value
        return self.value / max(self.items, 1)


@dataclass(slots=True)
class MicroBatch:
    """One backward. `batch` is a fingerprint of what the model was fed, None where that is not known; `scale` the AMP
    scale that the loss carries, None without one; `callers` the frameworks that called backward. `loader` is the
    data loader that the batch came from."""

    index: int
    place: Place | None
    terms: list[Term]
    batch: int | None
    scale: float | None
    callers: frozenset[str]
    loader: int | None
    retained: bool = False


@dataclass(slots=True)
class Held:
    """A micro-batch whose gradient an optimizer's parameters hold.

    `factor` is what was done to the gradient since its backward (unscaling, a division by hand), `unscaled` how often
    a scaler took its scale off. `leaked`: a new pass over its loader began before a step.
    """

    micro: MicroBatch
    factor: float = 1.0
    unscaled: int = 0
    consumed: bool = False
    leaked: bool = False


@dataclass(slots=True)
class Step:
    """One optimizer step: what its gradient held (`fresh` for the first time, `stale` after an earlier step), what was
    zeroed in vain since the step before, `doubt`: why the weights cannot be trusted, empty where they can,
    and with several processes norm and sum of its gradient."""

    optimizer: int
    kind: str
    number: int
    place: Place | None
    fresh: list[Held]
    stale: list[Held]
    dropped: list[MicroBatch]
    zeroed_at: Place | None
    doubt: str
    checksum: list[float] | None

    @property
    def total(self) -> float:
        """The weight of everything fresh: over all terms and micro-batches."""
        return sum(term.weight * held.factor for held in self.fresh for term in held.micro.terms)

    def to_object(self) -> dict[str, Any]:
        """The step as JSON takes it."""
        return {
            "optimizer": self.kind,
            "optimizer_index": self.optimizer,
            "step": self.number,
            "place": place_object(self.place),
            "micro_batches": [_held_object(held) for held in self.fresh],
            "stale": [held.micro.index for held in self.stale],
            "dropped": [micro.index for micro in self.dropped],
            "weight": self.total,
            "doubt": self.doubt,
        }


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that the script reported under a name with `loss` in it: after how many backwards, where, and with how
    many digits. `sink` is what it was given to (`print`, `logging`, `Trainer.log`)."""

    name: str
    value: float
    precision: float
    after: int
    place: Place | None
    sink: str


@dataclass(slots=True)
class Run:
    """Everything that was recorded. `events` are facts that were complete when they were seen."""

    micro_batches: list[MicroBatch] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    left: list[MicroBatch] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ended: bool = False


def _held_object(held: Held) -> dict[str, Any]:
    return {
        "backward": held.micro.index,
        "place": place_object(held.micro.place),
        "terms": [
            {
                "criterion": term.criterion,
                "reduction": term.reduction,
                "items": term.items,
                "loss": term.mean,
                "weight": term.weight * held.factor,
                "place": place_object(term.place),
            }
            for term in held.micro.terms
        ],
    }
