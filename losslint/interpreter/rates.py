"""What a `LambdaLR` is given, read from the text of the module: a function that returns a rate, and no factor of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from losslint.interpreter.program import Program, path_of, statements
from losslint.interpreter.roles import last
from losslint.lowering import ir
from losslint.lowering.walk import walk

_RATES = frozenset({"lr", "learning_rate", "base_lr", "init_lr", "initial_lr", "lr0", "max_lr", "peak_lr"})
_SCHEDULER = "LambdaLR"


class Squared(NamedTuple):
    """A scheduler whose function returns a product with the learning rate, and that rate."""

    call: ir.Call
    rate: ir.Expr


def squared(program: Program) -> Iterator[Squared]:
    """The schedulers of a module that multiply the base rate by itself; none where a rate of 1 is written in it."""
    module = program.module
    if _SCHEDULER not in module.facts.calls:
        return
    blocks = [*(function.body for function in module.functions), module.body]
    if any(_is_one(argument, blocks) for call in _calls(blocks) for argument in call.arguments):
        return
    for block in blocks:
        for call in _calls([block]):
            if last(path_of(call.func)) != _SCHEDULER:
                continue
            for function in _functions(program, [block, module.body], call):
                rate = _returned_rate(function)
                if rate is not None:
                    yield Squared(call, rate)
                    break


def _calls(blocks: list[ir.Block]) -> Iterator[ir.Call]:
    for block in blocks:
        for statement in statements(block):
            if not isinstance(statement, (ir.Function, ir.Class)):
                yield from (part for part in walk(statement) if isinstance(part, ir.Call))


def _is_one(argument: ir.Argument, blocks: list[ir.Block]) -> bool:
    """Whether an optimizer is made with a base rate of 1: then the function is the rate."""
    if argument.keyword != "lr":
        return False
    made = [argument.value]
    if isinstance(argument.value, ir.Name):
        made += _bound(blocks, argument.value.id)
    return any(isinstance(value, ir.Const) and value.value == 1 for value in made)


def _functions(program: Program, blocks: list[ir.Block], call: ir.Call) -> Iterator[ir.Function]:
    """The functions that a scheduler is given: written there, or the only thing that a name stands for."""
    given = next((a.value for a in call.arguments if a.keyword == "lr_lambda"), None)
    if given is None and len(call.arguments) > 1 and call.arguments[1].keyword is None:
        given = call.arguments[1].value
    for value in given.items if isinstance(given, ir.Collection) else [given]:
        made = [value]
        if isinstance(value, ir.Name):
            made = next(([*bound] for block in blocks if (bound := list(_bound([block], value.id)))), [])
            named = [function for function in program.module.functions if function.name == value.id]
            if not made and len(named) == 1:
                yield named[0]
        if len(made) == 1 and isinstance(made[0], ir.Lambda):
            yield made[0].function


def _bound(blocks: list[ir.Block], name: str) -> Iterator[ir.Expr]:
    for block in blocks:
        for statement in statements(block):
            if isinstance(statement, ir.Assign) and any(
                isinstance(target, ir.Name) and target.id == name for target in statement.targets
            ):
                yield statement.value


def _returned_rate(function: ir.Function) -> ir.Expr | None:
    """The learning rate as a factor of what a function returns."""
    for statement in statements(function.body):
        if isinstance(statement, ir.Return) and statement.value is not None:
            rate = _rate_in(statement.value)
            if rate is not None:
                return rate
    return None


def _rate_in(node: ir.Expr) -> ir.Expr | None:
    if isinstance(node, (ir.Name, ir.Attr)):
        return node if last(path_of(node)).lower() in _RATES else None
    if isinstance(node, ir.Choice):
        return _rate_in(node.body) or _rate_in(node.orelse)
    if isinstance(node, ir.Binary) and node.op == "*":
        return _rate_in(node.left) or _rate_in(node.right)
    return None
