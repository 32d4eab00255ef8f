"""The libcst tree becomes the typed IR, in one pass of our own: the way in, and the statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import libcst as cst

from losslint.lowering import ir
from losslint.lowering.expressions import (
    SLOTTED_ARITHMETIC,
    expression,
    lowered_parameters,
    lowered_target,
    optional,
    slot,
    unlogged,
)
from losslint.lowering.state import (
    BREAK,
    CONTINUE,
    LOOP_JUMPS,
    NO_FACTS,
    RAISE,
    RETURN,
    Lowering,
    Node,
    known,
)

_AUGMENT: dict[type, str] = {
    cst.AddAssign: "+",
    cst.SubtractAssign: "-",
    cst.MultiplyAssign: "*",
    cst.DivideAssign: "/",
    cst.FloorDivideAssign: "//",
    cst.ModuloAssign: "%",
    cst.PowerAssign: "**",
    cst.MatrixMultiplyAssign: "@",
    cst.BitAndAssign: "&",
    cst.BitOrAssign: "|",
    cst.BitXorAssign: "^",
    cst.LeftShiftAssign: "<<",
    cst.RightShiftAssign: ">>",
}
_PATTERN_VALUES = frozenset({cst.MatchValue, cst.MatchSingleton})

_Handler = Callable[[Lowering, Node], ir.Stmt | None]


def lower(tree: cst.Module, path: str) -> ir.Module:
    """Lower a parsed file. A statement nested too deeply for Python's stack becomes an opaque one."""
    low = Lowering()
    body = _statements(low, tree.body)
    return ir.Module(path, body, low.functions, low.classes, low.facts((0, 0, 0), low.jumps), tree, low.imports)


# ---------------------------------------------------------------- simple statements


def _expression_statement(low: Lowering, node: cst.Expr) -> ir.Stmt | None:
    value = expression(low, node.value)
    return None if type(value) is ir.Const else ir.Evaluate(value, node)


def _assign(low: Lowering, node: cst.Assign) -> ir.Stmt:
    value = expression(low, node.value)
    return ir.Assign(tuple([lowered_target(low, target.target) for target in node.targets]), value, node)


def _annotated(low: Lowering, node: cst.AnnAssign) -> ir.Stmt:
    if node.value is not None:
        value = expression(low, node.value)
        return ir.Assign((lowered_target(low, node.target),), value, node)
    annotation = unlogged(low, expression, node.annotation.annotation)
    return ir.Declare(unlogged(low, lowered_target, node.target), annotation, node)


def _augment(low: Lowering, node: cst.AugAssign) -> ir.Stmt:
    op = _AUGMENT[type(node.operator)]
    target = lowered_target(low, node.target)
    value = expression(low, node.value)
    if op in SLOTTED_ARITHMETIC:
        slot(low, value)
    return ir.Augment(op, target, value, node)


def _return(low: Lowering, node: cst.Return) -> ir.Stmt:
    low.jumps |= RETURN
    return ir.Return(optional(low, node.value), node)


def _break(low: Lowering, node: cst.Break) -> ir.Stmt:
    low.jumps |= BREAK
    return ir.Break(node)


def _continue(low: Lowering, node: cst.Continue) -> ir.Stmt:
    low.jumps |= CONTINUE
    return ir.Continue(node)


def _raise(low: Lowering, node: cst.Raise) -> ir.Stmt:
    low.jumps |= RAISE
    return ir.Raise(optional(low, node.exc), node)


def _assert(low: Lowering, node: cst.Assert) -> ir.Stmt:
    return ir.Assert(expression(low, node.test), node)


def _delete(low: Lowering, node: cst.Del) -> ir.Stmt:
    deleted: Node = node.target
    parts = [element.value for element in deleted.elements] if type(deleted) is cst.Tuple else [deleted]
    return ir.Delete(tuple([unlogged(low, lowered_target, part) for part in parts]), node)


def _global(low: Lowering, node: cst.Global) -> ir.Stmt:
    return ir.Scope("global", tuple([item.name.value for item in node.names]), node)


def _nonlocal(low: Lowering, node: cst.Nonlocal) -> ir.Stmt:
    return ir.Scope("nonlocal", tuple([item.name.value for item in node.names]), node)


def _pass(low: Lowering, node: cst.Pass) -> None:
    return None


def _type_alias(low: Lowering, node: cst.TypeAlias) -> ir.Stmt:
    value = ir.Opaque((unlogged(low, expression, node.value),), node)
    return ir.Assign((lowered_target(low, node.name),), value, node)


def _dotted(node: Node) -> str:
    parts: list[str] = []
    while type(node) is cst.Attribute:
        parts.append(node.attr.value)
        node = node.value
    parts.append(node.value)
    return ".".join(reversed(parts))


def _bound(alias: cst.ImportAlias) -> str | None:
    return None if alias.asname is None else _dotted(alias.asname.name)


