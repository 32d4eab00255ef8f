"""One file through the pipeline: text -> tree -> IR -> loops -> rules -> findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from losslint.findings import Finding, Range, Severity, TrailStep
from losslint.fingerprints import fingerprint
from losslint.source import ProjectRoots, SourceError, SourceFile, decode, project_roots

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop
    from losslint.interpreter.program import Program
    from losslint.lowering import ir
    from losslint.notebooks import Notebook
    from losslint.project import Project
    from losslint.registry import Draft, Mark, Rule


@dataclass(frozen=True, slots=True)
class Analysis:
    """The findings of one file, and the bounds that its analysis ran into.

    `errors` are the cells of a notebook that do not parse: the others were analysed without them.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    subjects: int = 0
    errors: tuple[SourceError, ...] = ()


@dataclass(frozen=True, slots=True)
class _Judged:
    """A draft with the rule it comes from and the fork it was made in; none for what holds before anything runs."""

    rule: Rule
    draft: Draft
    loop: Loop | None


def analyze(
    source: SourceFile, project: ProjectRoots, rules: Sequence[Rule], min_severity: Severity, fixes: bool = False
) -> Analysis:
    """Lints one file. Raises `SourceError` where it does not parse.

    With `fixes` findings have their fix, which costs an analysis more for each remedy that is tried. Findings in a
    notebook are in its cells. One that does not parse is left out, and the rest is analysed.
    """
    from losslint.interpreter.explore import Explorer
    from losslint.interpreter.program import Program, is_model

    home = project_of(project)
    errors: tuple[SourceError, ...] = ()
    try:
        module = home.add(source)
    except SourceError:
        if source.notebook is None:
            raise
        source, errors = _without_broken_cells(source, source.notebook)
        module = home.add(source)
    line_name = "line {}".format if source.notebook is None else source.notebook.line_name
    program = Program(home, module, line_name)
    explorer = Explorer(program)
    loops = explorer.explore()
    notes = (*explorer.notes, *home.notes)
    located = _located(_judge(program, loops, rules, min_severity), source, home, module)
    findings = _with_fixes(located, source, program, loops) if fixes else [finding for finding, _ in located]
    if source.notebook is not None:
        findings = [source.notebook.located(one, source.name) for one in findings]
    subjects = sum(loop.subjects for loop in loops) + sum(map(is_model, module.classes))
    return Analysis(tuple(sorted(findings, key=lambda f: f.sort_key)), notes, subjects, errors)


def _judge(program: Program, loops: Sequence[Loop], rules: Sequence[Rule], min_severity: Severity) -> list[_Judged]:
    """What the rules say, one word for each place."""
    judged = [
        _Judged(rule, draft, loop)
        for loop in loops
        for rule in rules
        if rule.check is not None
        for draft in rule.check(loop)
        if draft.severity >= min_severity
    ]
    judged += [
        _Judged(rule, draft, None)
        for rule in rules
        if rule.examine is not None
        for draft in rule.examine(program)
        if draft.severity >= min_severity
    ]
    return [one for one in _merged(judged) if one.draft.severity >= min_severity]


def _without_broken_cells(source: SourceFile, notebook: Notebook) -> tuple[SourceFile, tuple[SourceError, ...]]:
    """The notebook with the cells blank that do not parse, and why they do not."""
    from losslint.project import parse

    errors = []
    for cell in notebook.cells:
        try:
            parse(SourceFile(source.path, source.name, cell.text))
        except SourceError as error:
            errors.append(SourceError(source.path, error.line, error.column, error.message, cell.number))
    sound = notebook.without(error.cell for error in errors if error.cell is not None)
    return replace(source, text=sound.text, notebook=sound), tuple(errors)


@lru_cache(maxsize=4)
def project_of(project: ProjectRoots) -> Project:
    """The files of one project share what they import."""
    from losslint.project import Project

    return Project(project.roots, project.hints)


