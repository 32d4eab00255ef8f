"""What single statements read, bind and do, as far as cutting them out asks for it. Torch-free."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import suppress

from losslint.runtime.outline import LOOPS, last_name

FILLING = frozenset(
    "append extend update add reset clear insert appendleft put push add_ reset_ store log_loss".split()
)
"""Methods that change what they are called on."""
SHOW = "show"
"""The function that a script hands its figure to."""


def simple(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, (ast.If, ast.With, *LOOPS)):
            yield from simple(statement.body)
            yield from simple(getattr(statement, "orelse", []))
        else:
            yield statement


def with_headers(
    body: Sequence[ast.stmt], around: tuple[ast.expr, ...] = ()
) -> Iterator[tuple[int, tuple[ast.expr, ...]]]:
    """Every simple statement with the expressions that decide whether and how often it runs."""
    for statement in body:
        if isinstance(statement, (ast.For, ast.AsyncFor)):
            own: list[ast.expr] = [statement.iter]
        elif isinstance(statement, (ast.While, ast.If)):
            own = [statement.test]
        elif isinstance(statement, ast.With):
            own = [item.context_expr for item in statement.items]
        else:
            yield id(statement), around
            continue
        inside = (*around, *own)
        yield from with_headers(statement.body, inside)
        yield from with_headers(getattr(statement, "orelse", []), inside)


def names_in(node: ast.AST) -> Iterator[str]:
    """The names and the attributes of `self` that a piece of code reads."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and (isinstance(inner.ctx, ast.Load) or isinstance(node, ast.AugAssign)):
            yield inner.id
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == "self":
            yield f"self.{inner.attr}"


def read_in(body: Sequence[ast.stmt]) -> Iterator[str]:
    """The names that some statements read, and after a dot the methods that they call on anything."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield node.id
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                yield f".{node.attr}"


def bound_by_name(statement: ast.stmt) -> set[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, (ast.AugAssign, ast.AnnAssign)):
        targets = [statement.target]
    found = set()
    for target in targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and node.id != "self":
                found.add(node.id)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                found.add(f"self.{node.attr}")
    return found


def steers_scaler(statement: ast.stmt) -> bool:
    """Whether a statement is a call of a scaler's own, which touches gradients only by what comes later."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("unscale_", "update")
        and "scaler" in last_name(node.func.value).lower()
        for node in ast.walk(statement)
    )


def clears_gradient(statement: ast.stmt) -> bool:
    """Whether a statement sets a gradient."""
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return any(isinstance(target, ast.Attribute) and target.attr == "grad" for target in targets)


def is_filling(statement: ast.stmt) -> bool:
    """Whether a statement puts something into what it calls."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and (isinstance(statement.value.func, ast.Attribute) and statement.value.func.attr in FILLING)
    )


def is_talk(statement: ast.stmt) -> bool:
    """Whether a statement is a call that only tells somebody something."""
    return isinstance(statement, ast.Expr) and not is_filling(statement)


def is_shown(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == SHOW


def shows(statement: ast.stmt) -> bool:
    return any(is_shown(node) for node in ast.walk(statement))


def says_something(body: Sequence[ast.stmt]) -> bool:
    """Whether there is more in a body than ways out of it."""
    return any(not isinstance(one, ast.Pass) for one in body)


def is_plain_value(value: ast.expr, *, names: bool = False) -> bool:
    """Whether an expression is made of constants only, or of names too."""
    allowed = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)
    kinds = (*allowed, ast.expr_context, *((ast.Name,) if names else ()))
    return all(isinstance(node, kinds) for node in ast.walk(value)) and not (names and isinstance(value, ast.Constant))


def differs(value: ast.expr, told: str) -> bool:
    """Whether a plain number is another one in the world."""
    with suppress(ValueError, SyntaxError):
        return bool(ast.literal_eval(value) != ast.literal_eval(told))
    return True


def mark_stand_in(value: ast.expr) -> None:
    """Notes that an expression is a stand-in, which none takes the place of."""
    value.lineno = value.col_offset = -1


def is_stand_in(value: ast.expr) -> bool:
    return value.lineno == -1
