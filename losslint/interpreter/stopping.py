"""Where a training stops early: what the epoch loop leaves on, and what library callbacks are told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from losslint.interpreter import roles
from losslint.interpreter.program import loops, path_of, statements
from losslint.lowering import ir
from losslint.lowering.walk import walk

if TYPE_CHECKING:
    from losslint.interpreter.program import Program

AT_ONCE, PATIENT, WRONG_WAY = "at once", "patient", "wrong way"

_REFERENCE = re.compile(r"(^|_)(best|prev|previous|last|old|min|max|lowest|highest)(_|$)", re.IGNORECASE)
_COUNTER = re.compile(r"patien|wait|counter|no_improve|not_improv|bad_epoch|stall|stagnat|worse|since", re.IGNORECASE)
_SCORE = re.compile(r"(^|_)(acc|accuracy|f1|auc|auroc|dice|iou|miou|bleu|r2|map|precision|recall)(_|$)", re.I)
_PLAIN_SCORE = re.compile(
    r"(^|\.)((val|valid|validation|test|eval|dev|best|mean|avg|current|new|f1|auc|r2)_)*score$", re.I
)
_CALLBACKS = frozenset({"EarlyStopping", "EarlyStoppingCallback"})
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


class Stop(NamedTuple):
    """A condition that ends the training, or that decides what the best epoch is: how it does that, and the name of the
    figure that it looks at."""

    node: ir.Node
    manner: str
    watched: str


def is_score(name: str) -> bool:
    """Whether a figure reads like one that is better the higher it is: a score of something else (`fid_score`,
    `brier_score`) may well be better the lower it is."""
    return bool(_SCORE.search(name) or _PLAIN_SCORE.search(name))


def stops(program: Program) -> Iterator[Stop]:
    """The early stops of a module, with those that take a worse figure for a better one."""
    module = program.module
    for block in (module.body, *(function.body for function in module.functions)):
        for loop in loops(block):
            if program.loop_role(loop).outer:
                for condition in _own(loop.body):
                    yield from _of_condition(condition)
        for statement in statements(block):
            for node in walk(statement):
                if isinstance(node, ir.Call) and roles.last(path_of(node.func)) in _CALLBACKS:
                    yield _of_callback(node)


def _own(block: ir.Block) -> Iterator[ir.If]:
    """The conditions of a loop's body, those of loops inside it left out."""
    for statement in block:
        if isinstance(statement, ir.If):
            yield statement
            yield from _own((*statement.body, *statement.orelse))
        elif isinstance(statement, ir.With):
            yield from _own(statement.body)


def _of_condition(node: ir.If) -> Iterator[Stop]:
    test = node.test
    if not isinstance(test, ir.Compare) or len(test.rights) != 1 or test.ops[0] not in _MIRRORED:
        return
    left, right = roles.last(path_of(test.left)), roles.last(path_of(test.rights[0]))
    op, watched, reference = test.ops[0], left, right
    if _REFERENCE.search(left) and not _REFERENCE.search(right):
        op, watched, reference = _MIRRORED[op], right, left
    if _COUNTER.search(left) or _COUNTER.search(right):
        if _leaves(node.body):
            yield Stop(test, PATIENT, "")
        return
    low, high = roles.is_loss(watched), is_score(watched)
    if low is high or not _REFERENCE.search(reference):
        return
    worse = op.startswith(">") is low
    if _keeps(node.body, reference, watched) and worse:
        yield Stop(test, WRONG_WAY, watched)
    elif _leaves(node.body if worse else node.orelse):
        yield Stop(test, AT_ONCE, watched)


def _leaves(block: ir.Block) -> bool:
    return any(isinstance(statement, ir.Break) for statement in block)


def _keeps(block: ir.Block, reference: str, watched: str) -> bool:
    """Whether a block makes the figure the new reference."""
    return any(
        isinstance(statement, ir.Assign)
        and roles.last(path_of(statement.value)) == watched
        and any(roles.last(path_of(target)) == reference for target in statement.targets)
        for statement in block
    )


def _of_callback(node: ir.Call) -> Stop:
    given = {argument.keyword: argument.value for argument in node.arguments if argument.keyword}
    monitor, mode, patience = (
        value.value if isinstance(value, ir.Const) else None
        for value in (given.get("monitor"), given.get("mode"), given.get("patience"))
    )
    watched = monitor if isinstance(monitor, str) else ""
    low, high = roles.is_loss(watched), is_score(watched)
    if (low and not high and mode == "max") or (high and not low and mode == "min"):
        return Stop(node, WRONG_WAY, watched)
    return Stop(node, AT_ONCE if patience == 0 and "patience" in given else PATIENT, watched)