def analyze_path(path: Path, fixes: bool = False) -> list[Finding]:
    """Lints one file with every rule, at every severity: what tests and tools use."""
    return list(_analyze_path(path, fixes).findings)


def subjects(path: Path) -> int:
    """How many backwards, figures and accumulators the analysis found in a file."""
    return _analyze_path(path).subjects


def _analyze_path(path: Path, fixes: bool = False) -> Analysis:
    from losslint.registry import rules

    source = SourceFile(path, path.as_posix(), decode(path.read_bytes(), path))
    return analyze(source, project_roots(path, None, ()), rules(), Severity.INFO, fixes)


# ---------------------------------------------------------------- forks


def _merged(judged: Iterable[_Judged]) -> list[_Judged]:
    """One finding per rule and place. A law that is broken only where the user chooses a mode is a level less certain
    than one that is broken always, or only while debugging."""
    groups: dict[tuple[str, int], list[_Judged]] = {}
    for one in judged:
        groups.setdefault((one.rule.code, id(one.draft.node)), []).append(one)
    result = []
    for group in groups.values():
        best = max(group, key=lambda one: one.draft.severity)
        family = [] if best.loop is None else best.loop.siblings or [best.loop]
        reached = [loop for loop in family if _reaches(loop, best.draft.node)]
        partly = len({id(one.loop) for one in group}) < len(reached)
        if best.loop is not None and partly and _is_mode(best.loop, reached, group):
            severity = Severity(max(best.draft.severity - 1, Severity.INFO))
            best = replace(best, draft=replace(best.draft, severity=severity))
        result.append(best)
    return result


def _reaches(loop: Loop, node: ir.Node) -> bool:
    """Whether a fork gets to a place at all: one that does not says nothing about it."""
    worlds = (loop.base, loop.high)
    return any(
        record.node is node
        for world in worlds
        for records in (world.backwards, world.steps, world.figures, world.events, world.zeroings, world.retained)
        for record in records
    ) or any(
        step.node is node or step.entry is node for world in worlds for figure in world.figures for step in figure.steps
    )


def _is_mode(loop: Loop, reached: Sequence[Loop], group: Sequence[_Judged]) -> bool:
    """Whether the forks that disagree differ in something the user chooses, and not in debugging or rank."""
    from losslint.interpreter.roles import is_debug

    clean = [other for other in reached if other not in {one.loop for one in group}]
    for other in clean:
        differing = [atom for atom, taken in loop.decisions.items() if other.decisions.get(atom) is not taken]
        if any(not is_debug(str(atom)) for atom in differing):
            return True
    return False


# ---------------------------------------------------------------- places


def _located(
    chosen: Sequence[_Judged], source: SourceFile, project: Project, module: ir.Module
) -> list[tuple[Finding, Draft]]:
    if not chosen:
        return []
    wanted = [one.draft.node for one in chosen]
    for one in chosen:
        wanted += [mark.node for mark in (*one.draft.trail, *one.draft.related)]
    places = places_of(wanted, source, project, module)
    seen: dict[tuple[str, str, str], int] = {}
    findings = []
    for one in sorted(chosen, key=lambda one: _order(places, one.draft.node)):
        place = places.get(id(one.draft.node))
        if place is None:
            continue
        path, where, statement = place
        key = (one.rule.code, path, statement)
        occurrence = seen[key] = seen.get(key, -1) + 1
        draft = one.draft
        finding = Finding(
            one.rule.code,
            one.rule.name,
            draft.severity,
            one.rule.law,
            draft.message,
            path,
            where,
            draft.factor,
            trail_steps(draft.trail, places),
            trail_steps(draft.related, places),
            draft.help,
            fingerprint(one.rule.code, path, statement, occurrence),
            statement=statement,
        )
        findings.append((finding, draft))
    return _unique(findings)


def _order(places: dict[int, tuple[str, Range, str]], node: ir.Node) -> tuple[str, Range]:
    place = places.get(id(node))
    return (place[0], place[1]) if place is not None else ("", Range(0, 0, 0, 0))


