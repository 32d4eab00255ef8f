"""Windows that a framework is told by its settings, and divisions by one of them, told from what the code calls it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from losslint.contracts.frameworks import LIGHTNING_MANUAL
from losslint.interpreter import roles
from losslint.interpreter.program import path_of, statements
from losslint.interpreter.values import WINDOW, Step
from losslint.lowering import ir
from losslint.lowering.walk import walk

if TYPE_CHECKING:
    from losslint.interpreter.program import Program
    from losslint.interpreter.world import Backward


def told(program: Program, setting: str) -> Iterator[ir.Expr]:
    """What the module gives to a setting of a framework, by keyword, wherever in it."""
    module = program.module
    for block in (module.body, *(function.body for function in module.functions)):
        for statement in statements(block):
            for node in walk(statement):
                if isinstance(node, ir.Call):
                    yield from (argument.value for argument in node.arguments if argument.keyword == setting)


def is_manual(backward: Backward) -> bool:
    """Whether a backward is Lightning's `manual_backward`."""
    node = backward.node
    return isinstance(node, ir.Call) and isinstance(node.func, ir.Attr) and node.func.name in LIGHTNING_MANUAL.backward


def divisions(program: Program, backward: Backward, setting: str) -> Iterator[tuple[Step, bool]]:
    """The lines of a backward's trail that divide by the window of a framework, each with whether it is certain that it
    is that window: it has the name of the setting, or is what the setting is given."""
    given = [_spelled(value) for value in told(program, setting)]
    for step in backward.steps:
        if step.verb not in ("/", "*") or step.operand is None:
            continue
        operand = _operand(step.operand)
        spelled = _spelled(operand)
        certain = spelled == setting or (spelled != "" and spelled in given)
        if step.kinds & WINDOW or certain or (step.verb == "/" and roles.is_window(spelled)):
            yield step, certain


def _operand(node: ir.Node) -> ir.Node:
    """The divisor without what only keeps it from being zero, or inverts it: `max(1, k)`, `1 / k`, `float(k)`."""
    if isinstance(node, ir.Binary) and node.op == "/":
        return _operand(node.right)
    if isinstance(node, ir.Call) and path_of(node.func) in ("max", "float", "int") and node.arguments:
        return _operand(node.arguments[-1].value)
    return node


def _spelled(node: ir.Node) -> str:
    """The last name of an expression, or a number as it is written."""
    if isinstance(node, ir.Const):
        return str(node.value) if isinstance(node.value, (int, float)) and node.value not in (0, 1) else ""
    return roles.last(path_of(node.func if isinstance(node, ir.Call) else node))  # type: ignore[arg-type]


def divisor(step: Step) -> str:
    """What a line of a trail divides by, as the user would call it."""
    node = _operand(step.operand) if step.operand is not None else None
    if isinstance(node, ir.Const):
        return str(node.value)
    if isinstance(node, ir.Call):
        return f"{path_of(node.func)}()"
    return path_of(node) if isinstance(node, (ir.Name, ir.Attr)) else "the window"
