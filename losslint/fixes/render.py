"""Remedies into edits of the text: indentation, comments, line ends and parentheses are kept or made right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import libcst as cst

from losslint.fixes.layout import Layout, Span, Statement, UnfitError, block_of, names_in
from losslint.lowering import ir
from losslint.remedies import Action, Binding, Delete, Insert, Move, Replace, Rewrite, Text, Unscale, Where

_HARMLESS = frozenset({"len", "isnan", "isinf", "isfinite", "any", "all", "item"})
"""Calls that do nothing but give a value."""

_NEWLINE = re.compile(r"\r\n?|\n")


_SCALING_METHODS = frozenset({"div", "divide", "true_divide", "mul", "multiply"})


@dataclass(frozen=True, slots=True)
class Change:
    """A piece of one file's text and what takes its place."""

    span: Span
    text: str


@dataclass(slots=True)
class _Draft:
    """What the actions of one remedy have asked for so far, in one file.

    `removed` are statements that go with their lines, each with the comment that stays in its place; those of them
    that are `moved` take the comments above them along. `filled` are blocks that something new was put into.
    """

    layout: Layout
    changes: list[Change] = field(default_factory=list)
    removed: dict[cst.BaseStatement, str] = field(default_factory=dict)
    moved: set[cst.BaseStatement] = field(default_factory=set)
    filled: set[cst.CSTNode] = field(default_factory=set)


Home = Callable[[ir.Node], Layout]
"""The layout of the file that a node is of; raises `UnfitError` where there is none."""


def render(actions: Sequence[Action], home: Home) -> dict[Layout, list[Change]]:
    """The changes that the actions make to each file, by place. Raises `UnfitError` where one of them cannot be made
    without harm."""
    drafts: dict[Layout, _Draft] = {}
    for action in actions:
        layout = home(action.anchor if isinstance(action, (Move, Insert)) else action.node)
        draft = drafts.setdefault(layout, _Draft(layout))
        _act(action, draft, home)
    for draft in drafts.values():
        _remove(draft)
    return {layout: _joined(draft.changes) for layout, draft in drafts.items()}


def _joined(changes: Iterable[Change]) -> list[Change]:
    """The changes by place, those that touch as one. Raises `UnfitError` where they overlap."""
    result: list[Change] = []
    for change in sorted(changes, key=lambda change: (change.span.start, change.span.end)):
        last = result[-1] if result else None
        if last is not None and change.span.start < last.span.end:
            raise UnfitError
        if last is not None and change.span.start == last.span.end:
            result[-1] = Change(Span(last.span.start, change.span.end), last.text + change.text)
        else:
            result.append(change)
    return result


def _act(action: Action, draft: _Draft, home: Home) -> None:
    layout = draft.layout
    write = partial(_written, layout, home)
    if isinstance(action, Rewrite):
        node = action.node.cst
        inner = layout.source(node)
        if layout.bare_binding(node) < action.inner:
            inner = f"({inner})"
        text = write(action.before, node) + inner + write(action.after, node)
        _substitute(draft, node, text, action.outer)
    elif isinstance(action, Replace):
        _substitute(draft, action.node.cst, write(action.text, action.node.cst), action.binding)
    elif isinstance(action, Unscale):
        _unscale(draft, action)
    elif isinstance(action, Delete):
        _delete(draft, layout.statement(action.node.cst))
    elif isinstance(action, Insert):
        anchor = layout.statement(action.anchor.cst)
        _insert(draft, [write(action.text, action.anchor.cst)], action.where, anchor)
    else:
        _move(draft, layout.statement(action.node.cst), action.where, layout.statement(action.anchor.cst))


# ---------------------------------------------------------------- text


def _written(layout: Layout, home: Home, text: Text, target: cst.CSTNode) -> str:
    """A piece of text for a place: nodes by their source, whose names must mean the same there."""
    parts = []
    for part in text:
        if isinstance(part, str):
            parts.append(part)
            continue
        origin = home(part)
        _check_names(origin, part.cst, layout, target)
        source = origin.source(part.cst)
        if _NEWLINE.search(source):
            raise UnfitError
        parts.append(f"({source})" if origin.bare_binding(part.cst) < Binding.ATOM else source)
    return "".join(parts)


def _check_names(origin: Layout, node: cst.CSTNode, layout: Layout, target: cst.CSTNode) -> None:
    """Raises `UnfitError` unless the names of `node` mean at `target` what they mean where they stand: those of the
    same function, and those that the function speaks of or that the module binds."""
    here, there = layout.function(target), origin.function(node)
    if here is there and layout is origin:
        return
    spoken = set(_names_of(layout, here))
    for name in names_in(node):
        if name == "self" and layout.owner(target, cst.ClassDef) is not origin.owner(node, cst.ClassDef):
            raise UnfitError
        if name not in spoken and not (layout is origin and name in _module_names(layout, target)):
            raise UnfitError


def _names_of(layout: Layout, function: cst.FunctionDef | None) -> Iterable[str]:
    return names_in(function) if function is not None else ()


