"""The script of a finding, seen to run: mended where it breaks, shortened, and compared with the verdict."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from losslint.claims import Claim
from losslint.findings import Finding
from losslint.runtime.emit import FIGURES, Draft, EmitError, draft
from losslint.runtime.ledger import Excerpt, Portrait, Trial
from losslint.runtime.outline import SINKS, called_in
from losslint.runtime.protocol import Failure
from losslint.runtime.scriptworld import Piece

MOST_LINES = 120
"""Lines of a script that somebody still reads."""
_MOST_MENDS = 15
_NUMBER = re.compile(r"^measured (.*)$", re.MULTILINE)
_EXPECTED = re.compile(r"^expected (.*)$", re.MULTILINE)
_TOLERANCE = 1e-4
_SLACK = {Claim.GRAPHS_ALIVE: 1.0}
"""The graph of the batch that is under way counts or not, as the moment is when they are counted."""

Try = Callable[[str], "Trial | Failure"]


def reproduced(finding: Finding, claim: Claim, portrait: Portrait, try_script: Try) -> str:
    """The script for a finding, which prints the number that was measured and the one that it should be. `try_script`
    runs a script where it does no harm. Raises `EmitError`."""
    made = _shortened(*seen_to_run(finding, claim, portrait, try_script), try_script)
    if made.length > MOST_LINES:
        raise EmitError(f"the statements of the finding make a script of {made.length} lines, more than {MOST_LINES}")
    return made.text()


def seen_to_run(finding: Finding, claim: Claim, portrait: Portrait, try_script: Try) -> tuple[Draft, Trial]:
    """A script of any length that prints the numbers, and what it did. Raises `EmitError`."""
    made, trial = _mended(draft(finding, claim, portrait), try_script)
    if claim is Claim.GRADIENT_SCALE and portrait.predicted is None and _apart(claim, portrait, trial.printed):
        made, trial = _mended(replace(made, changes=True), try_script)
    apart = _apart(claim, portrait, trial.printed)
    if apart:
        raise EmitError(apart)
    return made, trial


def _mended(made: Draft, try_script: Try) -> tuple[Draft, Trial]:
    """The draft with stand-ins for what breaks, and what it does then."""
    mends = 0
    while True:
        text = made.text()
        trial = try_script(text)
        if isinstance(trial, Failure):
            raise EmitError(f"the script does not come to an end: {trial.detail}")
        if not trial.error:
            return made, trial
        mend = _mend(made.excerpt, text, trial)
        mends += 1
        if mend is None or mends > _MOST_MENDS:
            raise EmitError(f"the statements do not run with torch alone: {trial.error}")
        made = replace(made, excerpt=mend)


def _apart(claim: Claim, portrait: Portrait, printed: str) -> str:
    """What a script prints other than what was measured; empty where that is the same."""
    measured, expected = _NUMBER.search(printed), _EXPECTED.search(printed)
    if measured is None or expected is None:
        return "the script does not get to its two numbers"
    if measured[1] == expected[1]:
        return f"the script shows nothing wrong: measured and expected are {measured[1]}"
    if claim in _OTHERWISE or portrait.measured is None:
        return ""
    number = float(measured[1])
    slack = _SLACK.get(claim, _TOLERANCE * max(1e-9, abs(portrait.measured)))
    if abs(number - portrait.measured) <= slack:
        return ""
    return f"the script measures {number:g}, and the verdict rests on {portrait.measured:g}"


_OTHERWISE = frozenset({Claim.SCALER_ORDER, Claim.MICRO_BATCH_RATIO})
"""Claims whose script prints other numbers than the verdict: one for each call; a ratio in one window of several."""


# ---------------------------------------------------------------- mending


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the two texts of an excerpt, and the line of the script on which it begins."""

    name: str
    text: str
    start: int
    indent: int


def _parts(excerpt: Excerpt, text: str) -> Iterator[_Part]:
    lines = text.split("\n")
    marked = next(number for number, line in enumerate(lines, 1) if line.startswith("# the statements of "))
    if excerpt.source:
        yield _Part("source", excerpt.source, marked + 1, 0)
    body = excerpt.body.split("\n")
    for number in range(marked, len(lines)):
        if [line[4:] for line in lines[number : number + len(body)]] == body:
            yield _Part("body", excerpt.body, number + 1, 4)
            return


def _mend(excerpt: Excerpt, text: str, trial: Trial) -> Excerpt | None:
    """The excerpt without the statement at which a trial broke, whose names then hold anything."""
    parts = list(_parts(excerpt, text))
    for line in reversed(trial.lines):
        for part in parts:
            tree = ast.parse(part.text)
            place = line - part.start + 1
            broken = [
                node
                for node in ast.walk(tree)
                if isinstance(node, _MENDED) and node.lineno <= place <= (node.end_lineno or 0)
            ]
            if broken:
                if _is_protected(broken[-1]) or called_in(broken[-1]) & _defined(parts):
                    return None
                return _with(excerpt, part.name, _without(tree, broken[-1], stands=True))
    return None


_MENDED = (ast.Assign, ast.AnnAssign, ast.Expr, ast.Return, ast.AugAssign, ast.With)


