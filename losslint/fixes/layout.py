"""Where everything in one file stands: offsets of syntax nodes, statements with their lines and comments, and parents.

Offsets count code points of the text from its start.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider

from losslint.findings import Range
from losslint.remedies import Binding

Statement: TypeAlias = cst.BaseSmallStatement | cst.BaseCompoundStatement

_NEWLINE = re.compile(r"\r\n?|\n")
_BLANK = " \t\f"

_BINDINGS: tuple[tuple[type | tuple[type, ...], Binding], ...] = (
    ((cst.Lambda, cst.IfExp, cst.NamedExpr, cst.Yield, cst.GeneratorExp, cst.Tuple), Binding.LOOSEST),
    (cst.Comparison, Binding.COMPARISON),
    (cst.Await, Binding.POWER),
    ((cst.ConcatenatedString,), Binding.POWER),
)
_OPERATORS: tuple[tuple[tuple[type, ...], Binding], ...] = (
    ((cst.Or,), Binding.OR),
    ((cst.And,), Binding.AND),
    ((cst.BitOr, cst.BitXor, cst.BitAnd, cst.LeftShift, cst.RightShift), Binding.BITS),
    ((cst.Add, cst.Subtract), Binding.SUM),
    ((cst.Multiply, cst.Divide, cst.FloorDivide, cst.Modulo, cst.MatrixMultiply), Binding.PRODUCT),
    ((cst.Power,), Binding.POWER),
)


class UnfitError(Exception):
    """A remedy cannot be written into this text without harm: no fix is offered."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text, the end exclusive."""

    start: int
    end: int


