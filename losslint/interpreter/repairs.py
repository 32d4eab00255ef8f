"""Questions that the remedies of several rules ask: what names the window here, which expression is backpropagated."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from losslint.interpreter import explain, laws
from losslint.interpreter.program import blocks, path_of, statements
from losslint.interpreter.roles import last
from losslint.interpreter.values import AMP, Step
from losslint.lowering import ir
from losslint.lowering.positions import owner
from losslint.lowering.walk import parts, walk
from losslint.remedies import Action, Binding, Move, Remedy, Rewrite, Text, Unscale, Where, divided, either

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop
    from losslint.interpreter.reading import Reading
    from losslint.interpreter.world import Backward, World

_BARS = frozenset({"tqdm", "tqdm.tqdm", "trange", "track", "notebook.tqdm"})
"""Calls that show progress and give what they are given."""


def window(loop: Loop) -> Text | None:
    """The window as the gate writes it; None where no expression in sight names it, or where it may be no number."""
    node = _window_node(loop)
    return None if node is None or _may_be_missing(loop, node) else (node,)


def _window_node(loop: Loop) -> ir.Expr | None:
    if loop.window is None:
        return None
    node = loop.window.node
    if isinstance(node, ir.Binary) and node.op == "%":
        return node.right
    if isinstance(node, ir.Compare):
        return next((side for side in (node.left, *node.rights) if _names_window(loop, side)), None)
    if isinstance(node, ir.For) and isinstance(node.iterable, ir.Call) and len(node.iterable.arguments) == 1:
        count = node.iterable.arguments[0].value
        return count if path_of(node.iterable.func) == "range" else None
    return None


def _may_be_missing(loop: Loop, window: ir.Expr) -> bool:
    """Whether the code around asks if there is a window at all: `not k or (i + 1) % k == 0`, `k is not None`."""
    path = path_of(window)
    if not path:
        return False
    return any(_asks_for(part, path) for statement in statements(scope_of(loop, window)) for part in walk(statement))


def _asks_for(part: ir.Expr, path: str) -> bool:
    if isinstance(part, ir.Unary):
        return part.op == "not" and path_of(part.operand) == path
    if isinstance(part, ir.Logic):
        return any(path_of(value) == path for value in part.values)
    return isinstance(part, ir.Compare) and path_of(part.left) == path and part.ops[0].startswith("is")


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
    nodes = {b.node: backpropagated(b.node) for b in _backwards(loop) if not laws.window_divisions(b.steps)}
    if by is None or not nodes:
        return ()
    actions = []
    for loss in nodes.values():
        if loss is None:
            return ()
        actions.append(divided(loss, by))
    return tuple(actions)


def _backwards(loop: Loop) -> list[Backward]:
    """The backwards of a loop in all of its forks that accumulate over the same window."""
    forks = [fork for fork in loop.siblings if fork.window is not None and loop.window is not None]
    same = [fork for fork in forks if fork is not loop and fork.window.key == loop.window.key]  # type: ignore[union-attr]
    return [backward for fork in (loop, *same) for backward in fork.high.backwards]


def divide_at_backward(loop: Loop, division: Step) -> Iterator[tuple[Action, ...]]:
    """Divides what is backpropagated instead of what it was made from: `division` is the line that divided it."""
    nodes = {b.node: backpropagated(b.node) for b in _backwards(loop) if division.node in {s.node for s in b.steps}}
    by = window(loop)
    losses = [loss for loss in nodes.values() if loss is not None]
    if any(other not in nodes for other in laws.backward_calls(scope_of(loop, division.node))):
        # a branch that was not run would lose its division
        return
    if by is not None and losses and len(losses) == len(nodes):
        yield tuple(divided(loss, by) for loss in losses)


def undone(step: Step) -> Unscale | None:
    """A scaling taken out of the code, where it stands in an expression or statement of its own."""
    if step.operand is None or not isinstance(step.node, (ir.Binary, ir.Augment, ir.Call)):
        return None
    return Unscale(step.node, step.operand)


def is_only_a_scaling(loop: Loop, node: ir.Node) -> bool:
    """Whether the statement of a scaling does nothing else: `loss /= k`, `loss = loss / k`."""
    if isinstance(node, ir.Augment):
        return True
    statement = statement_of(loop, node)
    if isinstance(statement, ir.Evaluate):
        return statement.value is node and isinstance(node, ir.Call) and path_of(node.func).endswith("_")
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


def undone_each(steps: Sequence[Step]) -> Iterator[tuple[Unscale]]:
    """Each of several scalings taken out, the last one first."""
    for step in reversed(steps):
        action = undone(step)
        if action is not None:
            yield (action,)


def left_to(framework: str, divisions: Sequence[Step]) -> Iterator[Remedy]:
    """A division that a framework does too, taken out."""
    for undo in undone_each(divisions):
        yield Remedy(f"leave the division to {framework}", undo)


def divided_by_window(loop: Loop) -> Iterator[Remedy]:
    """The division that nothing does, put in front of backward."""
    actions = divide_before_backward(loop)
    if actions:
        yield Remedy(f"divide the loss by `{explain.window_name(loop)}` before backward", actions)


# ---------------------------------------------------------------- the step and its gate


def is_statement(loop: Loop, node: ir.Node) -> bool:
    """Whether a call is all that its statement does."""
    statement = statement_of(loop, node)
    return isinstance(node, ir.Call) and isinstance(statement, ir.Evaluate) and statement.value is node


def end_of_step(loop: Loop, world: World) -> ir.Node:
    """The last statement of an optimizer step: the scaler's `update` where one follows."""
    step = world.steps[-1]
    visit = [event for event in world.events if event.kind == "update" and event.visit == step.visit]
    later = [event.node for event in visit if event.time > step.time]
    return later[-1] if later and loop_block(loop, later[-1]) is loop_block(loop, step.node) else step.node


