"""For people: each finding with its code drawn, the trail as labelled lines in the order of the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from losslint.check import Report
from losslint.findings import Applicability, Finding, Law, Range, TrailStep
from losslint.notebooks import lines_of
from losslint.output.text import FIXABLE, SEVERITY_STYLES, Line, Style, cells, clip, endings, escape, shown, where
from losslint.output.verdicts import long

LAWS = {
    Law.GRADIENT: "gradient: over one window the gradients sum to the mean",
    Law.REPORT: "report: what is reported as the loss is the true mean",
    Law.EVERY_STEP: "every-step: what holds on one path through the loop holds on every path",
    Law.PRECISION: "precision: the AMP scale is taken off exactly once, before the gradients are used",
    Law.ORDER: "order: zero, backward and step come in the order that makes one step",
    Law.GRAPH: "graph: the loss that backward gets is joined to the parameters by functions that have a gradient",
    Law.CONTRACT: "contract: a loss function is given what it is defined on",
    Law.MODE: "mode: layers train while the model trains, and do not while it is judged",
    Law.SETUP: "set-up: the optimizer holds what the model computes with",
    Law.USE: "",
}
"""Each law in a line; errors of use break none."""

_MOST_LINES = 6
"""A longer statement is drawn by its head and its last line."""


_Sources = dict[tuple[str, int | None], tuple[str, ...]]
"""The lines of each file, or cell of a notebook."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A piece of a line to be underlined, in 1-based code-point columns; `end` is None for the end of the line."""

    start: int
    end: int | None
    label: str
    primary: bool


@dataclass(slots=True)
class _Block:
    """What is drawn of one file, or one cell of a notebook: where it points to, and the marks of each of its lines."""

    path: str
    cell: int | None
    place: tuple[int, int]
    marks: dict[int, list[_Mark]] = field(default_factory=dict)

    def add(self, line: int, mark: _Mark) -> None:
        self.marks.setdefault(line, []).append(mark)


def render(report: Report, width: int) -> Iterator[Line]:
    """Every finding, an empty line after each, and how the run ended."""
    sources: _Sources = {}
    for finding in report.findings:
        yield from _finding(finding, sources, width, report.can_fix(finding))
        yield ()
    yield from endings(report)


def _finding(finding: Finding, sources: _Sources, width: int, fixable: bool) -> Iterator[Line]:
    style = SEVERITY_STYLES[finding.severity]
    yield (
        (f"{finding.severity.label}[{finding.code}] {finding.name}", style),
        (": ", Style.STRONG),
        (FIXABLE if fixable else "", Style.TRAIL),
        (escape(finding.message), Style.STRONG),
    )
    blocks = _blocks(finding)
    gutter = max(len(str(line)) for block in blocks for line in block.marks)
    for number, block in enumerate(blocks):
        home = (block.path, block.cell)
        if home not in sources:
            sources[home] = lines_of(*home)
        arrow = "-->" if number == 0 else ":::"
        line, column = block.place
        place = f"{escape(where(*home))}:{line}:{column}"
        yield ((f"{' ' * gutter}{arrow} ", Style.FRAME), (place, Style.PLAIN))
        yield from _code(block, sources[home], gutter, width, style)
    for word, text in _notes(finding):
        yield ((f"{' ' * gutter} = ", Style.FRAME), (f"{word}: ", Style.STRONG), (escape(text), Style.PLAIN))


def _notes(finding: Finding) -> Iterator[tuple[str, str]]:
    if finding.factor is not None:
        yield "factor", finding.factor.text
    if LAWS[finding.law]:
        yield "law", LAWS[finding.law]
    if finding.help:
        yield "help", finding.help
    if finding.verdict is not None:
        yield "verdict", long(finding.verdict)
        if finding.verdict.assumes:
            yield "assumes", "; ".join(finding.verdict.assumes)
    if finding.fix is not None:
        yield "fix" if finding.fix.applicability is Applicability.SAFE else "unsafe fix", finding.fix.title
    yield "page", f"losslint explain {finding.code}"


