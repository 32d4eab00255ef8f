"""Which fix a finding is offered: the first remedy of its rule that can be written, and that the analysis agrees with.

Each remedy is tried: the edited text is analysed again. The finding must be gone, nothing else may be found, and what
was judged before must still be judged. What does not pass is not offered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from losslint.findings import Applicability, Edit, Finding, Fix, Law, Severity
from losslint.fixes.apply import apply
from losslint.fixes.layout import Layout, UnfitError
from losslint.fixes.render import render
from losslint.lowering import ir
from losslint.lowering.positions import locate
from losslint.source import SourceError, decode, read

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop
    from losslint.registry import Draft
    from losslint.remedies import Remedy


class Judgement(Protocol):
    """What one analysis says: the findings of every rule by code and severity, and the loops that it ran."""

    @property
    def codes(self) -> Counter[tuple[str, Severity]]: ...

    @property
    def loops(self) -> Sequence[Loop]: ...


@dataclass(frozen=True, slots=True)
class File:
    """A file that may be edited: its module, and what findings call it."""

    module: ir.Module
    name: str


Judge = Callable[[Mapping[ir.Module, str]], Judgement]
"""Analyses again, with other texts in the place of modules. Raises `SourceError`."""


@dataclass(slots=True)
class Proposer:
    """Works out the fixes of one analysis. `files` holds the analysed file first, with its `text`."""

    files: Sequence[File]
    text: str
    before: Judgement
    judge: Judge
    _layouts: dict[ir.Module, Layout] = field(default_factory=dict)

    def propose(self, finding: Finding, draft: Draft) -> Finding:
        """The finding with its fix, if there is one."""
        for remedy in draft.remedies() if draft.remedies is not None else ():
            edits = self._edits(remedy)
            if edits and self._holds(finding, edits):
                return replace(finding, fix=Fix(remedy.title, _applicability(finding, remedy), _sorted(edits)))
        return finding

    def _edits(self, remedy: Remedy) -> dict[File, list[Edit]]:
        try:
            changes = render(remedy.actions, self._home)
        except UnfitError:
            return {}
        found: dict[File, list[Edit]] = {}
        for file in self.files:
            layout = self._layouts.get(file.module)
            if layout is not None and layout in changes:
                found[file] = [Edit(file.name, layout.range(change.span), change.text) for change in changes[layout]]
        return found

    def _home(self, node: ir.Node) -> Layout:
        for file in self.files:
            if file.module in self._layouts:
                if self._layouts[file.module].holds(node.cst):
                    return self._layouts[file.module]
            elif file is self.files[0] or locate(file.module, [node]):
                layout = self._layouts[file.module] = Layout(file.module.cst, self._text(file))
                if layout.holds(node.cst):
                    return layout
        raise UnfitError

    def _text(self, file: File) -> str:
        if file is self.files[0]:
            return self.text
        path = Path(file.module.path)
        try:
            data = read(path)
            return decode(data or b"", path)
        except (OSError, SourceError):
            raise UnfitError from None

    def _holds(self, finding: Finding, edits: Mapping[File, Sequence[Edit]]) -> bool:
        """Whether the analysis finds the law kept after the edits."""
        texts = {file.module: apply(self._layouts[file.module].text, changes) for file, changes in edits.items()}
        try:
            after = self.judge(texts)
        except (OSError, SourceError):
            return False
        return _is_gone(finding, self.before.codes, after.codes) and _still_judged(finding, self.before, after)


def _applicability(finding: Finding, remedy: Remedy) -> Applicability:
    certain = finding.severity is Severity.ERROR
    return Applicability.SAFE if remedy.always_safe or (remedy.safe and certain) else Applicability.UNSAFE


def _sorted(edits: Mapping[File, Sequence[Edit]]) -> tuple[Edit, ...]:
    return tuple(edit for changes in edits.values() for edit in changes)


def _is_gone(finding: Finding, before: Counter[tuple[str, Severity]], after: Counter[tuple[str, Severity]]) -> bool:
    """Whether there is one finding less of this code, and not more of any other. What is only info is no more than
    a remark on code that is right."""
    if _count(after, finding.code, finding.severity) >= _count(before, finding.code, finding.severity):
        return False
    return all(
        _count(after, code, Severity.WARNING) <= _count(before, code, Severity.WARNING)
        for code, severity in after
        if severity >= Severity.WARNING
    )


def _count(codes: Counter[tuple[str, Severity]], code: str, least: Severity) -> int:
    return sum(number for (other, severity), number in codes.items() if other == code and severity >= least)


def _still_judged(finding: Finding, before: Judgement, after: Judgement) -> bool:
    """Whether silence means that the law holds: what could be judged still can be."""
    if len(_figures(after.loops)) < len(_figures(before.loops)):
        return False
    if len(_backwards(after.loops)) < len(_backwards(before.loops)):
        return False
    was, now = set(_exponents(before.loops)), set(_exponents(after.loops))
    if (was and not now) or now - {0} - was:
        return False
    return not was or finding.law not in (Law.GRADIENT, Law.EVERY_STEP) or 0 in now


def _figures(loops: Iterable[Loop]) -> set[object]:
    """The places where a loss is shown whose unit is known."""
    return {
        (reading.figure.node, reading.figure.position)
        for loop in loops
        for reading in loop.readings
        if reading.unit is not None
    }


def _backwards(loops: Iterable[Loop]) -> set[object]:
    """The places where a loss is backpropagated."""
    return {backward.node for loop in loops for backward in loop.high.backwards}


def _exponents(loops: Iterable[Loop]) -> Iterable[int | None]:
    """The power of the window in the gradients of each loop that accumulates and can be judged."""
    return (loop.gradient_exponent for loop in loops if loop.window is not None and loop.gradients_known)
