"""What the formats for people share: lines of styled pieces, escaping, and where characters stand on a terminal."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum

from losslint.check import Report
from losslint.findings import Applicability, Outcome, Severity

TAB = 4

FIXABLE = "[*] "
"""What marks a finding that `--fix` would take away."""

_KEPT = "\u200c\u200d\u00a0\u3000"
"""Not printable in Python's sense and harmless: the joiners of emoji and scripts, and two spaces."""


class Style(Enum):
    """What a piece of a line is; the value is its look on a terminal, in rich's words."""

    PLAIN = ""
    STRONG = "bold"
    ERROR = "bold red"
    WARNING = "bold yellow"
    INFO = "bold cyan"
    FRAME = "blue"
    TRAIL = "cyan"
    GOOD = "bold green"


Line = Sequence[tuple[str, Style]]
"""One line of output; the pieces hold no line ends and no control characters."""

SEVERITY_STYLES = {Severity.ERROR: Style.ERROR, Severity.WARNING: Style.WARNING, Severity.INFO: Style.INFO}


def plain(text: str) -> Line:
    """A line in one piece without style."""
    return ((text, Style.PLAIN),)


def escape(text: str) -> str:
    """The text without anything that steers a terminal: control and bidirectional characters are spelt out."""
    return text if text.isascii() and text.isprintable() else "".join(map(_escaped, text))


def cells(text: str) -> int:
    """How many terminal cells an escaped text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def shown(text: str) -> tuple[str, list[int]]:
    """A line of source as it is drawn (tabs expanded, escaped), and for each code point the cell it starts at.

    The list has one entry more than the text, for the cell after the last code point.
    """
    if text.isascii() and text.isprintable():
        return text, list(range(len(text) + 1))
    drawn: list[str] = []
    starts = [0]
    for character in text:
        cell = starts[-1]
        piece = " " * (TAB - cell % TAB) if character == "\t" else _escaped(character)
        drawn.append(piece)
        starts.append(cell + cells(piece))
    return "".join(drawn), starts


def clip(text: str, start: int, end: int, width: int) -> tuple[str, int]:
    """As much of a drawn line as `width` cells hold, around the cells `start` to `end`; and how far it moved left.

    What is cut off is marked by `…`, which takes the place of one cell.
    """
    if cells(text) <= width:
        return text, 0
    # a third of the line for what stands before the range
    first = max(0, min(start - width // 3, cells(text) - width)) if end > width else 0
    taken: list[str] = []
    cell = 0
    for character in text:
        size = _width(character)
        if cell >= first and cell + size <= first + width:
            taken.append(character)
        elif cell < first < cell + size:
            # half of a wide character: keep the cells in line
            taken.append(" ")
        cell += size
    if first > 0:
        taken[0] = "…" + " " * (_width(taken[0]) - 1)
    if cell > first + width:
        taken[-1] = "…" + " " * (_width(taken[-1]) - 1)
    return "".join(taken), first


def where(path: str, cell: int | None) -> str:
    """A file as people are told of it; of a notebook, with its code cell."""
    return path if cell is None else f"{path}:cell {cell}"


def endings(report: Report) -> Iterator[Line]:
    """How the run ended, and what of it can be fixed."""
    yield summary(report)
    safe, unsafe = _fixable(report)
    hidden = 0 if report.unsafe_fixes else unsafe
    shown = safe + unsafe - hidden
    if shown:
        option = "`--fix --unsafe-fixes`" if report.unsafe_fixes and unsafe else "`--fix`"
        more = f" ({hidden} more with `--unsafe-fixes`)" if hidden else ""
        yield ((f"{FIXABLE}{shown} fixable with {option}{more}", Style.PLAIN),)
    elif hidden:
        yield ((f"No fix is safe ({hidden} with `--fix --unsafe-fixes`)", Style.PLAIN),)


def _fixable(report: Report) -> tuple[int, int]:
    """How many findings have a safe fix, and how many an unsafe one."""
    kinds = Counter(finding.fix.applicability for finding in report.findings if finding.fix is not None)
    return kinds[Applicability.SAFE], kinds[Applicability.UNSAFE]


def summary(report: Report) -> Line:
    """How the run ended, in one line."""
    findings = [finding for finding in report.findings if not finding.is_withdrawn]
    unchecked = sum(1 for _ in report.unchecked)
    checked = sum(file.failure is None for file in report.files)
    missed = f"; {counted(report.hidden, 'finding')} in the baseline" if report.hidden else ""
    missed += f"; {counted(unchecked, 'path')} could not be checked" if unchecked else ""
    missed += _verdicts(report)
    if not findings:
        words = f"{'Nothing found' if unchecked else 'All clear'}: {counted(checked, 'file')} checked{missed}"
        if report.fixed:
            words = f"Found {counted(report.fixed, 'finding')}, fixed {report.fixed}, none remain{missed}"
        return ((words, Style.STRONG if unchecked else Style.GOOD),)
    by_severity = Counter(finding.severity for finding in findings)
    parts = [_severity_count(severity, by_severity[severity]) for severity in sorted(by_severity, reverse=True)]
    files = counted(len({finding.path for finding in findings}), "file")
    if report.fixed:
        total = counted(report.fixed + len(findings), "finding")
        remain = f"{', '.join(parts)} {'remains' if len(findings) == 1 else 'remain'} in {files}"
        return ((f"Found {total}, fixed {report.fixed}, {remain}{missed}", Style.STRONG),)
    return ((f"Found {', '.join(parts)} in {files}{missed}", Style.STRONG),)


def _verdicts(report: Report) -> str:
    """What the verifier said, where it was asked."""
    outcomes = Counter(finding.verdict.outcome for finding in report.findings if finding.verdict is not None)
    return f"; {', '.join(f'{outcomes[outcome]} {outcome.value}' for outcome in Outcome)}" if outcomes else ""


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _severity_count(severity: Severity, number: int) -> str:
    return f"{number} info" if severity is Severity.INFO else counted(number, severity.label)


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    if character in _KEPT:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _width(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