def also_on_last_batch(loop: Loop) -> Action | None:
    """The gate made true on the last batch too, where the loop counts its batches."""
    gate = loop.window.node if loop.window is not None else None
    counted = _counted(loop)
    if not isinstance(gate, ir.Binary) or gate.op != "%" or counted is None:
        return None
    number, total = counted
    test = _test_of(loop, gate)
    if isinstance(test, ir.Compare) and test.ops == ("!=",):
        return Rewrite(test, (), (" and ", *number, " != ", *total), Binding.AND, Binding.AND)
    if (isinstance(test, ir.Compare) and test.ops == ("==",)) or (isinstance(test, ir.Unary) and test.op == "not"):
        return either(test, (*number, " == ", *total))
    return None


def _test_of(loop: Loop, gate: ir.Binary) -> ir.Expr | None:
    """The comparison that a remainder stands in."""
    statement = statement_of(loop, gate)
    test = statement.test if isinstance(statement, ir.If) else getattr(statement, "value", None)
    return next((part for part in walk(test) if _holds_directly(part, gate)), None) if test is not None else None


def _holds_directly(part: ir.Expr, gate: ir.Binary) -> bool:
    if isinstance(part, ir.Compare):
        return gate in (part.left, *part.rights)
    return isinstance(part, ir.Unary) and part.operand is gate


def _counted(loop: Loop) -> tuple[Text, Text] | None:
    """The number of the present batch, from one, and the number of all, in `for i, batch in enumerate(loader)` and
    `for i in range(batches)`."""
    world = loop.high
    visit = next((step.visit for step in world.steps if step.visit >= 0), None)
    place = world.visits[visit].loop if visit is not None else None
    if not isinstance(place, ir.For):
        return None
    call = _without_bar(place.iterable)
    if not isinstance(call, ir.Call):
        return None
    given = [argument.value for argument in call.arguments]
    if path_of(call.func) == "range" and isinstance(place.target, ir.Name) and len(given) == 1:
        return (place.target, " + 1"), (given[0],)
    counter = place.target.items[0] if isinstance(place.target, ir.Collection) and place.target.items else None
    if path_of(call.func) != "enumerate" or not isinstance(counter, ir.Name) or len(given) not in (1, 2):
        return None
    total = ("len(", _without_bar(given[0]), ")")
    if len(given) == 1:
        return (counter, " + 1"), total
    return ((counter,), total) if isinstance(given[1], ir.Const) and given[1].value == 1 else None


def _without_bar(node: ir.Expr) -> ir.Expr:
    """What a progress bar is put around."""
    while isinstance(node, ir.Call) and path_of(node.func) in _BARS and node.arguments:
        node = node.arguments[0].value
    return node