def _defined(parts: Sequence[_Part]) -> set[str]:
    """The names of what the statements define."""
    nodes = (node for part in parts for node in ast.walk(ast.parse(part.text)))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _is_protected(statement: ast.stmt) -> bool:
    """Whether a statement is what the script is about."""
    if isinstance(statement, (ast.Assign, ast.Delete)):
        return any(isinstance(one, ast.Attribute) and one.attr == "grad" for one in ast.walk(statement))
    return bool(called_in(statement) & (SINKS | {"show", "main"}))


def _without(tree: ast.Module, statement: ast.stmt, *, stands: bool) -> str:
    """The source of a tree without one statement, which may leave its names holding anything."""
    targets: list[ast.expr] = []
    if stands and isinstance(statement, ast.Assign):
        targets = statement.targets
    already = isinstance(statement, ast.Assign) and ast.unparse(statement.value) == "Anything()"

    class Remover(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            if node is statement:
                anything = ast.Call(ast.Name("Anything", ast.Load()), [], [])
                if stands and isinstance(statement, ast.Return):
                    return ast.Return(anything)
                return ast.Assign(targets, anything) if targets and not already else None
            return super().visit(node)

    Remover().visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.For, ast.While, ast.With, ast.FunctionDef, ast.ClassDef)) and not node.body:
            node.body = [ast.Pass()]
    return ast.unparse(ast.fix_missing_locations(tree))


# ---------------------------------------------------------------- shortening


def _shortened(made: Draft, first: Trial, try_script: Try) -> Draft:
    """The draft without what it prints the same without: statements that only surround what it shows, and pieces of
    the world. Where that is still too long for a reader, anything takes the place of what goes into the rest."""

    def same(other: Draft) -> bool:
        trial = try_script(other.text())
        return isinstance(trial, Trial) and not trial.error and trial.printed == first.printed

    def stripped(made: Draft, *, stands: bool, acting: bool = False) -> Draft:
        for name in ("source", "body"):
            place = 0
            while True:
                tree = ast.parse(getattr(made.excerpt, name))
                loose = [one for one in _statements(tree, acting=acting) if not (stands and _is_anything(one))]
                if place >= len(loose):
                    break
                text = _without(tree, loose[place], stands=stands)
                other = replace(made, excerpt=_tidy(_with(made.excerpt, name, text)))
                if same(other):
                    made = other
                else:
                    place += 1
        return made

    def bare(made: Draft) -> Draft:
        trial = try_script(made.text())
        for pieces in _idle(made, trial) if isinstance(trial, Trial) else ():
            other = replace(made, world=tuple(piece for piece in made.world if piece not in pieces))
            if len(other.world) < len(made.world) and same(other):
                made = other
        return made

    made = bare(stripped(replace(made, excerpt=_tidy(made.excerpt)), stands=False))
    if made.length > MOST_LINES:
        made = bare(stripped(stripped(made, stands=True), stands=False))
    if made.length > MOST_LINES and made.claim in FIGURES:
        # a report is the same without the steps
        made = bare(stripped(made, stands=False, acting=True))
    return made


def _idle(made: Draft, trial: Trial) -> Iterator[list[Piece]]:
    """The optional pieces of the world that a trial did not call: those that only hold functions, then one by one."""
    idle = [
        piece for piece, lines in _spans(made) if piece.optional and not any(line in lines for line in trial.called)
    ]
    yield [piece for piece in idle if re.search(r"\bdef |lambda", piece.text)]
    yield from ([piece] for piece in idle)


def _spans(made: Draft) -> Iterator[tuple[Piece, range]]:
    """The pieces of the world, and the lines of the script on which they stand."""
    lines = made.text().split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("WINDOW"))
    for piece in made.world:
        count = sum(bool(line.strip()) for line in piece.text.split("\n"))
        start = at
        while count:
            count -= bool(lines[at].strip())
            at += 1
        yield piece, range(start + 1, at + 1)


def _statements(tree: ast.Module, *, acting: bool) -> list[ast.stmt]:
    """The statements of a tree that may go, the last first: nothing that comes before one needs it. `acting`: also
    those that touch gradients."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and (acting or not _is_protected(node))]
    loose = [one for one in found if not isinstance(one, (ast.Pass, ast.FunctionDef, ast.Break, ast.Continue))]
    return sorted(loose, key=lambda one: -one.lineno)


def _is_anything(statement: ast.stmt) -> bool:
    """Whether a statement is no assignment, or one of anything already."""
    return not isinstance(statement, ast.Assign) or ast.unparse(statement.value) == "Anything()"


def _with(excerpt: Excerpt, name: str, text: str) -> Excerpt:
    """An excerpt with another `source` or `body`."""
    return replace(excerpt, source=text) if name == "source" else replace(excerpt, body=text)


def _tidy(excerpt: Excerpt) -> Excerpt:
    """An excerpt without definitions, and without stand-ins for names, that nothing speaks of any more."""
    tree = ast.parse(excerpt.source)
    for node in list(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            others = "\n".join(ast.unparse(one) for one in tree.body if one is not node)
            if node.name not in _words(others, excerpt.body, *excerpt.stubs.values()):
                tree.body.remove(node)
    source = "\n\n\n".join(map(ast.unparse, tree.body))
    words = _words(source, excerpt.body, *excerpt.stubs.values())
    return replace(
        excerpt, source=source, stubs={name: value for name, value in excerpt.stubs.items() if name in words}
    )


def _words(*texts: str) -> set[str]:
    return set(re.findall(r"\w+", "\n".join(texts)))