def _module_names(layout: Layout, node: cst.CSTNode) -> set[str]:
    """The names that the module's own statements assign."""
    while not isinstance(node, cst.Module):
        node = layout.parent(node)
    found: set[str] = set()
    for line in node.body:
        if isinstance(line, cst.SimpleStatementLine):
            for statement in line.body:
                if isinstance(statement, cst.Assign):
                    found.update(name for target in statement.targets for name in names_in(target.target))
                elif isinstance(statement, cst.AnnAssign):
                    found.update(names_in(statement.target))
    return found


def _substitute(draft: _Draft, node: cst.CSTNode, text: str, binding: Binding) -> None:
    """Other text in place of an expression, in parentheses where its place needs them, and only there."""
    layout = draft.layout
    if isinstance(layout.owner(node, cst.FormattedString), cst.FormattedString) and set(text) & set("\"'\\\n"):
        # before Python 3.12 a string in a string may not hold its quotes
        raise UnfitError
    span, bare = layout.span(node), layout.around(node)
    if bare is not None and "\n" not in text and binding >= layout.needed(node, bare=True):
        span = bare
    elif binding < layout.needed(node):
        text = f"({text})"
    draft.changes.append(Change(span, text))


# ---------------------------------------------------------------- taking out


def _unscale(draft: _Draft, action: Unscale) -> None:
    layout, node, operand = draft.layout, action.node.cst, action.operand.cst
    if isinstance(node, cst.AugAssign):
        _delete(draft, node)
        return
    statement = layout.statement(node)
    if isinstance(statement, cst.Expr) and statement.value is node:
        _delete(draft, statement)
        return
    rest = _unscaled(node, operand)
    if isinstance(statement, cst.Assign) and statement.value is node and len(statement.targets) == 1:
        target = statement.targets[0].target
        if layout.source(target) == layout.source(rest):
            _delete(draft, statement)
            return
    outer, inner = layout.span(node), layout.span(rest)
    if layout.comments(Span(outer.start, inner.start)) or layout.comments(Span(inner.end, outer.end)):
        raise UnfitError
    source = layout.source(rest)
    if _NEWLINE.search(source) and rest.lpar and not node.lpar:
        # the parentheses are what lets the expression run over its lines
        source, binding = f"({source})", Binding.ATOM
    else:
        binding = layout.bare_binding(rest)
    _substitute(draft, node, source, binding)


def _unscaled(node: cst.CSTNode, operand: cst.CSTNode) -> cst.BaseExpression:
    """What is scaled by `operand` in `x / k`, `k * x` or `x.div(k)`."""
    if isinstance(node, cst.BinaryOperation):
        if operand is node.right:
            return node.left
        if operand is node.left:
            return node.right
    called = node.func if isinstance(node, cst.Call) and len(node.args) == 1 else None
    if isinstance(called, cst.Attribute) and called.attr.value.rstrip("_") in _SCALING_METHODS:
        return called.value
    raise UnfitError


def _delete(draft: _Draft, statement: Statement) -> None:
    """Takes a simple statement out; its comments stay, as lines of their own."""
    layout = draft.layout
    if layout.shares_line(statement):
        _delete_beside_others(draft, statement)
        return
    whole = layout.whole(_simple(statement))
    draft.removed[whole] = layout.trailing_comment(whole)


def _delete_beside_others(draft: _Draft, statement: Statement) -> None:
    """Takes out one of several statements on a line, or the only one behind `if x:`."""
    layout = draft.layout
    holder = layout.parent(statement)
    assert isinstance(holder, (cst.SimpleStatementLine, cst.SimpleStatementSuite))
    if len(holder.body) == 1:
        branch = layout.parent(holder)
        if _can_go(layout, branch):
            assert isinstance(branch, cst.If)
            draft.removed[branch] = layout.trailing_comment(branch)
        else:
            draft.changes.append(Change(layout.span(statement), "pass"))
        return
    place = next(number for number, other in enumerate(holder.body) if other is statement)
    span = layout.span(statement)
    if place + 1 < len(holder.body):
        span = Span(span.start, layout.span(holder.body[place + 1]).start)
    else:
        span = Span(layout.span(holder.body[place - 1]).end, span.end)
    draft.changes.append(Change(span, ""))


def _simple(statement: Statement) -> cst.BaseSmallStatement:
    if not isinstance(statement, cst.BaseSmallStatement):
        raise UnfitError
    return statement


def _remove(draft: _Draft) -> None:
    """Takes the statements out that go with their lines; a branch that would be empty goes too, or gets `pass`."""
    layout = draft.layout
    blocks: dict[cst.CSTNode, list[cst.BaseStatement]] = {}
    for statement in draft.removed:
        blocks.setdefault(block_of(layout, statement), []).append(statement)
    for block, gone in blocks.items():
        emptied = isinstance(block, cst.IndentedBlock) and len(gone) == len(block.body) and block not in draft.filled
        branch = layout.parent(block) if emptied else None
        if isinstance(branch, cst.If) and _goes_with(draft, branch, gone):
            comments = [comment for one in gone if (comment := draft.removed[one])]
            _take_lines(draft, branch, comments)
            continue
        for number, statement in enumerate(gone):
            comment = draft.removed[statement]
            lines = [comment] if comment else []
            if emptied and number == 0:
                lines = [f"pass  {comment}" if comment else "pass"]
            _take_lines(draft, statement, lines)


