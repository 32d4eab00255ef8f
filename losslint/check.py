"""Drives files through the analysis: gate, parse, judge; in forked workers where that pays, reported by name."""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from losslint import selection, suppressions
from losslint.config import Config, Configs, compile_patterns
from losslint.deepstack import with_deep_stack
from losslint.discovery import Discovery, Target, Trouble, as_target, is_left_out
from losslint.findings import Applicability, Finding, Outcome, Range, Severity
from losslint.source import (
    MAX_BYTES,
    ProjectRoots,
    SourceError,
    SourceFile,
    decode,
    is_notebook,
    load,
    project_roots,
    read,
    worth_opening,
    worth_parsing,
)
from losslint.toolcodes import SYNTAX_ERROR, tool_finding
from losslint.unsaved import unsaved
from losslint.workers import Workers

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

    from losslint.notebooks import Notebook
    from losslint.sightings import NamedUnit

DEPTH_NOTE = "nested too deeply"
"""What the notes of an analysis say that ran out of stack."""
MAX_WORKERS = 8
SECONDS_PER_BYTE = 2.5e-6
"""Parsing and interpreting, measured over files with training loops; only decides how many workers are worth it."""
SECONDS_WORTH_A_WORKER = 0.3
BYTES_BETWEEN_COLLECTIONS = 1 << 20
"""The garbage collector is off while files are analysed; after this much source it runs once."""

Progress = Callable[[int, int], None]
"""Told how many of how many files are done."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for; None and empty leave it to the configuration. `fixes`: findings have theirs."""

    select: tuple[str, ...] | None = None
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    min_severity: Severity | None = None
    fixes: bool = False


@dataclass(frozen=True, slots=True)
class FileReport:
    """What came of one file. `notes` are bounds that were hit; `failure` is why it could not be checked."""

    name: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    failure: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run: every file that was named or found, in the order of the names.

    `hidden` counts the findings that were taken out because a baseline holds them, `fixed` those that were there
    before they were fixed; with `unsafe_fixes`, unsafe fixes are wanted too.
    """

    files: tuple[FileReport, ...]
    troubles: tuple[Trouble, ...] = ()
    hidden: int = 0
    fixed: int = 0
    unsafe_fixes: bool = False

    @property
    def findings(self) -> Iterator[Finding]:
        """All findings, file by file, in the order of their places."""
        for file in self.files:
            yield from file.findings

    def can_fix(self, finding: Finding) -> bool:
        """Whether `--fix` with the options of this run would fix a finding."""
        fix = finding.fix
        return fix is not None and (self.unsafe_fixes or fix.applicability is Applicability.SAFE)

    @property
    def unchecked(self) -> Iterator[tuple[str, str]]:
        """Every path that could not be checked, and why."""
        yield from ((trouble.name, trouble.message) for trouble in self.troubles)
        yield from ((file.name, file.failure) for file in self.files if file.failure is not None)

    @property
    def failed(self) -> bool:
        """Whether anything could not be checked."""
        return any(True for _ in self.unchecked)

    @property
    def broken(self) -> bool:
        """Whether a law is broken; what is only `info`, or refuted, never fails a run."""
        return any(finding.severity > Severity.INFO and not finding.is_withdrawn for finding in self.findings)

    @property
    def undecided(self) -> bool:
        """Whether the verifier was asked for a verdict and could not give one."""
        verdicts = (finding.verdict for finding in self.findings)
        return any(verdict is not None and verdict.outcome is Outcome.INCONCLUSIVE for verdict in verdicts)

    def without(self, is_known: Callable[[Finding], bool]) -> Report:
        """The report without the findings that are known."""
        files = tuple(
            replace(file, findings=tuple(finding for finding in file.findings if not is_known(finding)))
            for file in self.files
        )
        hidden = sum(1 for _ in self.findings) - sum(len(file.findings) for file in files)
        return replace(self, files=files, hidden=self.hidden + hidden)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is asked of one file; `spared` are the selectors that per-file ignores add for it."""

    selection: selection.Selection
    spared: tuple[str, ...]
    min_severity: Severity

    def reports(self, code: str, name: str) -> bool:
        return self.selection.reports(code, name) and not selection.matches(self.spared, code, name)


