"""Units, factors and trails in the user's own words: what every rule's message is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, overload

from losslint.findings import Factor, Severity
from losslint.interpreter import defaults
from losslint.interpreter.roles import last
from losslint.interpreter.values import AMP, BATCH, BATCHES, PROCESSES, SAMPLES, WINDOW, Site, Step
from losslint.lowering.positions import locate
from losslint.lowering.positions import text as text  # rules name code as it is written
from losslint.registry import Mark
from losslint.units import Unit

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop
    from losslint.interpreter.program import Program

_SYMBOLS = ("window", "batch", "batches", "log", "scale", "processes")
_GENERIC = {
    "batch": "batch size",
    "batches": "batches",
    "log": "log window",
    "scale": "AMP scale",
    "processes": "world size",
}


def window_name(loop: Loop) -> str:
    """What the user calls the accumulation window."""
    if loop.window is None:
        return "the window"
    key = loop.window.key
    if isinstance(key, str):
        # `args.accum_steps` is called `accum_steps` wherever it is passed on
        return last(key) if key.replace(".", "").replace("_", "").isalnum() else key
    known = defaults.known_number(loop.program, key)
    return known.name if known is not None and known.name else str(known.value) if known is not None else "the window"


def _exponents(unit: Unit) -> Iterator[tuple[str, int]]:
    for symbol in _SYMBOLS:
        exponent = getattr(unit, symbol)
        if exponent:
            yield symbol, exponent


def _name(loop: Loop, symbol: str) -> str:
    return window_name(loop) if symbol == "window" else _GENERIC[symbol]


def unit_text(loop: Loop, unit: Unit | None) -> str:
    """A unit as a person writes it: `1`, `1/accum_steps`, `batch size · batches`."""
    if unit is None:
        return "?"
    over: list[str] = []
    under: list[str] = []
    for symbol, exponent in _exponents(unit):
        side = over if exponent > 0 else under
        side.append(_name(loop, symbol) + (f"^{abs(exponent)}" if abs(exponent) > 1 else ""))
    if unit.other:
        over.append("λ")
    upper = " · ".join(over) or "1"
    if not under:
        return upper
    return f"{upper}/{under[0]}" if len(under) == 1 else f"{upper}/({' · '.join(under)})"


def factor(loop: Loop, unit: Unit) -> Factor:
    """A unit as a factor: `× accum_steps`, with its number where constants or defaults give one."""
    parts: list[str] = []
    value: float | None = 1.0
    for symbol, exponent in _exponents(unit):
        sign = "×" if exponent > 0 else "÷"
        parts.append(f"{sign} {_name(loop, symbol)}" + (f"^{abs(exponent)}" if abs(exponent) > 1 else ""))
        known = _known(loop, symbol)
        value = value * float(known.value) ** exponent if value is not None and known is not None else None
    return Factor(" ".join(parts) or "1", value, unit)


def _known(loop: Loop, symbol: str) -> defaults.Known | None:
    if symbol == "window" and loop.window is not None:
        return defaults.known_number(loop.program, loop.window.key)
    return defaults.named_number(loop.program, "batch_size") if symbol == "batch" else None


@lru_cache(maxsize=16)
def _line(program: Program, known: defaults.Known) -> str:
    place = locate(program.module, [known.node]).get(id(known.node)) if known.name else None
    return f", {program.line_name(place.start_line)}" if place is not None else ""


def in_numbers(loop: Loop, unit: Unit) -> str:
    """The factor with its numbers: ` (÷4 with accum_steps = 4)`, or an empty string."""
    symbols = list(_exponents(unit))
    if len(symbols) != 1:
        return ""
    symbol, exponent = symbols[0]
    known = _known(loop, symbol)
    if known is None or known.value <= 1:
        return ""
    number = known.value ** abs(exponent)
    name = _name(loop, symbol)
    with_name = "" if name == str(known.value) else f" with {name} = {known.value}{_line(loop.program, known)}"
    return f" ({'×' if exponent > 0 else '÷'}{number}{with_name})"


class Trail(Sequence[Mark]):
    """The lines where a value's unit came about, worked out when they are first read: most drafts are never shown."""

    def __init__(self, loop: Loop, steps: Iterable[Step]) -> None:
        self._loop = loop
        self._steps = tuple(steps)

    @cached_property
    def _marks(self) -> list[Mark]:
        loop = self._loop
        return [Mark(step.node, verb_words(step), unit_text(loop, loop.unit_at(step))) for step in self._steps]

    @overload
    def __getitem__(self, index: int) -> Mark: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Mark]: ...

    def __getitem__(self, index: int | slice) -> Mark | Sequence[Mark]:
        return self._marks[index]

    def __len__(self) -> int:
        return len(self._marks)


def trail(loop: Loop, steps: Iterable[Step]) -> Trail:
    """The lines where a value's unit came about."""
    return Trail(loop, steps)


def verb_words(step: Step) -> str:
    """What a line did to a value."""
    operand = f"`{text(step.operand)}`" if step.operand is not None else ""
    if step.verb == "loss":
        site = next((site for site, _ in step.weights if site.node is step.node), None)
        return loss_words(site)
    if step.verb == "/":
        return f"divided by {operand or 'the number of batches'}"
    if step.verb == "*":
        return f"multiplied by {operand or 'the number of processes'}"
    if step.verb == "+=":
        return f"added up over batches in `{step.of}`" if step.of else "added up over batches"
    if step.verb == "append":
        return "kept for each batch"
    if step.verb == "return":
        return "returned"
    if step.verb == "scale":
        return "multiplied by the AMP scale"
    if step.verb == "mean":
        return "averaged over the entries"
    if step.verb == "sum":
        return "summed over the batch"
    return "negated" if step.verb == "-" else step.verb


def loss_words(site: Site | None) -> str:
    """What a place gives: a mean, a sum, or something taken for a mean."""
    if site is not None and not site.evidence:
        return "figure of the batch"
    if site is None or site.reduction is None:
        return "loss of the batch (taken for a mean)"
    return {"mean": "mean loss of the batch", "sum": "summed loss of the batch"}.get(site.reduction, "loss per sample")


def lowered(severity: Severity, certain: bool) -> Severity:
    """One level down where a link is not resolved."""
    if certain or severity is Severity.INFO:
        return severity
    return Severity(severity - 1)


def is_certain(sites: Iterable[Site]) -> bool:
    """Whether every loss is a known loss function with a known reduction."""
    return all(site.evidence >= 3 and site.reduction is not None for site in sites)


def assumption(sites: Iterable[Site]) -> str:
    """What was taken for granted, to be appended to a message."""
    for site in sites:
        if site.evidence < 3 or site.reduction is None:
            return f"; assumed: `{text(site.node)}` is a mean over the batch"
    return ""


def kinds_text(kinds: int) -> str:
    """What a divisor counts."""
    for bit, words in (
        (WINDOW, "the accumulation window"),
        (SAMPLES, "samples"),
        (BATCHES, "batches"),
        (BATCH, "the batch size"),
        (AMP, "the AMP scale"),
        (PROCESSES, "processes"),
    ):
        if kinds & bit:
            return words
    return "something else"
