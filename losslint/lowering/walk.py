"""The expressions that a piece of IR is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from losslint.lowering import ir

_EXPRESSIONS = get_args(ir.Expr)


def parts(node: ir.Node) -> Iterator[ir.Expr]:
    """The expressions that a node is directly made of; those in the blocks of a statement are none of them."""
    for name in type(node).__slots__:
        if name != "cst":
            yield from _direct(getattr(node, name))


def walk(node: ir.Node) -> Iterator[ir.Expr]:
    """All expressions in a node, itself included where it is one."""
    if isinstance(node, _EXPRESSIONS):
        yield node
    for part in parts(node):
        yield from walk(part)


def _direct(part: object) -> Iterator[ir.Expr]:
    if isinstance(part, tuple):
        for item in part:
            yield from _direct(item)
    elif isinstance(part, ir.Argument):
        yield part.value
    elif isinstance(part, _EXPRESSIONS):
        yield part