def loop_block(loop: Loop, node: ir.Node) -> ir.Block | None:
    """The block that the statement of a node stands in."""
    statement = statement_of(loop, node)
    todo = [*(function.body for function in loop.program.module.functions), loop.program.module.body]
    while todo:
        block = todo.pop()
        if any(one is statement for one in block):
            return block
        todo.extend(inner for one in block for inner in blocks(one))
    return None


# ---------------------------------------------------------------- figures


def loop_of_reading(loop: Loop, reading: Reading) -> ir.For | None:
    """The loop over the batches that went into a figure."""
    visits = [visit for site, visit in reading.figure.weights if site.node is reading.site.node and visit >= 0]
    world = next((w for w in loop.worlds.values() if any(figure is reading.figure for figure in w.figures)), None)
    place = world.visits[visits[0]].loop if world is not None and visits else None
    return place if isinstance(place, ir.For) else None


def loader_of_reading(loop: Loop, reading: Reading) -> ir.Expr | None:
    """What that loop runs over by name, counters and progress bars left out."""
    place = loop_of_reading(loop, reading)
    if place is None:
        return None
    node = _without_bar(place.iterable)
    if isinstance(node, ir.Call) and path_of(node.func) == "enumerate" and node.arguments:
        node = _without_bar(node.arguments[0].value)
    return node if isinstance(node, (ir.Name, ir.Attr)) else None


def dataset_of(loop: Loop, reading: Reading) -> Text | None:
    """What counts the samples of the loader behind a figure, where it is a known loader that gives all of them."""
    node, known = loader_of_reading(loop, reading), loop.base.loaders.get(reading.loader)
    if node is None or known is None or known.assumed or known.drop_last or known.sampled:
        return None
    return (node, ".dataset")


def added(loop: Loop, node: ir.Node) -> list[ir.Expr]:
    """What is added up in `total += x`, `total = total + x`, `losses.append(x)` or `meter.update(x)`."""
    if isinstance(node, ir.Augment):
        return [node.value]
    if isinstance(node, ir.Call):
        return [argument.value for argument in node.arguments[:1]]
    statement = statement_of(loop, node)
    value = statement.value if isinstance(statement, ir.Assign) else None
    if not isinstance(statement, ir.Assign) or not isinstance(value, ir.Binary) or value.op != "+":
        return []
    targets = {explain.text(target) for target in statement.targets}
    return [side for side in (value.left, value.right) if explain.text(side) not in targets]


def counted_size(loop: Loop, counter: ir.Node | None) -> ir.Expr | None:
    """The size of a batch as the loop counts it: `x.size(0)` in `n += x.size(0)`."""
    if not isinstance(counter, (ir.Name, ir.Attr)):
        return None
    for statement in statements(scope_of(loop, counter)):
        if isinstance(statement, ir.Augment) and statement.op == "+" and path_of(statement.target) == path_of(counter):
            return None if isinstance(statement.value, ir.Const) else statement.value
    return None


def starts(loop: Loop, name: str) -> Iterator[ir.Assign]:
    """The lines that set a sum to a number."""
    for block in (*(function.body for function in loop.program.module.functions), loop.program.module.body):
        for statement in statements(block):
            if not isinstance(statement, ir.Assign) or not isinstance(statement.value, ir.Const):
                continue
            if name in map(path_of, statement.targets):
                yield statement


def is_plain_number(loop: Loop, node: ir.Node, name: str) -> bool:
    """Whether a sum starts as a number, and nothing treats it as a tensor later."""
    block = scope_of(loop, node)
    if not any(start in list(statements(block)) for start in starts(loop, name)):
        return False
    return not any(
        isinstance(part, ir.Attr) and path_of(part.value) == name
        for statement in statements(block)
        for part in walk(statement)
    ) and not any(
        isinstance(statement, ir.Return) and statement.value is not None and name in map(path_of, walk(statement.value))
        for statement in statements(block)
    )


def detached(loop: Loop, mutation: ir.Node) -> Iterator[ir.Expr]:
    """The `loss.detach()` behind an alias that is changed in place."""
    if isinstance(mutation, ir.Augment):
        changed: ir.Expr = mutation.target
    elif isinstance(mutation, ir.Call) and isinstance(mutation.func, ir.Attr):
        changed = mutation.func.value
    else:
        return
    if _detaches(changed):
        yield changed
    for statement in statements(scope_of(loop, mutation)):
        if not isinstance(statement, ir.Assign) or not path_of(changed):
            continue
        if _detaches(statement.value) and path_of(changed) in map(path_of, statement.targets):
            yield statement.value


