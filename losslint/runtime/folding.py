"""Statements without what a run did not need of them: branches not taken, loops not run, guards, docstrings.

Torch-free. Places of kept nodes stay as they are in the file.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator, Sequence

from losslint.runtime.ledger import OVER_BATCHES, OVER_DRAWS, OVER_PLAIN, OVER_ROUNDS, Recording
from losslint.runtime.outline import FUNCTIONS, LOOPS, called_in

_CONTEXTS = re.compile(r"autocast|no_grad|set_grad_enabled|enable_grad|inference_mode|accumulate|no_sync|scale_loss")
_LEAVING = (ast.Return, ast.Break, ast.Continue)
_DROPPED = (ast.Assert, ast.Raise, ast.Import, ast.ImportFrom, ast.Pass, ast.Delete, ast.ClassDef, ast.Nonlocal)
_MOST_ROUNDS = 100


class Folder:
    """Folds statements along what a run showed."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def block(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """The statements of a block that a run passed, up to the first that leaves it."""
        result: list[ast.stmt] = []
        for statement in body:
            for folded in self._folded(statement):
                result.append(folded)
                if isinstance(folded, _LEAVING):
                    return result
        return result

    def _folded(self, statement: ast.stmt) -> Iterator[ast.stmt]:
        if isinstance(statement, _DROPPED) or _is_text(statement):
            return
        if isinstance(statement, ast.If):
            yield from self._branches(statement)
        elif isinstance(statement, LOOPS):
            yield from self._loop(statement)
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            yield from self._context(statement)
        elif isinstance(statement, ast.Try):
            yield from self.block([*statement.body, *statement.orelse, *statement.finalbody])
        elif isinstance(statement, FUNCTIONS):
            made = copy.copy(statement)
            made.body = self.block(statement.body) or [ast.Pass()]
            made.decorator_list = []
            yield made
        elif _place(statement) in self.recording.skipped and "unscale_" not in called_in(statement):
            yield from _left_open(statement)
        else:
            yield statement

    def _branches(self, statement: ast.If) -> Iterator[ast.stmt]:
        outcomes = self.recording.outcomes.get(_place(statement.test), ())
        if outcomes == (True,):
            yield from self.block(statement.body)
        elif outcomes == (False,):
            yield from self.block(statement.orelse)
        elif outcomes:
            made = copy.copy(statement)
            made.body = self.block(statement.body)
            made.orelse = self.block(statement.orelse)
            yield made

    def _loop(self, statement: ast.For | ast.While | ast.AsyncFor) -> Iterator[ast.stmt]:
        decides = statement.test if isinstance(statement, ast.While) else statement.iter
        count, kind = self.recording.rounds.get(_place(decides), (0, OVER_PLAIN))
        if not count:
            return
        body, orelse = self.block(statement.body), self.block(statement.orelse)
        named = kind == OVER_BATCHES and isinstance(decides, (ast.Name, ast.Attribute))
        if (kind == OVER_PLAIN or named) and not isinstance(statement, ast.AsyncFor):
            made = copy.copy(statement)
            made.body, made.orelse = body, orelse
            yield made
            return
        target: ast.expr = ast.Name("_", ast.Store()) if isinstance(statement, ast.While) else statement.target
        name = "rounds" if kind == OVER_DRAWS else "range"
        over = "Loader()" if kind == OVER_BATCHES else f"{name}({min(count, _MOST_ROUNDS)})"
        if kind == OVER_ROUNDS and isinstance(target, ast.Tuple):
            over = f"[Anything()] * {count}"
        rounds = ast.copy_location(ast.parse(over, mode="eval").body, decides)
        yield ast.fix_missing_locations(ast.copy_location(ast.For(target, rounds, body, orelse), statement))

    def _context(self, statement: ast.With | ast.AsyncWith) -> Iterator[ast.stmt]:
        items = [item for item in statement.items if _CONTEXTS.search(ast.unparse(item.context_expr))]
        for item in statement.items:
            if item not in items and item.optional_vars is not None:
                bound = ast.Assign([item.optional_vars], item.context_expr)
                yield ast.fix_missing_locations(ast.copy_location(bound, statement))
        body = self.block(statement.body)
        if not items:
            yield from body
        elif body:
            yield ast.copy_location(ast.With(items, body), statement)


def _place(node: ast.stmt | ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset + 1


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _left_open(statement: ast.stmt) -> Iterator[ast.stmt]:
    """What a statement that could not be run leaves behind: names that hold anything."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    if targets:
        anything = ast.parse("Anything()", mode="eval").body
        yield ast.fix_missing_locations(ast.copy_location(ast.Assign(targets, anything), statement))
