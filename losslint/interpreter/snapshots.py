"""Weights that are remembered by reference: `state_dict()` holds the tensors that training goes on to change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from losslint.interpreter import roles
from losslint.interpreter.program import Program, blocks, loops, path_of, statements
from losslint.lowering import ir
from losslint.lowering.walk import walk

_SHALLOW = frozenset({"copy", "dict", "OrderedDict"})
_USERS = frozenset({"load_state_dict", "save"})
_KEPT = re.compile(r"best|backup|snapshot|orig|init", re.IGNORECASE)


class Snapshot(NamedTuple):
    """A name for the weights of a model (`node` assigns it), and where it is used after they have changed."""

    node: ir.Assign
    name: str
    model: str
    used: ir.Node


def aliased(program: Program) -> Iterator[Snapshot]:
    """The snapshots that training has changed when they are used."""
    for block in (program.module.body, *(function.body for function in program.module.functions)):
        yield from _in_block(program, block)
    for cls in program.module.classes:
        yield from _in_class(program, cls)


def _in_block(program: Program, block: ir.Block) -> Iterator[Snapshot]:
    """The best weights, or the first ones, of one function."""
    for loop in loops(block):
        if not _trains(program, loop):
            continue
        inside = list(statements(loop.body))
        later = _after(block, loop)
        for kept in _remembered(_in_branches(loop.body)):
            used = _use(later, kept.name, "")
            if used is not None:
                yield kept._replace(used=used)
        made_anew = {path_of(t) for s in inside if isinstance(s, ir.Assign) for t in s.targets}
        for kept in _remembered(_before(block, loop)):
            used = _use((*inside, *later), kept.name, kept.model)
            if used is not None and kept.model not in made_anew and kept.name not in made_anew:
                yield kept._replace(used=used)


def _in_class(program: Program, cls: ir.Class) -> Iterator[Snapshot]:
    """The best weights that an object keeps from call to call; weights from before, where the object trains them."""
    methods = [statement for statement in cls.body if isinstance(statement, ir.Function)]
    trains = any(program.reaches_backward(method.facts) for method in methods)
    for method in methods:
        for kept in _remembered(method.body):
            if not kept.name.startswith("self.") or method.name == "__init__" or not _KEPT.search(kept.name):
                continue
            if not trains and "best" not in kept.name.lower():
                # an object that puts weights back without training them: what it changed meanwhile are not the tensors
                continue
            others = (_use(list(statements(other.body)), kept.name, "") for other in methods if other is not method)
            used = next((place for place in others if place is not None), None)
            if used is not None:
                yield kept._replace(used=used)


def _trains(program: Program, loop: ir.For | ir.While) -> bool:
    return program.reaches_backward(loop.facts) or any("train" in name or name == "fit" for name in loop.facts.calls)


def _remembered(block: ir.Block) -> Iterator[Snapshot]:
    """The names that a block, or one inside it, gives to the weights of a model."""
    for statement in statements(block):
        if isinstance(statement, ir.Assign) and len(statement.targets) == 1:
            name, model = path_of(statement.targets[0]), _model_of(statement.value)
            if name and model:
                yield Snapshot(statement, name, model, statement)


def _model_of(value: ir.Expr) -> str:
    """The model of which an expression gives the weights themselves; an empty string for anything else."""
    if isinstance(value, ir.Mapping):
        return next((model for _, item in value.items if (model := _model_of(item))), "")
    if not isinstance(value, ir.Call):
        return ""
    func = value.func
    name = roles.last(path_of(func)) if not isinstance(func, ir.Attr) else func.name
    if isinstance(func, ir.Attr) and name == "state_dict" and not value.arguments:
        # what an optimizer or a scheduler has is no weights of a model
        path = path_of(func.value)
        return "" if roles.is_optimizer(path) or roles.is_scheduler(path) or roles.is_scaler(path) else path
    if name not in _SHALLOW:
        return ""
    if not value.arguments:
        return _model_of(func.value) if isinstance(func, ir.Attr) else ""
    return _model_of(value.arguments[0].value)


def _in_branches(block: ir.Block) -> ir.Block:
    """The statements of a block that only some iterations run, and after which the loop goes on."""
    found: list[ir.Stmt] = []
    for statement in block:
        if isinstance(statement, ir.If):
            found += [s for body in (statement.body, statement.orelse) if not _leaves(body) for s in body]
        elif not isinstance(statement, (ir.For, ir.While)):
            found += [s for inner in blocks(statement) for s in _in_branches(inner)]
        else:
            found += _in_branches(statement.body)
    return tuple(found)


def _leaves(block: ir.Block) -> bool:
    return bool(block) and isinstance(block[-1], (ir.Break, ir.Return, ir.Raise))


def _after(block: ir.Block, loop: ir.Stmt) -> list[ir.Stmt]:
    """The statements that come after a loop, in its block and in the blocks around it."""
    for place, statement in enumerate(block):
        if statement is loop:
            return list(statements(block[place + 1 :]))
        for inner in blocks(statement):
            if any(other is loop for other in statements(inner)):
                return [*_after(inner, loop), *statements(block[place + 1 :])]
    return []


def _before(block: ir.Block, loop: ir.Stmt) -> ir.Block:
    """The statements of a block that stand before the one that holds a loop."""
    for place, statement in enumerate(block):
        if statement is loop or any(other is loop for inner in blocks(statement) for other in statements(inner)):
            return tuple(s for s in block[:place] if isinstance(s, ir.Assign))
    return ()


def _use(block: list[ir.Stmt] | tuple[ir.Stmt, ...], name: str, model: str) -> ir.Node | None:
    """The first place that loads, saves or returns what a name holds; loaded into `model`, where one is given."""
    for statement in block:
        if isinstance(statement, ir.Assign) and name in map(path_of, statement.targets):
            return None
        returned = statement.value if isinstance(statement, ir.Return) and not model else None
        if returned is not None and name in map(path_of, _parts(returned)):
            return statement
        for part in walk(statement):
            if not isinstance(part, ir.Call) or not isinstance(part.func, ir.Attr) or part.func.name not in _USERS:
                continue
            if model and (part.func.name == "save" or path_of(part.func.value) != model):
                continue
            if part.arguments and name in map(path_of, _parts(part.arguments[0].value)):
                return part
    return None


def _parts(value: ir.Expr) -> tuple[ir.Expr, ...]:
    if isinstance(value, ir.Collection):
        return value.items
    if isinstance(value, ir.Mapping):
        return tuple(item for _, item in value.items)
    return (value.value if isinstance(value, ir.Index) else value,)
