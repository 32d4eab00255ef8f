"""`# losslint: ignore[code-or-name] reason` and `# losslint: file-ignore[…]`: what they silence, which are idle."""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from losslint.findings import Finding, Range
from losslint.selection import Entry, nearest
from losslint.toolcodes import UNUSED_SUPPRESSION, tool_finding

if TYPE_CHECKING:
    from losslint.notebooks import Notebook

MARK = b"losslint:"
"""The bytes without which a file holds no suppression."""

_COMMENT = re.compile(r"#\s*losslint:\s*(?P<kind>(?:file-)?ignore)\b\s*(?:\[(?P<codes>[^\]]*)\])?")


@dataclass(frozen=True, slots=True)
class Suppression:
    """One comment. `codes` are as written: codes or names; empty for a comment that names none.

    `cell` is the cell of a notebook whose lines `range` counts.
    """

    range: Range
    text: str
    whole_file: bool
    codes: tuple[str, ...]
    cell: int | None = None

    def covers(self, finding: Finding, code: str) -> bool:
        """Whether this comment silences the finding by way of `code`, one of its codes."""
        if code != finding.name and code.upper() != finding.code:
            return False
        if self.whole_file:
            return True
        here = self.range.start_line in (finding.range.start_line, finding.range.end_line)
        return here and self.cell == finding.cell


def suppressions(text: str) -> tuple[Suppression, ...]:
    """The suppression comments of a file; a `#` in a string is none. What cannot be tokenised ends the search."""
    found: list[Suppression] = []
    for line, column, comment in _comments(text):
        for match in _COMMENT.finditer(comment):
            names = (match["codes"] or "").split(",")
            start = column + match.start()
            found.append(
                Suppression(
                    range=Range(line, start + 1, line, start + len(match.group()) + 1),
                    text=match.group(),
                    whole_file=match["kind"] == "file-ignore",
                    codes=tuple(name.strip() for name in names if name.strip()),
                )
            )
    return tuple(found)


def in_cells(comments: Sequence[Suppression], notebook: Notebook) -> tuple[Suppression, ...]:
    """The comments of a notebook's program as comments of its cells."""
    placed = []
    for comment in comments:
        cell, where = notebook.place(comment.range)
        placed.append(replace(comment, cell=cell, range=where))
    return tuple(placed)


def apply(findings: Sequence[Finding], comments: Sequence[Suppression]) -> tuple[list[Finding], set[tuple[int, str]]]:
    """The findings that no comment silences, and which codes of which comments (by index) silenced one."""
    kept: list[Finding] = []
    used: set[tuple[int, str]] = set()
    for finding in findings:
        by = {
            (index, code)
            for index, comment in enumerate(comments)
            for code in comment.codes
            if comment.covers(finding, code)
        }
        used |= by
        if not by:
            kept.append(finding)
    return kept, used


def idle(
    name: str,
    comments: Sequence[Suppression],
    used: set[tuple[int, str]],
    catalogue: Sequence[Entry],
    active: frozenset[str],
) -> list[Finding]:
    """The LL002 findings of the file `name`.

    `active` are the codes that were looked for in this file: a comment for another code may well be needed in
    another run.
    """
    codes = {spelling: entry.code for entry in catalogue for spelling in (entry.code, entry.name)}
    occurrences: Counter[str] = Counter()
    found: list[Finding] = []

    def report(comment: Suppression, message: str, advice: str) -> None:
        found.append(
            tool_finding(
                UNUSED_SUPPRESSION,
                name,
                comment.range,
                message,
                advice,
                comment.text,
                occurrences[comment.text],
                comment.cell,
            )
        )
        occurrences[comment.text] += 1

    for index, comment in enumerate(comments):
        kind = "file-ignore" if comment.whole_file else "ignore"
        if not comment.codes:
            report(comment, f"`{kind}` without a code suppresses nothing", f"name the code: `{kind}[code-or-name]`")
        unused = []
        for written in comment.codes:
            code = codes.get(written) or codes.get(written.upper())
            if code is None:
                hint = nearest(written, codes)
                report(comment, f"`{kind}` names an unknown code `{written}`{hint}", "name a code of `losslint rules`")
            elif (index, written) not in used and code in active and code != UNUSED_SUPPRESSION.code:
                unused.append(f"`{written}`")
        if unused:
            where = "in this file" if comment.whole_file else "on this line"
            report(comment, f"{_all(unused)} {'is' if len(unused) == 1 else 'are'} not reported {where}", "remove it")
    return found


def _all(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _comments(text: str) -> Iterator[tuple[int, int, str]]:
    """Each comment with its 1-based line and 0-based column."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(text, newline="").readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.start[1], token.string
    except (SyntaxError, tokenize.TokenError):
        # the parser will say so, or reads a newer Python than the one that runs
        return
