"""A file made ready for the tiny world: its own statements with hooks in them, and what its text says of itself.

Torch-free.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType

from losslint.findings import Range
from losslint.runtime.entries import Entry, entries_of
from losslint.runtime.instrument import Instrumenter, Place
from losslint.runtime.intervals import intervals_of
from losslint.runtime.neighbours import LINES, Neighbour
from losslint.runtime.outline import SIMPLE, Outline, bound_by, calls_in, last_name, makes_loss


@dataclass
class Module:
    """A file of a run, ready to be run: which names others get from it, and what its imports lead to (see
    `Neighbour`)."""

    path: Path
    tree: ast.Module
    taken: frozenset[str]
    links: dict[tuple[str, int], int]
    code: CodeType | None = None


@dataclass
class Program:
    """The instrumented file. `windows` and `logs` are the names (and literals) that hold the accumulation window and
    the logging interval; `numbers` are the defaults that the code gives to arguments of the command line,
    `steppers` what steps or is zeroed: an `opt` that is neither holds options; `imports` are the packages that it
    imports. `modules` are the files of its project that a run uses, itself the first; none where it is run by itself.
    `checked` are the wanted lines of which a run says whether it passed them."""

    text: str
    tree: ast.Module
    places: list[Place]
    windows: frozenset[str]
    window_literal: int | None
    logs: frozenset[str]
    entries: tuple[Entry, ...]
    loss_modules: frozenset[str]
    lossy_names: frozenset[str]
    defined: frozenset[str]
    numbers: dict[str, int]
    steppers: frozenset[str]
    imports: frozenset[str]
    modules: tuple[Module, ...] = ()
    checked: frozenset[int] = frozenset()

    def line_name(self, line: int) -> str:
        """A line as it is told."""
        number, line = divmod(line, LINES)
        return f"line {line} of `{self.modules[number].path.name}`" if number else f"line {line}"


def program(
    text: str, filename: str, wanted: Sequence[int], windows: Iterable[str] = (), files: Sequence[Neighbour] = ()
) -> Program:
    """Instruments a file, and the files of its project that a run uses where they are given, itself the first. `wanted`
    are the lines that a run should pass, the most important first; `windows` are names that are known to hold the
    window. Raises `SyntaxError`."""
    trees = [file.tree for file in files] or [ast.parse(text, filename)]
    tree = ast.Module([statement for one in trees for statement in one.body], [])
    outline = Outline(tree)
    intervals = intervals_of(outline, windows)
    lossy = _lossy_names(outline)
    numbers = _numbers(outline)
    entries = tuple(entries_of(outline, wanted))
    hooks = Instrumenter(outline, frozenset(wanted), intervals, lossy)
    loss_modules = frozenset(name for name, node in outline.classes.items() if makes_loss(node))
    imports = _imports(tree)
    instrumented = [ast.fix_missing_locations(hooks.module(one)) for one in trees]
    places = _agreed(hooks.places)
    return Program(
        text,
        instrumented[0],
        places,
        intervals.windows,
        hooks.literal,
        intervals.logs,
        entries,
        loss_modules,
        lossy,
        frozenset(f.name for f in outline.functions) | frozenset(outline.classes),
        numbers,
        _steppers(outline),
        imports,
        tuple(
            Module(file.path, tree, frozenset(file.taken), file.links)
            for file, tree in zip(files, instrumented, strict=True)
        )
        if files
        else (),
        frozenset(hooks.checked),
    )


def made(tree: ast.Module, marks: Sequence[Range]) -> frozenset[str]:
    """The names that the statements at some places bind, or whose methods they call, and other names of the same."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, SIMPLE) or not any(
            node.lineno <= mark.start_line and mark.end_line <= (node.end_lineno or 0) for mark in marks
        ):
            continue
        if isinstance(node, ast.Assign):
            found |= {last_name(name) for target in node.targets for name in bound_by(target)}
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            found |= {last_name(name) for name in bound_by(node.target)}
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            found |= {last_name(function.value)} if isinstance(function, ast.Attribute) else set()
    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    for copy in sorted(assignments, key=lambda node: node.lineno):
        if last_name(_read(copy.value)) in found:
            found |= {last_name(name) for target in copy.targets for name in bound_by(target)}
    return frozenset(found - {"", "self"})


def _read(value: ast.expr) -> ast.expr:
    """What a plain read reads: `total` of `total`, and of `total.item()`."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and not value.args:
        return value.func.value
    return value if isinstance(value, (ast.Name, ast.Attribute)) else ast.Constant(None)


def _agreed(places: list[Place]) -> list[Place]:
    """A condition that is asked twice in the same words has one answer."""
    chosen = {place.text: place.wanted for place in places if place.kind == "if" and place.spans}
    return [
        replace(place, wanted=chosen[place.text]) if place.kind == "if" and place.text in chosen else place
        for place in places
    ]


def _steppers(outline: Outline) -> frozenset[str]:
    found = set()
    for call in calls_in(outline.tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("step", "zero_grad", "unscale_"):
            found |= {last_name(call.func.value), *(last_name(argument) for argument in call.args)}
    return frozenset(found)


def _imports(tree: ast.Module) -> frozenset[str]:
    """The packages that a file imports by name."""
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return frozenset(name.partition(".")[0] for name in found)


def _numbers(outline: Outline) -> dict[str, int]:
    """Whole numbers that `add_argument` gives as defaults."""
    found = {}
    for call in calls_in(outline.tree):
        if last_name(call.func) == "add_argument" and call.args and isinstance(call.args[-1], ast.Constant):
            default = next((w.value for w in call.keywords if w.arg == "default"), None)
            if isinstance(default, ast.Constant) and type(default.value) is int:
                found[str(call.args[-1].value).lstrip("-").replace("-", "_")] = default.value
    return found


def _lossy_names(outline: Outline) -> frozenset[str]:
    """Local names that reach a backward as they are."""
    found = set()
    for call in calls_in(outline.tree):
        if last_name(call.func) not in outline.training:
            continue
        sources: list[ast.AST] = list(call.args)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "backward":
            sources.append(call.func.value)
        for source in sources:
            for node in ast.walk(source):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    found.add(node.id)
    called = {last_name(call.func) for call in calls_in(outline.tree)} | {"self"}
    known = re.compile(r"scaler|accelerator|fabric|model|engine|optim|^torch|args|cfg|config|accum|step|amp$", re.I)
    return frozenset(name for name in found if not known.search(name) and name not in called)
