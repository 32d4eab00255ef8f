"""Where a node stands and how it reads, worked out only for what is reported.

libcst keeps no positions: they follow from generating the code again, which gives back the source character for
character. One such pass notes where the wanted nodes begin and end.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from itertools import accumulate
from typing import Any, get_args

import libcst as cst
from libcst._nodes.internal import CodegenState

from losslint.findings import Range
from losslint.lowering import ir

LONGEST_TEXT = 60
"""Source text of a node is cut to this many characters."""

_NEWLINE = re.compile(r"\r\n?|\n")
_NOTHING = nullcontext()
_STATEMENTS = frozenset(get_args(ir.Stmt))
_HEADED = (cst.FunctionDef, cst.ClassDef, cst.If, cst.For, cst.While, cst.With, cst.Try, cst.TryStar)
# the parentheses of these are their own, as Python's parser sees it
_OWN_PARENTHESES = (cst.Tuple, cst.GeneratorExp)
# stands for whitespace that may hold line ends; no source contains it, since Python rejects NUL
_GAP = "\0"
_GAP_AT_BRACKET = re.compile(r"(?<=[(\[{])\0|\0(?=[)\]}])")


def locate(module: ir.Module, nodes: Iterable[ir.Node]) -> dict[int, Range]:
    """The ranges of nodes of `module`, keyed by `id(node)`.

    A compound statement or function spans its header, from its keyword to before the colon; decorators, leading
    whitespace and comments, enclosing parentheses and line ends belong to no range; a parameter is its name. Nodes of
    another module are left out. libcst drops a form feed that stands before the first token of a line: columns of
    that line then count without it.
    """
    wanted = list(nodes)
    state = _Recorder(module.cst, [node.cst for node in wanted])
    module.cst._codegen(state)
    offsets = [0, *accumulate(map(len, state.tokens))]
    code = "".join(state.tokens)
    line_starts = [0, *(match.end() for match in _NEWLINE.finditer(code))]

    def place(offset: int) -> tuple[int, int]:
        line = bisect_right(line_starts, offset)
        return line, offset - line_starts[line - 1] + 1

    found: dict[int, Range] = {}
    for node in wanted:
        span = state.spans.get(id(node.cst))
        if span is None:
            continue
        start, end = offsets[span[0]], offsets[span[1]]
        if isinstance(node.cst, (*_HEADED, cst.Match)):
            end = start + len(_without_colon(code[start:end]))
        found[id(node)] = Range(*place(start), *place(end))
    return found


@lru_cache(maxsize=1024)
def text(node: ir.Node) -> str:
    """The source of one node on one line, whitespace normalised, comments left out and a long middle elided."""
    source = _source(node.cst)
    if len(source) <= LONGEST_TEXT:
        return source
    head = LONGEST_TEXT // 2
    return f"{source[: head - 1]}…{source[-(LONGEST_TEXT - head) :]}"


def statement_of(module: ir.Module, node: ir.Node) -> str:
    """The whitespace-normalised source of the smallest simple statement or compound header that holds `node`.

    Raises `KeyError` for a node of another module.
    """
    return _source(_statements(module)[id(node)].cst)


def owner(module: ir.Module, node: ir.Node) -> ir.Stmt | None:
    """The smallest statement that holds `node`; None for a node of another module."""
    return _statements(module).get(id(node))


@lru_cache(maxsize=4)
def _statements(module: ir.Module) -> dict[int, Any]:
    """For each node of the module, by `id`, the statement that it stands in."""
    owners: dict[int, Any] = {}
    todo: list[tuple[Any, Any]] = [(module.body, None)]
    while todo:
        node, owner = todo.pop()
        if isinstance(node, tuple):
            todo.extend([(part, owner) for part in node])
            continue
        kind = type(node)
        if kind.__module__ != ir.__name__ or kind is ir.Facts:
            continue
        if kind in _STATEMENTS:
            owner = node
        owners[id(node)] = owner
        if kind is ir.Lambda:
            function, (returned,) = node.function, node.function.body
            owners[id(function)] = owners[id(returned)] = owner
            todo.extend([(function.parameters, owner), (returned.value, owner)])
            continue
        todo.extend([(getattr(node, name), owner) for name in kind.__slots__ if name != "cst"])
    return owners


def _without_colon(header: str) -> str:
    return header.rstrip().removesuffix(":").rstrip(" \t\f\\\r\n")


def _source(node: cst.CSTNode) -> str:
    state = _Renderer(node)
    with suppress(_HeaderEndError):
        node._codegen(state)
    start, end = state.spans[id(node)]
    source = "".join(state.tokens[start:end])
    if isinstance(node, (*_HEADED, cst.Match)):
        source = _without_colon(source)
    return " ".join(_GAP_AT_BRACKET.sub("", source).replace(_GAP, " ").split())


class _HeaderEndError(Exception):
    """The header of a compound statement is rendered; its body is not wanted."""


class _Recorder(CodegenState):
    """Generates code and notes, for the wanted nodes, which tokens are theirs."""

    def __init__(self, module: cst.Module | None, wanted: Iterable[cst.CSTNode]) -> None:
        super().__init__(
            default_indent="    " if module is None else module.default_indent,
            default_newline="\n" if module is None else module.default_newline,
        )
        self.spans: dict[int, tuple[int, int]] = {}
        self.starts: dict[int, int] = {}
        self.whole: set[int] = set()
        self.header_ends: dict[int, int] = {}
        for node in wanted:
            self.starts[id(node)] = 0
            if isinstance(node, _OWN_PARENTHESES):
                self.whole.add(id(node))
            elif isinstance(node, _HEADED):
                self.header_ends[id(node.body)] = id(node)
            elif isinstance(node, cst.Match):
                self.header_ends[id(node.whitespace_after_colon)] = id(node)

    def before_codegen(self, node: cst.CSTNode) -> None:
        key = id(node)
        if key in self.starts:
            self.starts[key] = len(self.tokens)
        if key in self.header_ends:
            owner = self.header_ends[key]
            self.spans[owner] = (self.starts[owner], len(self.tokens))

    def after_codegen(self, node: cst.CSTNode) -> None:
        key = id(node)
        if key in self.starts and key not in self.spans:
            self.spans[key] = (self.starts[key], len(self.tokens))

    def record_syntactic_position(self, node: cst.CSTNode, **_: object) -> AbstractContextManager[None]:  # type: ignore[override]
        key = id(node)
        if key not in self.starts or key in self.whole:
            return _NOTHING
        return self._recording(key)

    @contextmanager
    def _recording(self, key: int) -> Iterator[None]:
        self.starts[key] = len(self.tokens)
        yield
        self.spans.setdefault(key, (self.starts[key], len(self.tokens)))


class _Renderer(_Recorder):
    """Generates the code of one node, without comments and with a mark for whitespace that may hold line ends."""

    def __init__(self, node: cst.CSTNode) -> None:
        super().__init__(None, [node])
        self.gap = 0

    def before_codegen(self, node: cst.CSTNode) -> None:
        super().before_codegen(node)
        if id(node) in self.header_ends:
            raise _HeaderEndError
        if isinstance(node, cst.ParenthesizedWhitespace):
            self.gap = len(self.tokens)

    def after_codegen(self, node: cst.CSTNode) -> None:
        if isinstance(node, cst.ParenthesizedWhitespace):
            self.tokens[self.gap :] = [_GAP]
        elif isinstance(node, cst.SimpleWhitespace) and "\\" in node.value:
            self.tokens[-1] = " "
        super().after_codegen(node)
