"""Questions that the remedies of several rules ask: what names the window here, which expression is backpropagated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from losslint.interpreter import explain, laws
from losslint.interpreter.program import path_of
from losslint.interpreter.roles import last
from losslint.interpreter.values import Step
from losslint.lowering import ir
from losslint.lowering.positions import owner
from losslint.remedies import Action, Move, Text, Unscale, Where, divided

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop


def window(loop: Loop) -> Text | None:
    """The window as the gate writes it; None where no expression in sight names it."""
    if loop.window is None:
        return None
    node = loop.window.node
    if isinstance(node, ir.Binary) and node.op == "%":
        return (node.right,)
    if isinstance(node, ir.Compare):
        return next(((side,) for side in (node.left, *node.rights) if _names_window(loop, side)), None)
    if isinstance(node, ir.For) and isinstance(node.iterable, ir.Call) and len(node.iterable.arguments) == 1:
        count = node.iterable.arguments[0].value
        return (count,) if path_of(node.iterable.func) == "range" else None
    return None


def _names_window(loop: Loop, side: ir.Expr) -> bool:
    name = explain.window_name(loop)
    if isinstance(side, ir.Const):
        return str(side.value) == name
    return isinstance(side, (ir.Name, ir.Attr)) and last(path_of(side)) == name


def backpropagated(backward: ir.Node) -> ir.Expr | None:
    """The loss in `loss.backward()`, `scaler.scale(loss).backward()` or `accelerator.backward(loss)`."""
    if not isinstance(backward, ir.Call):
        return None
    given = [argument.value for argument in backward.arguments if argument.keyword is None and not argument.star]
    if given:
        return given[0]
    if not isinstance(backward.func, ir.Attr):
        return None
    value = backward.func.value
    if isinstance(value, ir.Call) and isinstance(value.func, ir.Attr) and value.func.name == "scale":
        return value.arguments[0].value if len(value.arguments) == 1 else None
    return value


def divide_before_backward(loop: Loop, by: Text | None = None) -> tuple[Action, ...]:
    """Divides every loss that is backpropagated undivided; nothing where one of them is not in sight."""
    by = window(loop) if by is None else by
    nodes = {b.node: backpropagated(b.node) for b in loop.high.backwards if not laws.window_divisions(b.steps)}
    if by is None or not nodes:
        return ()
    actions = []
    for loss in nodes.values():
        if loss is None:
            return ()
        actions.append(divided(loss, by))
    return tuple(actions)


def undone(step: Step) -> Unscale | None:
    """A scaling taken out of the code, where it stands in an expression or statement of its own."""
    if step.operand is None or not isinstance(step.node, (ir.Binary, ir.Augment)):
        return None
    return Unscale(step.node, step.operand)


def is_only_a_scaling(loop: Loop, node: ir.Node) -> bool:
    """Whether the statement of a scaling does nothing else: `loss /= k`, `loss = loss / k`."""
    if isinstance(node, ir.Augment):
        return True
    statement = statement_of(loop, node)
    if not isinstance(statement, ir.Assign) or statement.value is not node or len(statement.targets) != 1:
        return False
    if not isinstance(node, ir.Binary):
        return False
    target = explain.text(statement.targets[0])
    return target in (explain.text(node.left), explain.text(node.right))


def statement_of(loop: Loop, node: ir.Node) -> ir.Stmt | None:
    """The statement that holds a node, in whichever file of the project."""
    project = loop.program.project
    modules = [loop.program.module, *(other for other in project.loaded if other is not loop.program.module)]
    return next((found for module in modules if (found := owner(module, node)) is not None), None)


def out_of_branch(loop: Loop, node: ir.Node, guards: Sequence[ir.If]) -> Iterator[tuple[Action, ...]]:
    """A statement put behind or in front of the branches around it, the innermost first."""
    for guard in reversed(guards):
        yield (Move(node, Where.AFTER, guard),)
        yield (Move(node, Where.BEFORE, guard),)