@dataclass(frozen=True, slots=True)
class _Opened:
    """The bytes of a file, those of its program for a notebook, and whether the gate turned it away."""

    data: bytes
    gated: bool
    notebook: Notebook | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    """A file that has to be looked at; one that is gated, for its suppressions alone."""

    target: Target
    opened: _Opened
    selection: selection.Selection
    min_severity: Severity
    roots: ProjectRoots
    fixes: bool


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a file gave before anything is suppressed; its findings may lie in the files that it calls.

    `complete` says that the analysis came to its end, without a bound that was hit.
    """

    findings: tuple[Finding, ...] = ()
    comments: tuple[suppressions.Suppression, ...] = ()
    notes: tuple[str, ...] = ()
    complete: bool = True
    failure: str | None = None
    detail: str = ""


def check(found: Discovery, configs: Configs, wishes: Wishes, progress: Progress | None = None) -> Report:
    """Check all that was found. An unreadable file, an error of losslint or a worker that dies costs that one file."""
    planner = _Planner(configs, wishes)
    outcomes: dict[int, _Outcome] = {}
    passed: dict[int, _Opened] = {}
    for index, target in enumerate(found.targets):
        opened = _open(target)
        if isinstance(opened, _Outcome):
            outcomes[index] = opened
        else:
            passed[index] = opened
    # a comment may stand for a finding that is too uncertain to be shown, in this file or one that it calls
    commented = any(suppressions.MARK in opened.data for opened in passed.values())
    jobs = {}
    for index, opened in passed.items():
        target = found.targets[index]
        plan = planner.plan(target)
        threshold = Severity.INFO if commented else plan.min_severity
        jobs[index] = _Job(target, opened, plan.selection, threshold, planner.roots(target), wishes.fixes)
    for index, outcome in _run(jobs):
        outcomes[index] = outcome
        if progress is not None:
            progress(len(outcomes), len(found.targets))
    by_target = {target.name: outcomes[index] for index, target in enumerate(found.targets)}
    gated_names = {found.targets[index].name for index, opened in passed.items() if opened.gated}
    return Report(tuple(_reports(found, by_target, gated_names, planner)), tuple(found.troubles))


def check_texts(texts: Mapping[Path, bytes], configs: Configs, wishes: Wishes) -> Report:
    """Check texts in memory, each as if its file (an absolute path) held it, whether the file exists or not.

    What they import is read from `texts` too, else from the disk. Raises `ConfigError`. Who shows lines of the report
    does so inside `unsaved(texts)`.
    """
    targets = sorted((as_target(path, configs) for path in texts), key=lambda one: one.name)
    with unsaved(texts):
        return check(Discovery(targets), configs, wishes)


def units(found: Discovery, configs: Configs) -> tuple[NamedUnit, ...]:
    """The losses that the files name, each with its unit where it stands; a file that cannot be analysed has none."""
    from losslint.sightings import named_units

    planner = _Planner(configs, Wishes())
    seen: dict[NamedUnit, None] = {}
    for target in found.targets:
        opened = _open(target)
        if isinstance(opened, _Opened) and not opened.gated:
            notebook = opened.notebook
            with suppress(SourceError):
                text = decode(opened.data, target.path) if notebook is None else notebook.text
                source = SourceFile(target.path, target.name, text, notebook)
                seen.update(dict.fromkeys(named_units(source, planner.roots(target))))
    return tuple(seen)


@dataclass(slots=True)
class _Planner:
    """Works out the plan of each file; files of one configuration share theirs."""

    configs: Configs
    wishes: Wishes
    _selections: dict[Config, selection.Selection] = field(default_factory=dict)
    _patterns: dict[Config, list[tuple[GitIgnoreSpec, tuple[str, ...]]]] = field(default_factory=dict)

    def plan(self, target: Target) -> _Plan:
        config, wishes = target.config, self.wishes
        if config not in self._selections:
            self._selections[config] = _selection(config, wishes)
        severity = wishes.min_severity or config.min_severity or Severity.WARNING
        return _Plan(self._selections[config], self._spared(target), severity)

    def roots(self, target: Target) -> ProjectRoots:
        folder = target.path.parent
        config = target.config
        return project_roots(target.path, self.configs.project(folder), config.source_roots, config.hints)

    def _spared(self, target: Target) -> tuple[str, ...]:
        config = target.config
        if not config.per_file_ignores or config.root is None:
            return ()
        if config not in self._patterns:
            self._patterns[config] = [
                (compile_patterns([pattern]), codes) for pattern, codes in config.per_file_ignores
            ]
        relative = os.path.relpath(target.path, config.root).replace(os.sep, "/")
        return tuple(code for spec, codes in self._patterns[config] if spec.match_file(relative) for code in codes)


def _selection(config: Config, wishes: Wishes) -> selection.Selection:
    """`--select` starts afresh, over what the configuration selects and ignores; the other options add to it."""
    if wishes.select is not None:
        return selection.Selection(wishes.select + wishes.extend_select, wishes.ignore)
    chosen = selection.EVERYTHING if config.select is None else config.select
    return selection.Selection(
        chosen + config.extend_select + wishes.extend_select,
        config.ignore + wishes.ignore,
    )


def _open(target: Target) -> _Outcome | _Opened:
    """What is in a file, or its outcome where there is nothing to do."""
    taught = target.config.hints.words
    if is_notebook(target.path):
        return _open_notebook(target, taught)
    try:
        data = read(target.path)
    except OSError as error:
        return _Outcome(failure=(error.strerror or "cannot be read").lower())
    if data is None:
        return _too_large(MAX_BYTES)
    gated = not worth_parsing(data, taught)
    return _Outcome() if gated and suppressions.MARK not in data else _Opened(data, gated)


def _open_notebook(target: Target, taught: tuple[bytes, ...]) -> _Outcome | _Opened:
    """What is in a notebook. The bounds and the gate are about its code: its outputs make it large."""
    from losslint import notebooks

    try:
        data = read(target.path, notebooks.MAX_BYTES)
    except OSError as error:
        return _Outcome(failure=(error.strerror or "cannot be read").lower())
    if data is None:
        return _too_large(notebooks.MAX_BYTES)
    if not worth_opening(data, taught) and suppressions.MARK not in data:
        return _Outcome()
    try:
        notebook = notebooks.parse(data, target.path)
    except SourceError as error:
        return _Outcome((_syntax_error(target.name, error),), complete=False)
    if notebook is None:
        return _Outcome(notes=("skipped: its language is not Python",))
    program = notebook.text.encode()
    if len(program) > MAX_BYTES:
        return _too_large(MAX_BYTES)
    gated = not worth_parsing(program, taught)
    return _Outcome() if gated and suppressions.MARK not in program else _Opened(program, gated, notebook)


def _too_large(limit: int) -> _Outcome:
    return _Outcome(notes=(f"skipped: larger than {limit >> 20} MiB",))


def _look(job: _Job) -> _Outcome:
    """The outcome of one file; an error inside losslint becomes its failure."""
    try:
        try:
            outcome = _outcome(job)
        except RecursionError:
            outcome = None
        if outcome is None or any(DEPTH_NOTE in note for note in outcome.notes):
            outcome = with_deep_stack(lambda: _outcome(job))
        return outcome
    except RecursionError:
        return _Outcome(failure="not checked: its code is nested too deeply", detail=traceback.format_exc())
    except Exception as error:
        words = f"{type(error).__name__}: {error}".splitlines()[0]
        failure = f"internal error, not checked ({words}); please report it with the file"
        return _Outcome(failure=failure, detail=traceback.format_exc())


def _outcome(job: _Job) -> _Outcome:
    path, name = job.target.path, job.target.name
    data, notebook = job.opened.data, job.opened.notebook
    comments: tuple[suppressions.Suppression, ...] = ()
    try:
        text = decode(data, path) if notebook is None else notebook.text
        if suppressions.MARK in data:
            comments = suppressions.suppressions(text)
            comments = comments if notebook is None else suppressions.in_cells(comments, notebook)
        if job.opened.gated:
            return _Outcome(comments=comments)
        from losslint.engine import analyze

        rules = [rule for rule in selection.rules() if job.selection.reports(rule.code, rule.name)]
        analysis = analyze(SourceFile(path, name, text, notebook), job.roots, rules, job.min_severity, job.fixes)
    except SourceError as error:
        syntax_errors = () if job.opened.gated else (_syntax_error(name, error),)
        return _Outcome(syntax_errors, comments, complete=False)
    errors = [_syntax_error(name, error) for error in analysis.errors]
    complete = not (analysis.notes or errors)
    return _Outcome((*analysis.findings, *errors), comments, tuple(analysis.notes), complete)


def _tells_more(finding: Finding, known: Finding) -> bool:
    """Whether this account of a finding is better than one from another file: surer, with a number, a longer trail."""

    def worth(one: Finding) -> tuple[int, bool, int]:
        return one.severity, one.factor is not None and one.factor.value is not None, len(one.trail)

    return worth(finding) > worth(known)


def _reports(
    found: Discovery, outcomes: dict[str, _Outcome], gated: set[str], planner: _Planner
) -> Iterator[FileReport]:
    """Each file with the findings that lie in it, whichever file they were found from, by name.

    A finding that several files lead to is one finding. A file that is not among the targets shows what lies in it
    unless it is excluded or ignored.
    """
    names = {os.path.abspath(target.path): target.name for target in found.targets}
    targets = {target.name: target for target in found.targets}
    lying: dict[str, dict[tuple[str, int | None, Range], Finding]] = {name: {} for name in targets}
    for outcome in outcomes.values():
        for finding in outcome.findings:
            name = names.get(os.path.abspath(finding.path), finding.path)
            here = lying.setdefault(name, {})
            place = (finding.code, finding.cell, finding.range)
            known = here.get(place)
            if known is None or _tells_more(finding, known):
                here[place] = finding if finding.path == name else replace(finding, path=name)
    for name in sorted(lying):
        findings = list(lying[name].values())
        if name in targets:
            outcome, plan = outcomes[name], planner.plan(targets[name])
            kept, used = suppressions.apply(findings, outcome.comments)
            if outcome.comments:
                active = _active(plan, name in gated) if outcome.complete else frozenset()
                idle = suppressions.idle(name, outcome.comments, used, selection.catalogue(), active)
                kept += suppressions.apply(idle, outcome.comments)[0]
            yield FileReport(name, _shown(kept, plan), outcome.notes, outcome.failure, outcome.detail)
            continue
        path = Path(os.path.abspath(name))
        if not is_left_out(path, planner.configs):
            plan = planner.plan(Target(path, name, planner.configs.of(path.parent)))
            text = "\n".join(load(path))
            comments = suppressions.suppressions(text) if suppressions.MARK.decode() in text else ()
            yield FileReport(name, _shown(suppressions.apply(findings, comments)[0], plan))


def _active(plan: _Plan, gated: bool) -> frozenset[str]:
    """The codes that were looked for in a file; a file that the gate turned away was not read for syntax errors."""
    codes = {entry.code for entry in selection.catalogue() if plan.reports(entry.code, entry.name)}
    return frozenset(codes - {SYNTAX_ERROR.code} if gated else codes)


def _shown(findings: Sequence[Finding], plan: _Plan) -> tuple[Finding, ...]:
    """The findings that the plan of their file reports, by place."""
    certain = (finding for finding in findings if finding.severity >= plan.min_severity)
    wanted = (finding for finding in certain if plan.reports(finding.code, finding.name) or _unread(plan, finding))
    return tuple(sorted(wanted, key=lambda finding: finding.sort_key))


def _unread(plan: _Plan, finding: Finding) -> bool:
    """Whether the finding says that the file was not read: that is hidden only where somebody ignores it by name."""
    named = finding.code == SYNTAX_ERROR.code
    ignored = selection.matches((*plan.selection.ignore, *plan.spared), finding.code, finding.name)
    return named and not ignored


def _syntax_error(name: str, error: SourceError) -> Finding:
    place = Range(error.line, error.column, error.line, error.column + 1)
    advice = "losslint reads Python 3; nothing in this file was checked"
    return tool_finding(SYNTAX_ERROR, name, place, error.message, advice, error.message, cell=error.cell)


def _run(jobs: dict[int, _Job]) -> Iterator[tuple[int, _Outcome]]:
    """Do the jobs, and give each outcome with the job's index, in the order in which they end."""
    heavy = [index for index, job in jobs.items() if not job.opened.gated]
    number = _workers(sum(len(jobs[index].opened.data) for index in heavy), len(heavy))
    if heavy:
        _warm_up()
    desk = _Desk(jobs)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for index, job in jobs.items():
            # what is read for its suppressions alone is done sooner than handed over
            if number < 2 or job.opened.gated:
                yield index, desk.work(index)
        if number >= 2:
            # the largest first, so that no worker is left with a long last one
            heavy.sort(key=lambda index: -len(jobs[index].opened.data))
            yield from Workers(number, desk.work, desk.lost).run(heavy)
    finally:
        if was_enabled:
            gc.enable()


@dataclass(slots=True)
class _Desk:
    """Where jobs are done, by index, in this process or a worker."""

    jobs: dict[int, _Job]
    uncollected: int = 0

    def work(self, index: int) -> _Outcome:
        """The outcome of one job; collects garbage after every `BYTES_BETWEEN_COLLECTIONS` of source."""
        job = self.jobs[index]
        outcome = _look(job)
        self.uncollected += len(job.opened.data)
        if self.uncollected > BYTES_BETWEEN_COLLECTIONS:
            self.uncollected = 0
            gc.collect()
        return outcome

    def lost(self, index: int, exit_code: int) -> _Outcome:
        """The outcome of a job whose worker died."""
        end = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        return _Outcome(failure=f"not checked: its worker process {end}")


def _workers(size: int, files: int) -> int:
    """How many processes `size` bytes of source are worth."""
    if not hasattr(os, "fork"):
        return 1
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    worth = 1 + int(size * SECONDS_PER_BYTE / SECONDS_WORTH_A_WORKER)
    return min(cpus, MAX_WORKERS, worth, files)


def _warm_up() -> None:
    """Import what every file needs, once and before workers are forked."""
    import losslint.engine  # noqa: F401

    selection.rules()