def _can_go(layout: Layout, branch: cst.CSTNode) -> bool:
    """Whether a branch whose body is empty may go as a whole: it is an `if` and no `elif`, has no `else`, and its
    test does nothing."""
    if not isinstance(branch, cst.If) or branch.orelse is not None or isinstance(layout.parent(branch), cst.If):
        return False
    return _is_pure(branch.test)


def _is_pure(node: cst.BaseExpression) -> bool:
    """Whether an expression of tests, arithmetic and harmless calls does nothing but give a value."""
    if isinstance(node, cst.Call):
        name = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
        return isinstance(name, cst.Name) and name.value in _HARMLESS
    if isinstance(node, (cst.BooleanOperation, cst.BinaryOperation)):
        return _is_pure(node.left) and _is_pure(node.right)
    if isinstance(node, cst.UnaryOperation):
        return _is_pure(node.expression)
    if isinstance(node, cst.Comparison):
        return _is_pure(node.left) and all(_is_pure(target.comparator) for target in node.comparisons)
    return isinstance(node, (cst.Name, cst.Attribute, cst.Integer, cst.Float, cst.SimpleString))


def _goes_with(draft: _Draft, branch: cst.If, gone: Sequence[cst.BaseStatement]) -> bool:
    """Whether an `if` whose statements all go can go itself: no comment in it is lost."""
    layout = draft.layout
    if not _can_go(layout, branch):
        return False
    place = layout.span(branch).start
    for statement in gone:
        start, end = _lines_of(draft, statement)
        if layout.comments(Span(place, start)):
            return False
        place = end
    return not layout.comments(Span(place, layout.end_line(branch)))


def _lines_of(draft: _Draft, statement: cst.BaseStatement) -> tuple[int, int]:
    """The lines that a statement takes along."""
    layout = draft.layout
    span = layout.span(statement)
    start = layout.leading_comments(statement) if statement in draft.moved else layout.line_start(span.start)
    return start, layout.next_line(max(span.end - 1, 0))


def _take_lines(draft: _Draft, statement: cst.BaseStatement, lines: Sequence[str]) -> None:
    """Takes a statement's lines out and leaves others in their place."""
    layout = draft.layout
    start, end = _lines_of(draft, statement)
    indent = layout.indent(layout.span(statement).start)
    text = "".join(f"{indent}{line}{layout.newline}" for line in lines)
    draft.changes.append(Change(Span(start, end), text))


# ---------------------------------------------------------------- putting in


def _insert(draft: _Draft, lines: Sequence[str], where: Where, anchor: Statement) -> None:
    """Puts lines, given without their indentation, on one side of a statement."""
    layout = draft.layout
    if layout.shares_line(anchor):
        if len(lines) > 1 or "#" in lines[0]:
            raise UnfitError
        span = layout.span(anchor)
        place, text = (span.start, f"{lines[0]}; ") if where is Where.BEFORE else (span.end, f"; {lines[0]}")
        draft.changes.append(Change(Span(place, place), text))
        return
    whole = layout.whole(anchor)
    indent = layout.indent(layout.span(whole).start)
    draft.filled.add(block_of(layout, whole))
    place = layout.leading_comments(whole) if where is Where.BEFORE else layout.end_line(whole)
    text = "".join(f"{indent}{line}{layout.newline}" for line in lines)
    if where is Where.AFTER and not layout.text[:place].endswith(("\n", "\r")):
        text = layout.newline + text
    draft.changes.append(Change(Span(place, place), text))


def _move(draft: _Draft, statement: Statement, where: Where, anchor: Statement) -> None:
    layout = draft.layout
    if statement is anchor or layout.function(statement) is not layout.function(anchor):
        raise UnfitError
    simple = _simple(statement)
    if layout.shares_line(simple):
        lines = [layout.source(simple)]
        if _NEWLINE.search(lines[0]):
            raise UnfitError
        _delete_beside_others(draft, simple)
    else:
        whole = layout.whole(simple)
        draft.moved.add(whole)
        draft.removed[whole] = ""
        start, end = _lines_of(draft, whole)
        lines = _without_indent(layout, Span(start, end), whole)
    _insert(draft, lines, where, anchor)


def _without_indent(layout: Layout, span: Span, statement: cst.BaseStatement) -> list[str]:
    """The lines of a statement without its indentation. Raises `UnfitError` for a string of several lines, which must
    not change."""
    indent = layout.indent(layout.span(statement).start)
    lines = _NEWLINE.split(layout.text[span.start : span.end])
    if not lines[-1]:
        lines.pop()
    if any(quotes in line for line in lines for quotes in ('"""', "'''")):
        raise UnfitError
    return [line.removeprefix(indent) for line in lines]
