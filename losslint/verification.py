"""A report with verdicts: each finding that makes a measurable claim is handed to the runtime verifier.

Torch is imported by the verifier's server only.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from losslint import notebooks, selection, source
from losslint.check import Report
from losslint.commands.shared import Exit, misuse, say
from losslint.findings import Finding, Outcome, Verdict
from losslint.notebooks import Notebook
from losslint.output.text import where
from losslint.progress import ProgressBar
from losslint.runtime.emit import EmitError
from losslint.runtime.ledger import Portrait
from losslint.runtime.pictures import picture
from losslint.runtime.plot import PlotError, draw
from losslint.runtime.plot import check as check_plot
from losslint.runtime.pool import Job, Verifier, VerifierError
from losslint.runtime.protocol import Failure
from losslint.runtime.reproduction import reproduced

_PLACE = re.compile(r"(?P<path>.+?)(:cell (?P<cell>[1-9][0-9]*))?:(?P<line>[1-9][0-9]*)(:[0-9]+)?:?")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, as `FILE:LINE` names it, or of a notebook's cell, as `FILE:cell N:LINE` does.

    Without its cell, a line of a notebook is that of any of them.
    """

    path: str
    line: int
    cell: int | None = None

    def __str__(self) -> str:
        return f"{where(self.path, self.cell)}:{self.line}"

    def holds(self, finding: Finding) -> bool:
        """Whether the finding is about this line."""
        in_cell = self.in_file(finding) and self.cell in (None, finding.cell)
        return in_cell and finding.range.start_line <= self.line <= finding.range.end_line

    def in_file(self, finding: Finding) -> bool:
        """Whether the finding lies in this file."""
        return os.path.abspath(finding.path) == os.path.abspath(self.path)


class _PlaceError(Exception):
    """No finding, or more than one, or none that can be shown, where one was meant; the message is for the user."""


def place_of(text: str) -> Place | None:
    """The place that `FILE:LINE`, with a column or without, names; None for the name of a file or folder."""
    match = _PLACE.fullmatch(text)
    return None if match is None or os.path.exists(text) else _place(match)


def _place(match: re.Match[str]) -> Place:
    return Place(match["path"], int(match["line"]), int(match["cell"]) if match["cell"] else None)


def verified(report: Report, options: argparse.Namespace) -> Report | int:
    """The report with verdicts; an exit code where that does not work, or where a script or a picture was wanted."""
    try:
        if options.plot is not None:
            check_plot(options.plot)
        if report.failed and (options.plot is not None or options.emit is not None):
            return Exit.MISUSED
        if not report.failed:
            report = _narrowed(report, options.places)
        jobs = jobs_of(report)
        if (options.plot is not None or options.emit is not None) and len(jobs) != 1:
            raise _PlaceError(_not_one(report, options.places[0]))
        if not jobs:
            return report
        # a script runs on the CPU, whatever there is
        device = options.device if options.emit is None else "cpu"
        with Verifier(device, options.timeout, options.jobs) as verifier:
            _introduce(verifier)
            if options.plot is None and options.emit is None:
                return _judged(report, jobs, verifier)
            ((finding, job),) = jobs.items()
            portrait = verifier.portray(job)
            if isinstance(portrait, Failure):
                raise _PlaceError(f"{options.places[0]}: inconclusive ({portrait.reason.value}): {portrait.detail}")
            if portrait is None:
                raise _PlaceError(f"{options.places[0]}: nothing could be measured that could be shown")
            if options.emit is not None:
                return _emit(finding, portrait, job, verifier, options.emit)
        return _plot(finding, portrait, options.plot)
    except (VerifierError, PlotError, EmitError, _PlaceError) as error:
        return misuse(str(error))


def only_confirmed(report: Report) -> Report:
    """The report without the findings that no run has confirmed."""
    return _filtered(report, lambda one: one.verdict is not None and one.verdict.outcome is Outcome.CONFIRMED)


def _filtered(report: Report, wanted: Callable[[Finding], bool]) -> Report:
    files = (replace(file, findings=tuple(filter(wanted, file.findings))) for file in report.files)
    return replace(report, files=tuple(files))


def _judged(report: Report, jobs: dict[Finding, Job], verifier: Verifier) -> Report:
    findings = list(jobs)
    verdicts = {}
    with ProgressBar("findings") as progress:
        for index, verdict in verifier.verify(list(jobs.values())):
            verdicts[findings[index]] = _located(verdict, jobs[findings[index]].notebook)
            progress(len(verdicts), len(findings))
    files = (
        replace(file, findings=tuple(replace(one, verdict=verdicts.get(one)) for one in file.findings))
        for file in report.files
    )
    return replace(report, files=tuple(files))