def _import(low: Lowering, node: Node) -> ir.Stmt:
    names: list[tuple[str, str, bool]] = []
    for alias in node.names:
        dotted, bound = _dotted(alias.name), _bound(alias)
        if bound is None:
            bound = dotted.partition(".")[0]
            names.append((dotted, bound, bound == dotted))
        else:
            names.append((dotted, bound, True))
        low.assigned.append(bound)
    statement = ir.Import(tuple(names), node)
    low.imports.append(statement)
    return statement


def _import_from(low: Lowering, node: Node) -> ir.Stmt:
    module = "" if node.module is None else _dotted(node.module)
    names: tuple[tuple[str, str], ...]
    if type(node.names) is cst.ImportStar:
        names = (("*", "*"),)
    else:
        names = tuple([(_dotted(alias.name), _bound(alias) or _dotted(alias.name)) for alias in node.names])
        low.assigned.extend([bound for _, bound in names])
    statement = ir.ImportFrom(module, len(node.relative), names, node)
    low.imports.append(statement)
    return statement


# ---------------------------------------------------------------- compound statements


def _statements(low: Lowering, nodes: Iterable[Any]) -> ir.Block:
    out: list[ir.Stmt] = []
    for node in nodes:
        for small in node.body if type(node) is cst.SimpleStatementLine else (node,):
            place = low.function, low.outer, low.yields, low.jumps
            handler = _STMT.get(type(small))
            try:
                statement = _unknown_statement(low, small) if handler is None else handler(low, small)
            except RecursionError:
                low.function, low.outer, low.yields, low.jumps = place
                statement = ir.Evaluate(ir.Opaque((), small), small)
            if statement is not None:
                out.append(statement)
    return tuple(out)


def _unknown_statement(low: Lowering, node: Node) -> ir.Stmt:
    return ir.Evaluate(ir.Opaque((), node), node)


def _suite(low: Lowering, node: Node) -> ir.Block:
    return _statements(low, node.body)


def _else(low: Lowering, node: Node) -> ir.Block:
    return () if node is None else _statements(low, node.body.body)


def _if(low: Lowering, node: cst.If) -> ir.Stmt:
    # one branch a turn, since hundreds of `elif` would not fit on the stack
    outside, low.jumps = low.jumps, 0
    branches: list[tuple[Any, ir.Expr, ir.Block, tuple[int, int, int], int]] = []
    rest: Node = node
    while type(rest) is cst.If:
        mark = low.mark()
        test = expression(low, rest.test)
        low.jumps = 0
        body = _suite(low, rest.body)
        branches.append((rest, test, body, mark, low.jumps))
        rest = rest.orelse
    low.jumps = 0
    orelse = _else(low, rest)
    jumps = low.jumps
    for branch, test, body, mark, branch_jumps in reversed(branches):
        jumps |= branch_jumps
        lowered = ir.If(test, body, orelse, low.facts(mark, jumps), branch)
        orelse = (lowered,)
    low.jumps = outside | jumps
    return lowered


def _loop_body(low: Lowering, node: Node) -> tuple[ir.Block, ir.Block, int]:
    """The two blocks of a loop, and the jumps that leave the loop; they are added to those of the code around it."""
    outside, low.jumps = low.jumps, 0
    body = _suite(low, node.body)
    low.jumps &= ~LOOP_JUMPS
    orelse = _else(low, node.orelse)
    jumps = low.jumps
    low.jumps |= outside
    return body, orelse, jumps


def _for(low: Lowering, node: cst.For) -> ir.Stmt:
    mark = low.mark()
    iterable = expression(low, node.iter)
    target = lowered_target(low, node.target)
    body, orelse, jumps = _loop_body(low, node)
    return ir.For(target, iterable, body, orelse, low.facts(mark, jumps), node)


def _while(low: Lowering, node: cst.While) -> ir.Stmt:
    mark = low.mark()
    test = expression(low, node.test)
    body, orelse, jumps = _loop_body(low, node)
    return ir.While(test, body, orelse, low.facts(mark, jumps), node)


def _with(low: Lowering, node: cst.With) -> ir.Stmt:
    mark = low.mark()
    items: list[ir.WithItem] = []
    for item in node.items:
        value = expression(low, item.item)
        items.append(ir.WithItem(value, None if item.asname is None else lowered_target(low, item.asname.name)))
    outside, low.jumps = low.jumps, 0
    body = _suite(low, node.body)
    jumps = low.jumps
    low.jumps |= outside
    return ir.With(tuple(items), body, low.facts(mark, jumps), node)


def _handler(low: Lowering, node: Node) -> ir.Block:
    if node.name is None:
        return _suite(low, node.body)
    # `as error` binds something nothing is known of, and is no reason to lose the name
    caught: ir.Expr = ir.Opaque((expression(low, node.type),), node.type)
    target = lowered_target(low, node.name.name)
    return (ir.Assign((target,), caught, node.name.name), *_suite(low, node.body))