def _unique(findings: Iterable[tuple[Finding, Draft]]) -> list[tuple[Finding, Draft]]:
    """One finding per code and line: a helper called twice is wrong once."""
    result: dict[tuple[str, str, int], tuple[Finding, Draft]] = {}
    for finding, draft in findings:
        key = (finding.code, finding.path, finding.range.start_line)
        known = result.get(key)
        if known is None or finding.severity > known[0].severity:
            result[key] = (finding, draft)
    return list(result.values())


def trail_steps(marks: Iterable[Mark], places: dict[int, tuple[str, Range, str]]) -> tuple[TrailStep, ...]:
    steps = []
    for mark in marks:
        place = places.get(id(mark.node))
        if place is not None:
            steps.append(TrailStep(place[0], place[1], mark.message, mark.unit))
    return tuple(steps)


def places_of(
    nodes: Sequence[ir.Node], source: SourceFile, project: Project, module: ir.Module
) -> dict[int, tuple[str, Range, str]]:
    """Where each node stands: its file, its range, and its statement."""
    from losslint.lowering.positions import locate, statement_of

    found: dict[int, tuple[str, Range, str]] = {}
    missing = list({id(node): node for node in nodes}.values())
    for home in [module, *(other for other in project.loaded if other is not module)]:
        if not missing:
            break
        ranges = locate(home, missing)
        name = source.name if home is module else _relative(home.path)
        for node in missing:
            where = ranges.get(id(node))
            if where is not None:
                found[id(node)] = (name, where, statement_of(home, node))
        missing = [node for node in missing if id(node) not in found]
    return found


# ---------------------------------------------------------------- fixes


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What every rule says of a text, and the loops that it was read from."""

    codes: Counter[tuple[str, Severity]]
    loops: Sequence[Loop]


def _with_fixes(
    located: Sequence[tuple[Finding, Draft]],
    source: SourceFile,
    program: Program,
    loops: Sequence[Loop],
) -> list[Finding]:
    """The findings with their fixes, where there are some."""
    if all(draft.remedies is None for _, draft in located):
        return [finding for finding, _ in located]
    from losslint.fixes.propose import File, Proposer
    from losslint.interpreter.explore import Explorer
    from losslint.interpreter.program import Program

    module, project = program.module, program.project
    others = [other for other in project.loaded if other is not module]
    files = [File(module, source.name), *(File(other, _relative(other.path)) for other in others)]

    def judge(texts: Mapping[ir.Module, str]) -> _Judgement:
        """Analyses the file again with other texts, and puts the modules back. What other files say by themselves
        after they are edited, and did not say before, counts too."""
        worse: Counter[tuple[str, Severity]] = Counter()
        try:
            for other, text in texts.items():
                if other is not module:
                    before = _codes(Program(project, project.load(Path(other.path))))
                    edited = project.add(SourceFile(Path(other.path), _relative(other.path), text))
                    worse += _codes(Program(project, edited)) - before
            edited = project.add(replace(source, text=texts.get(module, source.text)))
            again = Program(project, edited, program.line_name)
            after = _judgement(again, Explorer(again).explore())
            return replace(after, codes=after.codes + worse)
        finally:
            for other in (*texts, module):
                project.restore(other)

    proposer = Proposer(files, source.text, _judgement(program, loops), judge)
    return [proposer.propose(finding, draft) for finding, draft in located]


def _codes(program: Program) -> Counter[tuple[str, Severity]]:
    """What every rule says of one module by itself."""
    from losslint.interpreter.explore import Explorer

    return _judgement(program, Explorer(program).explore()).codes


def _judgement(program: Program, loops: Sequence[Loop]) -> _Judgement:
    from losslint.registry import rules

    chosen = _judge(program, loops, rules(), Severity.INFO)
    return _Judgement(Counter((one.rule.code, one.draft.severity) for one in chosen), loops)


def _relative(path: str) -> str:
    try:
        return Path(path).relative_to(Path.cwd()).as_posix()
    except ValueError:
        return Path(path).as_posix()