def _introduce(verifier: Verifier) -> None:
    """Say once what the verdicts rest on."""
    greeting = verifier.greeting
    device = greeting.device if greeting.hardware == greeting.device else f"{greeting.hardware} ({greeting.device})"
    say(f"verifying on {device} with torch {greeting.torch}, {', '.join(greeting.dtypes)}")
    say(f"isolation: {greeting.isolation}")


def jobs_of(report: Report) -> dict[Finding, Job]:
    """Every finding whose rule makes a claim that can be measured, and what a judge needs of it."""
    claims = {rule.code for rule in selection.rules() if rule.claim is not None}
    claiming = [finding for finding in report.findings if finding.code in claims]
    texts = {path: _text(Path(os.path.abspath(path))) for path in {finding.path for finding in claiming}}
    return {finding: _job(finding, texts[finding.path]) for finding in claiming}


def _text(path: Path) -> str | Notebook:
    """The program of a file, or the notebook that it is; the empty program where it is no longer what was checked."""
    try:
        if not source.is_notebook(path):
            return source.decode(source.read(path) or b"", path)
        notebook = notebooks.parse(source.read(path, notebooks.MAX_BYTES) or b"", path)
    except (OSError, source.SourceError):
        return ""
    if notebook is None:
        return ""
    return notebook.without(cell.number for cell in notebook.cells if not _can_run(cell.text))


def _can_run(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def _job(finding: Finding, program: str | Notebook) -> Job:
    path = Path(os.path.abspath(finding.path))
    if isinstance(program, str):
        return Job(finding, program, path)
    return Job(program.joined(finding), program.text, path, program)


def _located(verdict: Verdict, notebook: Notebook | None) -> Verdict:
    """The verdict on a program in the words of the notebook that it was joined from, if it was."""
    if notebook is None:
        return verdict
    return replace(verdict, detail=notebook.told(verdict.detail), assumes=tuple(map(notebook.told, verdict.assumes)))


def _narrowed(report: Report, places: Sequence[Place]) -> Report:
    """The report with the findings of the places only, if any; raises `_PlaceError` where one of them has none."""
    if not places:
        return report
    for place in places:
        if not any(map(place.holds, report.findings)):
            elsewhere = sorted({(one.cell or 0, one.range.start_line) for one in report.findings if place.in_file(one)})
            hint = f"; there are some at {_lines(elsewhere)}" if elsewhere else ", nor anywhere else in the file"
            raise _PlaceError(f"{place}: no finding there{hint}")
    return _filtered(report, lambda finding: any(place.holds(finding) for place in places))


def _not_one(report: Report, place: Place) -> str:
    codes = ", ".join(sorted({finding.code for finding in report.findings}))
    if len({finding.cell for finding in report.findings}) > 1:
        places = sorted({(finding.cell or 0, finding.range.start_line) for finding in report.findings})
        return f"{place}: several findings, at {_lines(places)}; name one of them as `FILE:cell N:LINE`"
    if len({finding.code for finding in report.findings}) == 1:
        return f"{place}: {codes} makes no claim that can be measured"
    return f"{place}: several findings ({codes}); choose one with `--select`"


def _lines(places: Sequence[tuple[int, int]]) -> str:
    """Lines of a file, each of a cell, which is 0 where there are none."""
    *first, last = [f"cell {cell}:{line}" if cell else str(line) for cell, line in places]
    word = "" if places[-1][0] else "lines " if first else "line "
    return f"{word}{', '.join(first)} and {last}" if first else f"{word}{last}"


def _emit(finding: Finding, portrait: Portrait, job: Job, verifier: Verifier, target: str) -> int:
    """Writes the script, once it has been seen to run."""
    claim = next((rule.claim for rule in selection.rules() if rule.code == finding.code), None)
    assert claim is not None
    try:
        text = reproduced(finding, claim, portrait, lambda script: verifier.try_script(replace(job, text=script)))
    except EmitError as error:
        place = f"{where(finding.path, finding.cell)}:{finding.range.start_line}"
        raise EmitError(f"{place}: no script of {finding.code}: {error}") from error
    if target == "-":
        sys.stdout.write(text)
        return Exit.CLEAN
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EmitError(f"`{target}`: {(error.strerror or 'cannot be written').lower()}") from error
    say(f"wrote `{target}`")
    return Exit.CLEAN


def _plot(finding: Finding, portrait: Portrait, target: Path) -> int:
    claim = next((rule.claim for rule in selection.rules() if rule.code == finding.code), None)
    draw(picture(finding, claim, portrait), target)
    say(f"wrote `{target}`")
    return Exit.CLEAN
