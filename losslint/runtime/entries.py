"""The ways into the code of a file, the likeliest first. Torch-free."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from losslint.runtime.neighbours import LINES
from losslint.runtime.outline import BACKWARD, FUNCTIONS, LOOPS, STEP, Outline, called_in, calls_in, is_lossy, last_name

_PER_BATCH = frozenset({"forward", "__call__"})
"""Methods that are called once per batch."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One way into the code: a function or method to call, or the module itself. `driven`: the function holds no loop
    of its own and is called once per batch. `file` is the number of the file that it is in."""

    kind: str
    name: str
    owner: str = ""
    driven: bool = False
    file: int = 0


def entries_of(outline: Outline, wanted: Sequence[int]) -> Iterator[Entry]:
    """The ways in, from the innermost function that holds the first wanted line outwards; then what calls for a
    driver; then the module."""
    order: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    at_module = False
    for line in wanted[:1]:
        inner = _innermost(outline, line)
        if inner is None:
            at_module = True
        else:
            order.append(inner)
            order += [f for f in outline.around(inner) if isinstance(f, FUNCTIONS)]
    if not wanted:
        order = [
            f for f in outline.functions if called_in(f) & (BACKWARD | STEP) or f.name == "training_step" or _reports(f)
        ]
        at_module = any(
            isinstance(s, LOOPS) and any(True for _ in calls_in(s)) for s in _module_statements(outline.tree)
        )
    if at_module:
        yield Entry("module", "")
    seen = list(order)
    for function in seen:
        owner = outline.owner(function)
        makers = outline.callers(owner.name) if owner is not None else []
        for caller in [*outline.callers(function.name), *makers]:
            if caller not in seen and len(seen) < 12:
                seen.append(caller)
    if not wanted:
        # a piece that another one runs says nothing by itself
        pieces = {name for f in seen for name in called_in(f) - {f.name}}
        seen = [f for f in seen if f.name not in pieces] or seen
    nested = [f for f in seen if outline.function_of(f) is None]
    if len({line // LINES for line in wanted}) > 1:
        # what is said of several files shows where all of them have a part
        nested.sort(key=lambda f: -_covered(outline, f, wanted))
    whole = [f for f in nested if _trains_in_loop(outline, f)]
    lightning = [f for f in nested if f.name == "training_step" and outline.owner(f) is not None]
    # a trainer runs Lightning's steps, and a model's forward gets one batch
    called = [f for f in lightning if _is_lightning(outline, f)] + [f for f in nested if f.name in _PER_BATCH]
    for function in lightning:
        owner = outline.owner(function)
        assert owner is not None
        yield Entry("lightning", function.name, owner.name, file=function.lineno // LINES)
    for function in [*whole, *(f for f in nested if f not in whole)]:
        if function not in called:
            yield _entry(outline, function, driven=False)
    if not at_module:
        yield Entry("module", "")
    for function in nested:
        if (function not in whole and function not in lightning) or function.name in _PER_BATCH:
            yield _entry(outline, function, driven=True)


def _is_lightning(outline: Outline, function: ast.AST) -> bool:
    owner = outline.owner(function)
    return owner is not None and any(last_name(base) == "LightningModule" for base in owner.bases)


def _reports(function: ast.AST) -> bool:
    return any(isinstance(node, LOOPS) for node in ast.walk(function)) and any(
        is_lossy(name) or name == "criterion" for name in called_in(function)
    )


def _module_statements(tree: ast.Module) -> Iterator[ast.stmt]:
    for statement in tree.body:
        yield statement
        if isinstance(statement, ast.If):
            yield from statement.body


def _trains_in_loop(outline: Outline, function: ast.AST) -> bool:
    return any(
        isinstance(node, LOOPS) and any(called_in(s) & (outline.training | outline.stepping) for s in node.body)
        for node in ast.walk(function)
    )


def _entry(outline: Outline, function: ast.FunctionDef | ast.AsyncFunctionDef, *, driven: bool) -> Entry:
    owner = outline.owner(function)
    if owner is None:
        return Entry("function", function.name, "", driven, function.lineno // LINES)
    # an epoch of a base class is run with the class of another file that fills it in
    heirs = [one for one in outline.classes.values() if owner.name in map(last_name, one.bases)]
    home = next((one for one in heirs if one.lineno // LINES != owner.lineno // LINES), owner)
    return Entry("method", function.name, home.name, driven, home.lineno // LINES)


def _covered(outline: Outline, function: ast.AST, wanted: Sequence[int]) -> int:
    """How many of the wanted lines lie in a function or in what it calls."""
    names: set[str] = set()
    inside: list[ast.AST] = [function]
    for one in inside:
        new = called_in(one) - names
        names |= new
        inside += [f for f in outline.functions if f.name in new]
    spans = [(f.lineno, f.end_lineno or f.lineno) for f in inside if isinstance(f, FUNCTIONS)]
    return sum(any(start <= line <= end for start, end in spans) for line in wanted)


def _innermost(outline: Outline, line: int) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    inside = [f for f in outline.functions if f.lineno <= line <= (f.end_lineno or f.lineno)]
    return max(inside, key=lambda f: f.lineno, default=None)