def _try(low: Lowering, node: Node) -> ir.Stmt:
    mark = low.mark()
    outside, low.jumps = low.jumps, 0
    body = _suite(low, node.body)
    handlers = tuple([_handler(low, handler) for handler in node.handlers])
    orelse = _else(low, node.orelse)
    final = _else(low, node.finalbody)
    jumps = low.jumps
    low.jumps |= outside
    return ir.Try(body, handlers, orelse, final, low.facts(mark, jumps), node)


def _captures(pattern: Node, names: list[str]) -> None:
    """Add the names that a pattern binds, in order."""
    kind = type(pattern)
    if kind is cst.MatchAs:
        if pattern.pattern is not None:
            _captures(pattern.pattern, names)
        if pattern.name is not None:
            names.append(pattern.name.value)
    elif kind is cst.MatchStar:
        if pattern.name is not None:
            names.append(pattern.name.value)
    elif kind is cst.MatchMapping:
        for element in pattern.elements:
            _captures(element.pattern, names)
        if pattern.rest is not None:
            names.append(pattern.rest.value)
    elif kind is cst.MatchClass:
        for element in pattern.patterns:
            _captures(element.value, names)
        for keyword in pattern.kwds:
            _captures(keyword.pattern, names)
    elif kind is cst.MatchSequenceElement:
        _captures(pattern.value, names)
    elif kind is cst.MatchOr:
        _captures(pattern.patterns[0].pattern, names)  # every alternative binds the same names
    elif kind is cst.MatchList or kind is cst.MatchTuple:
        for element in pattern.patterns:
            _captures(element, names)


def _case(low: Lowering, node: cst.MatchCase) -> ir.Case:
    pattern: Node = node.pattern
    names: list[str] = []
    _captures(pattern, names)
    low.assigned.extend(names)
    value = expression(low, pattern.value) if type(pattern) in _PATTERN_VALUES else None
    guard = optional(low, node.guard)
    return ir.Case(tuple(names), value, guard, _suite(low, node.body))


def _match(low: Lowering, node: cst.Match) -> ir.Stmt:
    mark = low.mark()
    subject = expression(low, node.subject)
    outside, low.jumps = low.jumps, 0
    cases = tuple([_case(low, case) for case in node.cases])
    jumps = low.jumps
    low.jumps |= outside
    return ir.Match(subject, cases, low.facts(mark, jumps), node)


def _decorators(low: Lowering, nodes: Sequence[cst.Decorator]) -> tuple[ir.Expr, ...]:
    return tuple([expression(low, node.decorator) for node in nodes])


def _function(low: Lowering, node: cst.FunctionDef) -> ir.Stmt:
    decorators = _decorators(low, node.decorators)
    parameters = lowered_parameters(low, node.params)
    name = node.name.value
    low.assigned.append(name)
    function = ir.Function(name, parameters, (), decorators, NO_FACTS, False, low.outer, node)
    low.functions.append(function)
    place = low.function, low.outer, low.yields, low.jumps
    low.counter += 1
    low.function, low.outer, low.yields, low.jumps = low.counter, None, False, 0
    mark = low.mark()
    function.body = _suite(low, node.body)
    function.facts = low.facts(mark, low.jumps)
    function.is_generator = low.yields
    low.function, low.outer, low.yields, low.jumps = place
    return function


def _class(low: Lowering, node: cst.ClassDef) -> ir.Stmt:
    decorators = _decorators(low, node.decorators)
    bases: list[ir.Expr] = []
    for base in node.bases:
        value = expression(low, base.value)
        bases.append(ir.Starred(value, base) if base.star else value)
    name = node.name.value
    low.assigned.append(name)
    lowered = ir.Class(name, tuple(bases), (), decorators, NO_FACTS, node)
    low.classes.append(lowered)
    outer, outside = low.outer, low.jumps
    low.outer, low.jumps = name, 0
    mark = low.mark()
    lowered.body = _suite(low, node.body)
    lowered.facts = low.facts(mark, low.jumps)
    low.outer = outer
    low.jumps |= outside
    return lowered


# ---------------------------------------------------------------- dispatch

_STMT: dict[type, _Handler] = known(
    {
        "Expr": _expression_statement,
        "Assign": _assign,
        "AnnAssign": _annotated,
        "AugAssign": _augment,
        "Return": _return,
        "Break": _break,
        "Continue": _continue,
        "Raise": _raise,
        "Assert": _assert,
        "Del": _delete,
        "Global": _global,
        "Nonlocal": _nonlocal,
        "Pass": _pass,
        "TypeAlias": _type_alias,
        "Import": _import,
        "ImportFrom": _import_from,
        "LazyImport": _import,
        "LazyImportFrom": _import_from,
        "If": _if,
        "For": _for,
        "While": _while,
        "With": _with,
        "Try": _try,
        "TryStar": _try,
        "Match": _match,
        "FunctionDef": _function,
        "ClassDef": _class,
    }
)