class Layout:
    """One file's text and tree. Raises `UnfitError` where the tree does not give back the text."""

    def __init__(self, tree: cst.Module, text: str) -> None:
        if tree.code != text:
            raise UnfitError
        self.text = text
        self.newline = tree.default_newline
        wrapper = MetadataWrapper(tree, unsafe_skip_copy=True)
        self._positions = wrapper.resolve(PositionProvider)
        self._parents = wrapper.resolve(ParentNodeProvider)
        self._lines = [0, *(match.end() for match in _NEWLINE.finditer(text))]

    # ------------------------------------------------------------ places

    def holds(self, node: cst.CSTNode) -> bool:
        """Whether a node is of this file."""
        return node in self._positions

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """The node that a node is a part of; raises `UnfitError` above the module."""
        found = self._parents.get(node)
        if found is None:
            raise UnfitError
        return found

    def span(self, node: cst.CSTNode) -> Span:
        """Where a node stands, without whitespace, comments and parentheses around it."""
        place = self._positions[node]
        return Span(
            self._lines[place.start.line - 1] + place.start.column, self._lines[place.end.line - 1] + place.end.column
        )

    def source(self, node: cst.CSTNode) -> str:
        """A node as it is written, parentheses around it left out."""
        span = self.span(node)
        return self.text[span.start : span.end]

    def range(self, span: Span) -> Range:
        """A span as findings and edits give it: 1-based lines and columns."""
        return Range(*self._place(span.start), *self._place(span.end))

    def _place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def line_start(self, offset: int) -> int:
        """Where the line of an offset begins."""
        return self._lines[bisect_right(self._lines, offset) - 1]

    def next_line(self, offset: int) -> int:
        """Where the line after that of an offset begins, or the end of the text."""
        number = bisect_right(self._lines, offset)
        return self._lines[number] if number < len(self._lines) else len(self.text)

    def indent(self, offset: int) -> str:
        """The whitespace that the line of an offset begins with."""
        start = self.line_start(offset)
        line = self.text[start : self.next_line(offset)]
        return line[: len(line) - len(line.lstrip(_BLANK))]

    # ------------------------------------------------------------ statements

    def statement(self, node: cst.CSTNode) -> Statement:
        """The smallest statement that holds a node: a simple one, or the compound one in whose header it stands."""
        while not isinstance(node, (cst.BaseSmallStatement, cst.BaseCompoundStatement)):
            node = self.parent(node)
        return node

    def function(self, node: cst.CSTNode) -> cst.FunctionDef | None:
        """The function around a node, if there is one."""
        found = self._parents.get(node)
        while found is not None and not isinstance(found, cst.FunctionDef):
            found = self._parents.get(found)
        return found

    def owner(self, node: cst.CSTNode, kind: type[cst.CSTNode]) -> cst.CSTNode | None:
        """The nearest node of a kind around a node."""
        found = self._parents.get(node)
        while found is not None and not isinstance(found, kind):
            found = self._parents.get(found)
        return found

    def shares_line(self, statement: Statement) -> bool:
        """Whether a simple statement shares its line: with others behind semicolons, or with `if x:`."""
        holder = self.parent(statement)
        if isinstance(holder, cst.SimpleStatementSuite):
            return True
        return isinstance(holder, cst.SimpleStatementLine) and len(holder.body) > 1

    def whole(self, statement: Statement) -> cst.BaseStatement:
        """The statement that has lines of its own: the line of a simple one, the `if` that an `elif` belongs to."""
        holder: cst.CSTNode = statement
        while True:
            outer = self.parent(holder)
            if isinstance(outer, (cst.IndentedBlock, cst.Module)):
                assert isinstance(holder, cst.BaseStatement)
                return holder
            holder = outer

    def leading_comments(self, statement: cst.BaseStatement) -> int:
        """Where the comment lines directly above a statement begin; its own line where there are none."""
        start = self.line_start(self.span(statement).start)
        lines = getattr(statement, "leading_lines", ())
        indent = self.indent(start)
        for line in reversed(lines):
            above = self.line_start(start - 1) if start else 0
            if line.comment is None or self.indent(above) != indent:
                break
            start = above
        return start

    def trailing_comment(self, statement: cst.BaseStatement) -> str:
        """The comment behind a simple statement on its line, or an empty string."""
        end = self.span(statement).end
        rest = self.text[end : self.next_line(end)].strip(f"{_BLANK}\r\n;")
        return rest if rest.startswith("#") else ""

    def end_line(self, statement: cst.BaseStatement) -> int:
        """Where the line after a statement begins, comments that are indented under it counted in."""
        last = self.next_line(max(self.span(statement).end - 1, 0))
        width = len(self.indent(self.span(statement).start))
        if isinstance(statement, cst.SimpleStatementLine):
            return last
        place = last
        while place < len(self.text):
            after = self.next_line(place)
            line = self.text[place:after]
            body = line.strip(f"{_BLANK}\r\n")
            if body and not (body.startswith("#") and len(self.indent(place)) > width):
                break
            place = after
            if body:
                last = place
        return last

    def comments(self, span: Span) -> list[str]:
        """The comment texts between two offsets that begin a line of their own or end one; strings are not looked
        into, so that a `#` in one may count as a comment."""
        lines = _NEWLINE.split(self.text[span.start : span.end])
        return [line[line.index("#") :].strip() for line in lines if "#" in line]

    # ------------------------------------------------------------ expressions

    def binding(self, node: cst.CSTNode) -> Binding:
        """How tightly an expression holds together as it is written, its own parentheses counted."""
        if getattr(node, "lpar", ()) and not isinstance(node, (cst.Tuple, cst.GeneratorExp)):
            return Binding.ATOM
        return self.bare_binding(node)

    def bare_binding(self, node: cst.CSTNode) -> Binding:
        """The same, its own parentheses left out."""
        if isinstance(node, (cst.BinaryOperation, cst.BooleanOperation)):
            return next(level for kinds, level in _OPERATORS if isinstance(node.operator, kinds))
        if isinstance(node, cst.UnaryOperation):
            return Binding.NOT if isinstance(node.operator, cst.Not) else Binding.SIGN
        if isinstance(node, (cst.Tuple, cst.GeneratorExp)) and node.lpar:
            return Binding.ATOM
        return next((level for kinds, level in _BINDINGS if isinstance(node, kinds)), Binding.ATOM)

    def around(self, node: cst.CSTNode) -> Span | None:
        """Where an expression stands with the one pair of parentheses around it; None where there is no such pair on
        its line."""
        span = self.span(node)
        if len(getattr(node, "lpar", ())) != 1 or isinstance(node, (cst.Tuple, cst.GeneratorExp)):
            return None
        start = len(self.text[: span.start].rstrip(_BLANK)) - 1
        end = len(self.text) - len(self.text[span.end :].lstrip(_BLANK)) + 1
        return Span(start, end) if self.text[start] == "(" and self.text[end - 1] == ")" else None

    def needed(self, node: cst.CSTNode, bare: bool = False) -> Binding:
        """How tightly something must hold together to stand where an expression stands; with `bare` also in the place
        of the parentheses around it."""
        if getattr(node, "lpar", ()) and not bare:
            return Binding.LOOSEST
        outer = self.parent(node)
        if isinstance(outer, cst.BinaryOperation):
            level = self.bare_binding(outer)
            if isinstance(outer.operator, cst.Power):
                return Binding.ATOM if outer.left is node else Binding.SIGN
            return level if outer.left is node else Binding(level + 1)
        if isinstance(outer, cst.BooleanOperation):
            return self.bare_binding(outer)
        if isinstance(outer, cst.UnaryOperation):
            return self.bare_binding(outer)
        if isinstance(outer, (cst.Comparison, cst.ComparisonTarget)):
            return Binding.BITS
        if isinstance(outer, cst.Await) or (isinstance(outer, cst.Attribute) and outer.value is node):
            return Binding.ATOM
        if isinstance(outer, cst.Call) and outer.func is node:
            return Binding.ATOM
        if isinstance(outer, cst.Subscript) and outer.value is node:
            return Binding.ATOM
        if isinstance(outer, (cst.IfExp, cst.CompFor, cst.CompIf, cst.StarredElement)):
            return Binding.OR
        return Binding.LOOSEST


def block_of(layout: Layout, statement: cst.BaseStatement) -> cst.IndentedBlock | cst.Module:
    """The block that a statement with lines of its own stands in."""
    holder = layout.parent(statement)
    assert isinstance(holder, (cst.IndentedBlock, cst.Module))
    return holder


def names_in(node: cst.CSTNode) -> Iterator[str]:
    """The plain names that an expression reads; names of attributes and keywords are none."""
    if isinstance(node, cst.Name):
        yield node.value
    elif isinstance(node, (cst.Attribute, cst.Arg)):
        yield from names_in(node.value)
    else:
        for child in node.children:
            yield from names_in(child)