def _blocks(finding: Finding) -> list[_Block]:
    """The finding's own file or cell first, then each other one that the trail or a related place leads to."""
    own = _Block(finding.path, finding.cell, (finding.range.start_line, finding.range.start_column))
    blocks = {(finding.path, finding.cell): own}
    label = ""
    for number, step in enumerate(finding.trail, start=1):
        words = _label(step, number if len(finding.trail) > 1 else None)
        if (step.path, step.cell, step.range) == (finding.path, finding.cell, finding.range):
            label = f"{label}; {words}" if label else words
        else:
            _step(blocks, step, words)
    for step in finding.related:
        _step(blocks, step, _label(step, None))
    for line, mark in _spread(finding.range, label):
        own.add(line, mark)
    return list(blocks.values())


def _step(blocks: dict[tuple[str, int | None], _Block], step: TrailStep, label: str) -> None:
    start = (step.range.start_line, step.range.start_column)
    block = blocks.setdefault((step.path, step.cell), _Block(step.path, step.cell, start))
    end = step.range.end_column if step.range.end_line == step.range.start_line else None
    block.add(step.range.start_line, _Mark(step.range.start_column, end, label, primary=False))


def _label(step: TrailStep, number: int | None) -> str:
    words = f"{step.message} → {step.unit}" if step.unit else step.message
    return words if number is None else f"{number}. {words}"


def _spread(place: Range, label: str) -> Iterator[tuple[int, _Mark]]:
    """The finding's own range, a mark for each of its lines; the last one carries the label."""
    lines = list(range(place.start_line, place.end_line + 1))
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], lines[-1]]
    for line in lines:
        start = place.start_column if line == place.start_line else 1
        end = place.end_column if line == place.end_line else None
        yield line, _Mark(start, end, label if line == lines[-1] else "", primary=True)


def _code(block: _Block, source: Sequence[str], gutter: int, width: int, style: Style) -> Iterator[Line]:
    bar = f"{' ' * gutter} | "
    yield ((bar.rstrip(), Style.FRAME),)
    before: int | None = None
    for line in sorted(block.marks):
        if before is not None and line == before + 2:
            # a single line between two marked ones takes no more room than the dots
            yield from _source_line(before + 1, source, (), gutter, width, style)
        elif before is not None and line > before + 2:
            yield (("...", Style.FRAME),)
        marks = sorted(block.marks[line], key=lambda mark: (not mark.primary, mark.start))
        yield from _source_line(line, source, marks, gutter, width, style)
        before = line
    yield ((bar.rstrip(), Style.FRAME),)


def _source_line(
    line: int, source: Sequence[str], marks: Sequence[_Mark], gutter: int, width: int, style: Style
) -> Iterator[Line]:
    text = source[line - 1] if line <= len(source) else ""
    drawn, starts = shown(text)
    spans = [_cells(mark, text, starts) for mark in marks]
    room = max(width - gutter - 3, 20)
    start, end = spans[0] if spans else (0, 0)
    visible, moved = clip(drawn, start, end, room)
    number = ((f"{line:>{gutter}} |", Style.FRAME),)
    yield (*number, (f" {visible}", Style.PLAIN)) if visible.strip() else number
    for mark, (start, end) in zip(marks, spans, strict=True):
        left = max(start - moved, 0)
        size = max(min(end - moved, cells(visible)) - left, 1)
        look = style if mark.primary else Style.TRAIL
        underline = ("^" if mark.primary else "-") * size
        label = f" {escape(mark.label)}" if mark.label else ""
        yield ((f"{' ' * gutter} | ", Style.FRAME), (" " * left, Style.PLAIN), (underline + label, look))


def _cells(mark: _Mark, text: str, starts: list[int]) -> tuple[int, int]:
    """The cells from the mark's first to behind its last character; blanks at the edges of a line are left out."""
    last = len(starts) - 1
    start = min(mark.start - 1, last)
    end = last if mark.end is None else min(mark.end - 1, last)
    if mark.end is None:
        end = max(len(text.rstrip()), start)
    if mark.start == 1:
        start = max(start, min(len(text) - len(text.lstrip()), end))
    return starts[start], starts[end]
