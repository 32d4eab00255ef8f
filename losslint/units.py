"""The unit algebra: monomials over the symbols of a training loop, read off exact numbers.

The interpreter runs the loop with concrete numbers that are multiplicatively independent (`BATCH = 11`, `BATCHES = 6`,
`LOG = 3`, …). By unique factorisation a weight that comes out as `22/6` can only be `2 · B / M`: the monomial is read
off the number, exactly, and a number that fits none is irregular. The accumulation window is a concrete 1, 2 or 3
(branches depend on it), so its exponent is read off by comparing those three runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

BATCH = 11
"""Samples in a batch (`B`)."""
BATCHES = 6
"""Batches in a pass (`M`): divisible by every window and by the log window."""
LOG = 3
"""Batches in a log window (`L`)."""
SCALE = 1009
"""The AMP scale (`S`)."""
PROCESSES = 13
"""Processes (`W`)."""
WINDOWS = (1, 2, 3)
"""The accumulation windows in which a loop is run."""

_FIRST_FREE_PRIME = 1013


@dataclass(frozen=True, slots=True)
class Unit:
    """`number · B^b · M^m · L^l · S^s · W^w · k^k`, and whether any other factor (`λ`) is in it."""

    batch: int = 0
    batches: int = 0
    log: int = 0
    scale: int = 0
    processes: int = 0
    window: int = 0
    other: bool = False

    @property
    def is_one(self) -> bool:
        """Whether the value has the unit of the loss itself."""
        return self == ONE


ONE = Unit()


def _strip(number: int, prime: int) -> tuple[int, int]:
    exponent = 0
    while number % prime == 0:
        number //= prime
        exponent += 1
    return number, exponent


def _exponent(value: Fraction, prime: int) -> tuple[Fraction, int]:
    numerator, up = _strip(value.numerator, prime)
    denominator, down = _strip(value.denominator, prime)
    return Fraction(numerator, denominator), up - down


@lru_cache(maxsize=4096)
def read(value: Fraction) -> Unit | None:
    """The monomial of a weight measured at window 1; None for zero. What is left over is `other`."""
    if value == 0:
        return None
    rest = Fraction(abs(value))
    rest, batch = _exponent(rest, BATCH)
    rest, scale = _exponent(rest, SCALE)
    rest, processes = _exponent(rest, PROCESSES)
    rest, twos = _exponent(rest, 2)
    rest, threes = _exponent(rest, 3)
    # M = 2 · 3 and L = 3, so the exponent of two is M's, and what threes are left are L's
    return Unit(batch, twos, threes - twos, scale, processes, 0, rest != 1 or value < 0)


def window_exponent(values: Mapping[int, Fraction]) -> int | None:
    """The exponent of the window in a weight measured at several windows; None where no power fits."""
    base = values.get(1)
    if not base or any(not value for value in values.values()):
        return None
    exponents: set[int | None] = set()
    for window, value in values.items():
        if window > 1:
            ratio = value / base
            exponents.add(next((e for e in (0, -1, 1, -2, 2) if ratio == Fraction(window) ** e), None))
    return exponents.pop() if len(exponents) == 1 else None


def primes() -> Iterator[int]:
    """Primes that stand for nothing yet: one for each factor the loop does not explain (`λ`)."""
    candidate = _FIRST_FREE_PRIME
    while True:
        if all(candidate % divisor for divisor in range(3, int(candidate**0.5) + 1, 2)):
            yield candidate
        candidate += 2
