"""Targets that are the same number for every sample, told from the text: names are followed to where they are made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from losslint.interpreter.program import Program, path_of, statements
from losslint.lowering import ir
from losslint.lowering.walk import walk

_ZEROS = frozenset({"zeros", "zeros_like", "new_zeros"})
_ONES = frozenset({"ones", "ones_like", "new_ones"})
_FULL = frozenset({"full", "full_like", "new_full"})
_KEEPING = frozenset(
    "float double half long int bool to cuda cpu type view reshape squeeze unsqueeze expand expand_as view_as repeat"
    " contiguous clone detach requires_grad_ flatten".split()
)
_WALKING = frozenset({"enumerate", "tqdm", "iter", "cycle"})
_DEPTH = 8


class Constant(NamedTuple):
    """A tensor that holds one number, and where it is made."""

    value: int
    node: ir.Node


def target(program: Program, call: ir.Call) -> Constant | None:
    """The one number that all targets of a loss function are; None where they differ, or that is not known."""
    given = next((a.value for a in call.arguments if a.keyword == "target"), None)
    if given is None:
        places = [a.value for a in call.arguments if a.keyword is None and not a.star]
        given = places[1] if len(places) > 1 else None
    return _constant(_blocks_around(program, call), program, given, _DEPTH) if given is not None else None


def _blocks_around(program: Program, node: ir.Node) -> list[ir.Block]:
    """The body of the function that holds an expression, and that of the module."""
    inside = (f.body for f in program.module.functions if any(part is node for part in _expressions(f.body)))
    return [*inside, program.module.body][-2:]


def _expressions(block: ir.Block) -> Iterator[ir.Expr]:
    for statement in statements(block):
        yield from walk(statement)


def _constant(blocks: Sequence[ir.Block], program: Program, value: ir.Expr, depth: int) -> Constant | None:
    if depth == 0:
        return None
    if isinstance(value, ir.Index):
        return _constant(blocks, program, value.value, depth - 1)
    if isinstance(value, ir.Call):
        name = path_of(value.func).rsplit(".", 1)[-1]
        if name in _ZEROS or name in _ONES:
            return Constant(int(name in _ONES), value)
        if name in _FULL and len(value.arguments) > 1 and isinstance(value.arguments[1].value, ir.Const):
            number = value.arguments[1].value.value
            return Constant(int(number), value) if number in (0, 1) else None
        if name in _KEEPING and isinstance(value.func, ir.Attr):
            return _constant(blocks, program, value.func.value, depth - 1)
        return None
    if isinstance(value, ir.Name):
        for place, block in enumerate(blocks):
            made = list(_bound(block, value.id))
            if made:
                # a name that is bound or changed anywhere else is not followed
                only = made[0] if len(made) == 1 else None
                if isinstance(only, ir.For):
                    return _item(blocks[place:], program, only, value.id, depth - 1)
                return _constant(blocks[place:], program, only, depth - 1) if only is not None else None
    return None


def _bound(block: ir.Block, name: str) -> Iterator[ir.Expr | ir.For | None]:
    """What a block gives a name: the value, the loop, or None for anything that changes what it holds."""
    for statement in statements(block):
        if isinstance(statement, ir.Assign):
            for bound in statement.targets:
                if isinstance(bound, ir.Name) and bound.id == name:
                    yield statement.value
                elif not isinstance(bound, ir.Name) and name in _names(bound):
                    yield None
        elif isinstance(statement, ir.Augment):
            if name in _names(statement.target):
                yield None
        elif isinstance(statement, ir.For) and name in _names(statement.target):
            yield statement
        elif isinstance(statement, ir.Evaluate) and isinstance(statement.value, ir.Call):
            func = statement.value.func
            if isinstance(func, ir.Attr) and func.name.endswith("_") and name in _names(func.value):
                yield None


def _names(node: ir.Expr) -> set[str]:
    return {part.id for part in walk(node) if isinstance(part, ir.Name)}


def _item(blocks: Sequence[ir.Block], program: Program, loop: ir.For, name: str, depth: int) -> Constant | None:
    """What a loop over a loader gives a name: the part of the data set in the same place."""
    target, source = loop.target, loop.iterable
    while isinstance(source, ir.Call) and path_of(source.func).rsplit(".", 1)[-1] in _WALKING and source.arguments:
        if isinstance(target, ir.Collection) and path_of(source.func) == "enumerate":
            target = target.items[-1]
        source = source.arguments[0].value
    if not isinstance(target, ir.Collection):
        return None
    place = next((at for at, part in enumerate(target.items) if isinstance(part, ir.Name) and part.id == name), None)
    loader = _followed(blocks, source)
    if place is None or not isinstance(loader, ir.Call) or path_of(loader.func).rsplit(".", 1)[-1] != "DataLoader":
        return None
    data = _followed(blocks, loader.arguments[0].value) if loader.arguments else None
    if not isinstance(data, ir.Call):
        return None
    maker = path_of(data.func).rsplit(".", 1)[-1]
    if maker == "TensorDataset":
        return _constant(blocks, program, data.arguments[place].value, depth) if len(data.arguments) > place else None
    return _sample(program, maker, place, depth)


def _followed(blocks: Sequence[ir.Block], value: ir.Expr) -> ir.Expr | None:
    """The value that a name is bound to, where it is bound once."""
    if not isinstance(value, ir.Name):
        return value
    for block in blocks:
        made = list(_bound(block, value.id))
        if made:
            return made[0] if len(made) == 1 and not isinstance(made[0], ir.For) else None
    return None


def _sample(program: Program, name: str, place: int, depth: int) -> Constant | None:
    """One part of what the `__getitem__` of a data set of the module returns."""
    cls = next((cls for cls in program.module.classes if cls.name == name), None)
    found = [s for s in (cls.body if cls is not None else ()) if isinstance(s, ir.Function) and s.name == "__getitem__"]
    returns = [s for method in found for s in statements(method.body) if isinstance(s, ir.Return)]
    if len(returns) != 1 or not isinstance(returns[0].value, ir.Collection) or len(returns[0].value.items) <= place:
        return None
    return _constant([found[0].body], program, returns[0].value.items[place], depth)
