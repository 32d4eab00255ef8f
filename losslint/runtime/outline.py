"""The outline of a file: its functions, who calls whom, and which of them reach a backward or a step. Torch-free."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property

BACKWARD = frozenset({"backward", "manual_backward", "loss_scaler"})
STEP = frozenset({"step", "optimizer_step"})
SINKS = BACKWARD | STEP | {"zero_grad", "unscale_", "clip_grad_norm_", "clip_grad_value_", "scale_loss"}
LOOPS = (ast.For, ast.While, ast.AsyncFor)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SIMPLE = (ast.Expr, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Delete)


def last_name(node: ast.AST) -> str:
    """The last name of a dotted chain, of a call's function or of a subscript with a constant key; else empty."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value
    return ""


def calls_in(node: ast.AST) -> Iterator[ast.Call]:
    return (inner for inner in ast.walk(node) if isinstance(inner, ast.Call))


def called_in(node: ast.AST) -> set[str]:
    return {last_name(call.func) for call in calls_in(node)}


class Outline:
    """The functions of a file, who calls whom, and which of them reach a backward or a step."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self.functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
        self.classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}

    def owner(self, function: ast.AST) -> ast.ClassDef | None:
        """The class whose method a function is."""
        parent = self.parents.get(function)
        return parent if isinstance(parent, ast.ClassDef) else None

    def function_of(self, node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The innermost function around a node."""
        at: ast.AST | None = self.parents.get(node)
        while at is not None and not isinstance(at, FUNCTIONS):
            at = self.parents.get(at)
        return at

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, from the inside out."""
        at = self.parents.get(node)
        while at is not None:
            yield at
            at = self.parents.get(at)

    @cached_property
    def calls_of(self) -> dict[str, set[str]]:
        """Function name -> the names it calls."""
        found: dict[str, set[str]] = {}
        for function in self.functions:
            found.setdefault(function.name, set()).update(called_in(function))
        return found

    def reaching(self, names: frozenset[str]) -> set[str]:
        """The functions that call one of some names, themselves or through others of the file."""
        found: set[str] = set()
        while True:
            more = {name for name, calls in self.calls_of.items() if name not in found and calls & (names | found)}
            if not more:
                return found
            found |= more

    @cached_property
    def training(self) -> frozenset[str]:
        """The names whose call runs a backward."""
        return BACKWARD | frozenset(self.reaching(BACKWARD))

    @cached_property
    def stepping(self) -> frozenset[str]:
        """The names whose call takes an optimizer step."""
        names = frozenset({"zero_grad"}) | STEP
        return names | frozenset(self.reaching(names))

    @cached_property
    def acting(self) -> frozenset[str]:
        """The names whose call touches gradients."""
        return SINKS | frozenset(self.reaching(SINKS))

    def callers(self, name: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        """The functions of the file that call a name."""
        return [function for function in self.functions if function.name != name and name in called_in(function)]


_LOSSY = re.compile(r"loss|(^|_)(cost|objective|nll|elbo|criterion)(_|\d|$)", re.I)


def is_lossy(name: str) -> bool:
    """Whether a name speaks of a loss."""
    return bool(_LOSSY.search(name))


def bound_by(target: ast.expr) -> Iterator[ast.expr]:
    """The names and attributes that an assignment binds, to be bound again."""
    if isinstance(target, (ast.Tuple, ast.List)):
        for element in target.elts:
            yield from bound_by(element)
    elif isinstance(target, ast.Starred):
        yield from bound_by(target.value)
    elif isinstance(target, ast.Name):
        yield ast.Name(target.id, ast.Store())
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        yield ast.Attribute(ast.Name(target.value.id, ast.Load()), target.attr, ast.Store())


def makes_loss(node: ast.ClassDef) -> bool:
    """Whether a class is a loss: its forward makes one."""
    forward = next((f for f in node.body if isinstance(f, FUNCTIONS) and f.name in ("forward", "__call__")), None)
    return forward is not None and (
        is_lossy(node.name) or any(is_lossy(n) or "cross_entropy" in n for n in called_in(forward))
    )