def _detaches(node: ir.Expr) -> bool:
    if isinstance(node, ir.Attr):
        return node.name == "data"
    return isinstance(node, ir.Call) and isinstance(node.func, ir.Attr) and node.func.name == "detach"


def reported(figure: ir.Node, names: Collection[str]) -> list[ir.Expr]:
    """Where a figure's line speaks of a loss by one of its names: the whole of `loss.item()`, `float(loss)`, `loss`."""
    found: list[ir.Expr] = []
    todo = [*parts(figure)]
    while todo:
        node = todo.pop(0)
        if _speaks_of(node, names):
            found.append(node)
        else:
            todo.extend(parts(node))
    return found


def kept(loop: Loop, place: ir.Node, names: Collection[str]) -> list[ir.Expr]:
    """Where a name that a figure's line speaks of is given the loss: `shown = loss.item()`."""
    spoken = {path_of(part) for part in walk(place)} - {""}
    return [
        statement.value
        for statement in statements(scope_of(loop, place))
        if isinstance(statement, ir.Assign)
        and _speaks_of(statement.value, names)
        and spoken & set(map(path_of, statement.targets))
    ]


def assigned(loop: Loop, value: ir.Node) -> set[str]:
    """The names that the statement of a value gives it."""
    statement = statement_of(loop, value)
    if isinstance(statement, ir.Assign):
        return {path_of(target) for target in statement.targets} - {""}
    return {path_of(statement.target)} - {""} if isinstance(statement, ir.Augment) else set()


def spoken(place: ir.Node, names: Collection[str]) -> list[ir.Expr]:
    """Where a line speaks of a value by one of its names: the bare names."""
    return [part for part in walk(place) if path_of(part) in names]


def _speaks_of(node: ir.Expr, names: Collection[str]) -> bool:
    while True:
        if path_of(node) in names:
            return True
        if isinstance(node, ir.Call) and isinstance(node.func, ir.Attr) and node.func.name in _SAME_VALUE:
            node = node.func.value
        elif isinstance(node, ir.Attr) and node.name == "data":
            node = node.value
        elif isinstance(node, ir.Call) and path_of(node.func) == "float" and len(node.arguments) == 1:
            node = node.arguments[0].value
        else:
            return False


_SAME_VALUE = frozenset({"item", "detach", "cpu", "clone", "numpy", "float"})


# ---------------------------------------------------------------- code


def scope_of(loop: Loop, node: ir.Node) -> ir.Block:
    """The body of the function, or else the module, that a node stands in."""
    statement = statement_of(loop, node)
    project = loop.program.project
    for module in (loop.program.module, *project.loaded):
        for function in module.functions:
            if any(one is statement for one in statements(function.body)):
                return function.body
    return loop.program.module.body


# ---------------------------------------------------------------- AMP


def scaler_of(world: World) -> tuple[ir.Expr, ir.Expr] | None:
    """The scaler and the optimizer in `scaler.step(optimizer)`."""
    call = next((step.node for step in world.steps if step.scaler), None)
    if not isinstance(call, ir.Call) or not isinstance(call.func, ir.Attr) or not call.arguments:
        return None
    return call.func.value, call.arguments[0].value


def scale_call(steps: Iterable[Step]) -> tuple[ir.Call, ir.Expr, ir.Expr] | None:
    """The call `scaler.scale(loss)` in a trail, its scaler and its loss."""
    for step in steps:
        call = step.node
        if not step.kinds & AMP or not isinstance(call, ir.Call) or not isinstance(call.func, ir.Attr):
            continue
        if call.func.name == "scale" and len(call.arguments) == 1:
            return call, call.func.value, call.arguments[0].value
    return None


def optimizer_of(step: ir.Node) -> ir.Expr | None:
    """The optimizer in `optimizer.step()` and `scaler.step(optimizer)`."""
    if not isinstance(step, ir.Call) or not isinstance(step.func, ir.Attr) or step.func.name != "step":
        return None
    return step.arguments[0].value if step.arguments else step.func.value
