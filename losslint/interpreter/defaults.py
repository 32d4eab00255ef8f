"""Which number a name has in a run with its defaults: constants, parameter defaults, argparse and click options."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from losslint.interpreter.program import blocks, path_of
from losslint.interpreter.roles import last
from losslint.interpreter.values import Key
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.program import Program

_OPTIONS = frozenset({"add_argument", "option", "add_option", "DEFINE_integer"})


@dataclass(frozen=True, slots=True)
class Known:
    """A number and the place that gives it; `name` is what it is called there."""

    name: str
    value: int
    node: ir.Node


def known_number(program: Program, key: Key) -> Known | None:
    """The number that a static key has with its defaults."""
    if isinstance(key, str):
        return named_number(program, last(key))
    if key and key[0] == "literal":
        for name, node in _assigned_constants(program.module.body, program):
            if len(key) == 2 and id(node) == key[1] and isinstance(node.value, int):
                return Known(name, node.value, node)
        if len(key) == 4 and isinstance(key[3], int):
            return Known("", key[3], program.module)  # type: ignore[arg-type]
    return None


def number_of(program: Program, node: ir.Node) -> int | None:
    """The number that an expression has with its defaults: a literal, or a name that is given one."""
    if isinstance(node, ir.Const):
        return node.value if isinstance(node.value, int) else None
    found = named_number(program, last(path_of(node))) if isinstance(node, (ir.Name, ir.Attr)) else None
    return found.value if found is not None else None


def named_number(program: Program, name: str) -> Known | None:
    """The number that a variable, parameter, option or field of this name is given; None where it is given several."""
    given = [
        Known(name, node.value, node)
        for found, node in _constants(program)
        if found == name and isinstance(node.value, int) and not isinstance(node.value, bool) and node.value > 0
    ]
    return given[0] if len({known.value for known in given}) == 1 else None


def _constants(program: Program) -> Iterator[tuple[str, ir.Const]]:
    yield from _assigned_constants(program.module.body, program)
    for function in program.module.functions:
        for parameter in function.parameters:
            if isinstance(parameter.default, ir.Const):
                yield parameter.name, parameter.default


def _assigned_constants(body: ir.Block, program: Program) -> Iterator[tuple[str, ir.Const]]:
    yield from _in_block(body)
    for function in program.module.functions:
        yield from _in_block(function.body)
        for parameter in function.parameters:
            if isinstance(parameter.default, ir.Const):
                yield parameter.name, parameter.default
    for cls in program.module.classes:
        yield from _in_block(cls.body)


def _in_block(block: ir.Block) -> Iterator[tuple[str, ir.Const]]:
    for statement in block:
        if isinstance(statement, ir.Assign) and isinstance(statement.value, ir.Const):
            for target in statement.targets:
                yield last(path_of(target)), statement.value
        elif isinstance(statement, (ir.Evaluate, ir.Assign)) and isinstance(statement.value, ir.Call):
            yield from _option(statement.value)
        for inner in blocks(statement):
            yield from _in_block(inner)


def _option(call: ir.Call) -> Iterator[tuple[str, ir.Const]]:
    if last(path_of(call.func)) not in _OPTIONS:
        for argument in call.arguments:
            if argument.keyword is not None and isinstance(argument.value, ir.Const):
                yield argument.keyword, argument.value
        return
    names = [a.value.value for a in call.arguments if isinstance(a.value, ir.Const) and isinstance(a.value.value, str)]
    default = next((a.value for a in call.arguments if a.keyword == "default"), None)
    if isinstance(default, ir.Const):
        for name in names:
            yield name.lstrip("-").replace("-", "_"), default
