"""The names and numbers of a file that say how long an accumulation window is, and how often something is logged.

Torch-free.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from losslint.runtime.outline import LOOPS, STEP, Outline, called_in, calls_in, last_name

_WINDOW_WORDS = re.compile(
    r"accum|update_freq|grad_acc|acc_steps|batch_multiplier|iter_size|subdivis|(^|_)gas$|backward_passes", re.I
)


def _moduli(test: ast.AST) -> Iterator[ast.expr]:
    """What counters are compared with, or taken modulo, in a condition."""
    for node in ast.walk(test):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and not isinstance(node.left, ast.Constant):
            yield node.right


def _counted(test: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(test):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.GtE, ast.Gt)):
            side = node.comparators[0]
            if isinstance(side, (ast.Name, ast.Attribute, ast.Subscript)) and _WINDOW_WORDS.search(last_name(side)):
                yield side


@dataclass(frozen=True, slots=True)
class Intervals:
    windows: frozenset[str]
    window_literals: frozenset[int]
    logs: frozenset[str]
    log_literals: frozenset[int]


def _tests(outline: Outline) -> Iterator[tuple[ast.AST, list[ast.stmt]]]:
    """Every condition with the statements that hang on it, also through a flag of the same function."""
    for node in ast.walk(outline.tree):
        if isinstance(node, ast.If):
            leaves = bool(node.body) and isinstance(node.body[-1], (ast.Continue, ast.Return))
            rest = _rest(outline, node) if leaves else []
            yield node.test, [*node.body, *node.orelse, *rest]
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and any(True for _ in _moduli(node.value)):
            flag = last_name(node.targets[0])
            scope = outline.function_of(node) or outline.tree
            for other in ast.walk(scope):
                if isinstance(other, ast.If) and flag and flag in {last_name(n) for n in ast.walk(other.test)}:
                    yield node.value, [*other.body, *other.orelse]
                elif isinstance(other, ast.Call) and any(
                    flag and flag in {last_name(n) for n in ast.walk(word.value)} for word in other.keywords
                ):
                    yield node.value, [ast.Expr(other)]


def _rest(outline: Outline, node: ast.If) -> list[ast.stmt]:
    parent = outline.parents.get(node)
    body = getattr(parent, "body", [])
    return body[body.index(node) + 1 :] if node in body else []


def intervals_of(outline: Outline, extra: Iterable[str]) -> Intervals:
    windows: set[str] = set(extra)
    literals: set[int] = set()
    other: set[str] = set()
    other_literals: set[int] = set()
    for test, body in _tests(outline):
        acts = any(called_in(statement) & outline.stepping for statement in body)
        for right in _moduli(test):
            name = last_name(right)
            if isinstance(right, ast.Constant) and isinstance(right.value, int):
                (literals if acts else other_literals).add(right.value)
            elif name:
                (windows if acts else other).add(name)
        for right in _counted(test):
            windows.add(last_name(right))
    for loop in ast.walk(outline.tree):
        if not isinstance(loop, ast.For) or last_name(loop.iter) not in ("range", "trange"):
            continue
        inner = {name for statement in loop.body for name in called_in(statement)}
        around = next((node for node in outline.around(loop) if isinstance(node, LOOPS)), None)
        if (
            inner & outline.training
            and not inner & STEP
            and around is not None
            and called_in(around) & outline.stepping
        ):
            assert isinstance(loop.iter, ast.Call)
            for argument in loop.iter.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
                    literals.add(argument.value)
                elif _WINDOW_WORDS.search(last_name(argument)) or isinstance(argument, (ast.Name, ast.Attribute)):
                    windows.add(last_name(argument))
    for call in calls_in(outline.tree):
        for word in call.keywords:
            if word.arg in ("gradient_accumulation_steps", "accumulate_grad_batches") and last_name(word.value):
                windows.add(last_name(word.value))
    for node in ast.walk(outline.tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and _WINDOW_WORDS.search(last_name(node)):
            windows.add(last_name(node))
        if isinstance(node, ast.arg) and _WINDOW_WORDS.search(node.arg):
            windows.add(node.arg)
    called = {last_name(call.func) for call in calls_in(outline.tree)} - set(extra)
    windows -= {"", "self", "args", "cfg"} | {f.name for f in outline.functions} | called
    return Intervals(
        frozenset(windows),
        frozenset(n for n in literals if 2 <= n <= 64),
        frozenset(other - windows - {""}),
        frozenset(n for n in other_literals - literals if n >= 2),
    )
