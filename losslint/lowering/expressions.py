"""Expressions and the targets of assignments: a handler per libcst node, found in a dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libcst as cst

from losslint.lowering import ir
from losslint.lowering.literals import literal_text, unescaped
from losslint.lowering.state import RETURN, Lowering, Node, known

_BINARY: dict[type, str] = {
    cst.Add: "+",
    cst.Subtract: "-",
    cst.Multiply: "*",
    cst.Divide: "/",
    cst.FloorDivide: "//",
    cst.Modulo: "%",
    cst.Power: "**",
    cst.MatrixMultiply: "@",
    cst.BitAnd: "&",
    cst.BitOr: "|",
    cst.BitXor: "^",
    cst.LeftShift: "<<",
    cst.RightShift: ">>",
}
_COMPARE: dict[type, str] = {
    cst.Equal: "==",
    cst.NotEqual: "!=",
    cst.LessThan: "<",
    cst.LessThanEqual: "<=",
    cst.GreaterThan: ">",
    cst.GreaterThanEqual: ">=",
    cst.Is: "is",
    cst.IsNot: "is not",
    cst.In: "in",
    cst.NotIn: "not in",
}
_UNARY: dict[type, str] = {cst.Minus: "-", cst.Plus: "+", cst.Not: "not", cst.BitInvert: "~"}
_WORDS: dict[str, bool | None] = {"True": True, "False": False, "None": None}

SLOTTED_ARITHMETIC = frozenset({"%", "/", "//", "*"})
_SLOTTED_COMPARISONS = frozenset({"==", "!=", ">=", "<=", ">", "<"})
# `i % c` against `c - 1`: the last value before the wrap, and everything below it
_LAST_OF_WINDOW = frozenset({"==", "!=", ">=", "<"})
_LAST_OF_WINDOW_REVERSED = frozenset({"==", "!=", "<=", ">"})

_INTERPOLATED_TEXT = frozenset(known({"FormattedStringText": None, "TemplatedStringText": None}))

_Handler = Callable[[Lowering, Node], ir.Expr]


def expression(low: Lowering, node: Node) -> ir.Expr:
    handler = _EXPR.get(type(node))
    return handler(low, node) if handler is not None else ir.Opaque((), node)


def optional(low: Lowering, node: Node) -> ir.Expr | None:
    return None if node is None else expression(low, node)


# ---------------------------------------------------------------- literals


def _name(low: Lowering, node: cst.Name) -> ir.Expr:
    word = node.value
    if word in _WORDS:
        return ir.Const(_WORDS[word], None, node)
    low.read.append(word)
    return ir.Name(word, node)


def _integer(low: Lowering, node: cst.Integer) -> ir.Expr:
    try:
        return ir.Const(int(node.value, 0), None, node)
    except ValueError:  # more digits than Python converts
        return ir.Opaque((), node)


def _float(low: Lowering, node: cst.Float) -> ir.Expr:
    return ir.Const(float(node.value), None, node)


def _imaginary(low: Lowering, node: cst.Imaginary) -> ir.Expr:
    return ir.Const(complex(node.value), None, node)


def _ellipsis(low: Lowering, node: cst.Ellipsis) -> ir.Expr:
    return ir.Const(Ellipsis, None, node)


def _string(low: Lowering, node: cst.SimpleString) -> ir.Expr:
    return ir.Const(literal_text(node.value), None, node)


def _format_parts(low: Lowering, node: Node, values: list[ir.Expr], literal: list[str]) -> None:
    """Add the interpolated expressions and the literal text of an f-string or t-string."""
    prefix = node.start.rstrip("\"'").lower()
    for part in node.parts:
        if type(part) in _INTERPOLATED_TEXT:
            literal.append(unescaped(part.value, prefix).replace("{{", "{").replace("}}", "}"))
        else:
            _interpolation(low, part, values)


def _interpolation(low: Lowering, part: Node, values: list[ir.Expr]) -> None:
    values.append(expression(low, part.expression))
    for nested in part.format_spec or ():
        if type(nested) not in _INTERPOLATED_TEXT:
            _interpolation(low, nested, values)


def _format(low: Lowering, node: Node) -> ir.Expr:
    values: list[ir.Expr] = []
    literal: list[str] = []
    _format_parts(low, node, values, literal)
    return ir.Format(tuple(values), "".join(literal), node)


def _concatenated(low: Lowering, node: cst.ConcatenatedString) -> ir.Expr:
    values: list[ir.Expr] = []
    literal: list[str] = []
    plain = True
    piece: Node = node
    while piece is not None:
        this, piece_after = (piece.left, piece.right) if type(piece) is cst.ConcatenatedString else (piece, None)
        if type(this) is cst.SimpleString:
            literal.append(literal_text(this.value))
        else:
            plain = False
            _format_parts(low, this, values, literal)
        piece = piece_after
    text = "".join(literal)
    return ir.Const(text, None, node) if plain else ir.Format(tuple(values), text, node)


# ---------------------------------------------------------------- operators


def slot(low: Lowering, value: ir.Expr) -> None:
    """Give an integer literal above 1 its slot: it may be a window size written down."""
    if type(value) is ir.Const and type(value.value) is int and value.value > 1:
        value.slot = (low.function, value.value)


def _binary(low: Lowering, node: cst.BinaryOperation) -> ir.Expr:
    chain = [node]
    first: Node = node.left
    while type(first) is cst.BinaryOperation:
        chain.append(first)
        first = first.left
    left = expression(low, first)
    for link in reversed(chain):
        op = _BINARY[type(link.operator)]
        right = expression(low, link.right)
        if op in SLOTTED_ARITHMETIC:
            slot(low, left)
            slot(low, right)
        left = ir.Binary(op, left, right, link)
    return left


def _logic(low: Lowering, node: cst.BooleanOperation) -> ir.Expr:
    kind = type(node.operator)
    op = "and" if kind is cst.And else "or"
    rights: list[Any] = [node.right]
    first: Node = node.left
    while type(first) is cst.BooleanOperation and type(first.operator) is kind:
        rights.append(first.right)
        first = first.left
    rights.append(first)
    values: list[ir.Expr] = []
    for part in reversed(rights):
        value = expression(low, part)
        if type(value) is ir.Logic and value.op == op:
            values.extend(value.values)
        else:
            values.append(value)
    return ir.Logic(op, tuple(values), node)


def _unary(low: Lowering, node: cst.UnaryOperation) -> ir.Expr:
    return ir.Unary(_UNARY[type(node.operator)], expression(low, node.expression), node)


def _counts(value: ir.Expr) -> bool:
    """Whether a number compared with `value` may be a window size: a name, an attribute or a remainder."""
    kind = type(value)
    return kind is ir.Name or kind is ir.Attr or (kind is ir.Binary and value.op == "%")  # type: ignore[union-attr]


def _last_of(remainder: ir.Expr, literal: ir.Expr) -> ir.Expr | None:
    """For `x % c` and the literal `c - 1`: the literal as `c - 1`, so that it follows `c`; None for anything else."""
    if type(remainder) is not ir.Binary or remainder.op != "%" or type(literal) is not ir.Const:
        return None
    window = remainder.right
    if type(window) is not ir.Const or window.slot is None or type(literal.value) is not int:
        return None
    if literal.value != window.value - 1:
        return None
    return ir.Binary("-", ir.Const(window.value, window.slot, literal.cst), ir.Const(1, None, literal.cst), literal.cst)


def _comparison(low: Lowering, node: cst.Comparison) -> ir.Expr:
    left = expression(low, node.left)
    if len(node.comparisons) != 1:
        ops = tuple([_COMPARE[type(target.operator)] for target in node.comparisons])
        rights = tuple([expression(low, target.comparator) for target in node.comparisons])
        if _counts(left):
            for right in rights:
                slot(low, right)
        return ir.Compare(left, ops, rights, node)
    target = node.comparisons[0]
    op = _COMPARE[type(target.operator)]
    right = expression(low, target.comparator)
    if op in _SLOTTED_COMPARISONS:
        if type(right) is ir.Const:
            last = _last_of(left, right) if op in _LAST_OF_WINDOW else None
            if last is not None:
                right = last
            elif _counts(left):
                slot(low, right)
        elif type(left) is ir.Const:
            last = _last_of(right, left) if op in _LAST_OF_WINDOW_REVERSED else None
            if last is not None:
                left = last
            elif _counts(right):
                slot(low, left)
    return ir.Compare(left, (op,), (right,), node)


def _choice(low: Lowering, node: cst.IfExp) -> ir.Expr:
    test = expression(low, node.test)
    return ir.Choice(test, expression(low, node.body), expression(low, node.orelse), node)


# ---------------------------------------------------------------- calls, attributes, subscripts


def _attribute(low: Lowering, node: cst.Attribute) -> ir.Expr:
    name = node.attr.value
    value = expression(low, node.value)
    low.read.append(name)
    return ir.Attr(value, name, node)


def _call(low: Lowering, node: cst.Call) -> ir.Expr:
    called: Node = node.func
    func: ir.Expr
    ranged = False
    if type(called) is cst.Attribute:
        name = called.attr.value
        func = ir.Attr(expression(low, called.value), name, called)
        low.calls.append(name)
    elif type(called) is cst.Name:
        name = called.value
        func = ir.Name(name, called)
        low.calls.append(name)
        ranged = name == "range"
    else:
        func = expression(low, called)
    arguments = tuple([_argument(low, argument) for argument in node.args])
    if ranged:
        for argument in arguments:
            slot(low, argument.value)
    return ir.Call(func, arguments, node)


def _argument(low: Lowering, node: cst.Arg) -> ir.Argument:
    keyword = node.keyword
    return ir.Argument(expression(low, node.value), None if keyword is None else keyword.value, node.star, node)


def _index(low: Lowering, node: Node) -> ir.Expr:
    part = node.slice
    if type(part) is cst.Index:
        value = expression(low, part.value)
        return ir.Starred(value, part) if part.star else value
    return ir.Slice(optional(low, part.lower), optional(low, part.upper), optional(low, part.step), part)


def _subscript(low: Lowering, node: cst.Subscript) -> ir.Expr:
    value = expression(low, node.value)
    elements = node.slice
    if len(elements) == 1 and type(elements[0].comma) is not cst.Comma:
        return ir.Index(value, _index(low, elements[0]), node)
    index = ir.Collection("tuple", tuple([_index(low, element) for element in elements]), node)
    return ir.Index(value, index, node)


# ---------------------------------------------------------------- displays and comprehensions


def _element(low: Lowering, node: Node) -> ir.Expr:
    value = expression(low, node.value)
    return ir.Starred(value, node) if type(node) is cst.StarredElement else value


def _tuple(low: Lowering, node: cst.Tuple) -> ir.Expr:
    return ir.Collection("tuple", tuple([_element(low, element) for element in node.elements]), node)


def _list(low: Lowering, node: cst.List) -> ir.Expr:
    return ir.Collection("list", tuple([_element(low, element) for element in node.elements]), node)


def _set(low: Lowering, node: cst.Set) -> ir.Expr:
    return ir.Collection("set", tuple([_element(low, element) for element in node.elements]), node)


def _starred(low: Lowering, node: cst.StarredElement) -> ir.Expr:
    return ir.Starred(expression(low, node.value), node)


def _dict(low: Lowering, node: cst.Dict) -> ir.Expr:
    items: list[tuple[ir.Expr | None, ir.Expr]] = []
    for element in node.elements:
        key = expression(low, element.key) if type(element) is cst.DictElement else None
        items.append((key, expression(low, element.value)))
    return ir.Mapping(tuple(items), node)


def _generators(low: Lowering, node: cst.CompFor | None) -> tuple[ir.Generator, ...]:
    generators: list[ir.Generator] = []
    while node is not None:
        iterable = expression(low, node.iter)
        target = lowered_target(low, node.target)
        generators.append(ir.Generator(target, iterable, tuple([expression(low, each.test) for each in node.ifs])))
        node = node.inner_for_in
    return tuple(generators)


def _comprehension(low: Lowering, node: Node, kind: str, key_node: Node, element_node: Node) -> ir.Comprehension:
    mark = low.mark()
    generators = _generators(low, node.for_in)
    key = optional(low, key_node)
    element = expression(low, element_node)
    return ir.Comprehension(kind, key, element, generators, low.facts(mark, 0), node)


def _generator_expression(low: Lowering, node: cst.GeneratorExp) -> ir.Expr:
    return _comprehension(low, node, "generator", None, node.elt)


def _list_comprehension(low: Lowering, node: cst.ListComp) -> ir.Expr:
    return _comprehension(low, node, "list", None, node.elt)


def _set_comprehension(low: Lowering, node: cst.SetComp) -> ir.Expr:
    return _comprehension(low, node, "set", None, node.elt)


def _dict_comprehension(low: Lowering, node: cst.DictComp) -> ir.Expr:
    return _comprehension(low, node, "dict", node.key, node.value)


def _starred_dict_comprehension(low: Lowering, node: Node) -> ir.Expr:
    return ir.Opaque((_comprehension(low, node, "generator", None, node.value),), node)


# ---------------------------------------------------------------- the other expressions


def _walrus(low: Lowering, node: cst.NamedExpr) -> ir.Expr:
    value = expression(low, node.value)
    return ir.Walrus(lowered_target(low, node.target), value, node)


def _yield(low: Lowering, node: cst.Yield) -> ir.Expr:
    low.yields = True
    value = node.value
    return ir.Yield(optional(low, value.item if type(value) is cst.From else value), node)


def _await(low: Lowering, node: cst.Await) -> ir.Expr:
    return expression(low, node.expression)


def _lambda(low: Lowering, node: cst.Lambda) -> ir.Expr:
    parameters = lowered_parameters(low, node.params)
    mark, yields, jumps = low.mark(), low.yields, low.jumps
    low.yields = False
    body: ir.Block = (ir.Return(expression(low, node.body), node.body),)
    facts = low.facts(mark, RETURN)
    function = ir.Function("<lambda>", parameters, body, (), facts, low.yields, None, node)
    low.yields, low.jumps = yields, jumps
    return ir.Lambda(function, node)


# ---------------------------------------------------------------- assignment targets


def lowered_target(low: Lowering, node: Node) -> ir.Expr:
    """Lower what is bound. Assigning to an element counts as assigning to what holds it."""
    kind = type(node)
    if kind is cst.Name:
        low.assigned.append(node.value)
        return ir.Name(node.value, node)
    if kind is cst.Attribute:
        low.assigned.append(node.attr.value)
        return ir.Attr(expression(low, node.value), node.attr.value, node)
    if kind is cst.Tuple or kind is cst.List:
        items = tuple([lowered_target(low, element) for element in node.elements])
        return ir.Collection("tuple" if kind is cst.Tuple else "list", items, node)
    if kind is cst.Element:
        return lowered_target(low, node.value)
    if kind is cst.StarredElement:
        return ir.Starred(lowered_target(low, node.value), node)
    if kind is cst.Subscript:
        held = expression(low, node)
        holder = held.value if type(held) is ir.Index else None
        while type(holder) is ir.Index:
            holder = holder.value
        if type(holder) is ir.Name:
            low.assigned.append(holder.id)
        elif type(holder) is ir.Attr:
            low.assigned.append(holder.name)
        return held
    return expression(low, node)


def unlogged(low: Lowering, lowered: Callable[[Lowering, Node], ir.Expr], node: Node) -> ir.Expr:
    """Lower a node that is no fact of the program: an annotation, or what is deleted."""
    calls, assigned, read = low.mark()
    result = lowered(low, node)
    del low.calls[calls:], low.assigned[assigned:], low.read[read:]
    return result


# ---------------------------------------------------------------- parameters


def _parameter(low: Lowering, node: cst.Param, kind: str) -> ir.Parameter:
    annotation = None if node.annotation is None else unlogged(low, expression, node.annotation.annotation)
    return ir.Parameter(node.name.value, optional(low, node.default), kind, node, annotation)


def lowered_parameters(low: Lowering, node: cst.Parameters) -> tuple[ir.Parameter, ...]:
    out = [_parameter(low, param, "positional") for param in (*node.posonly_params, *node.params)]
    if type(node.star_arg) is cst.Param:
        out.append(_parameter(low, node.star_arg, "*"))
    out.extend([_parameter(low, param, "keyword") for param in node.kwonly_params])
    if node.star_kwarg is not None:
        out.append(_parameter(low, node.star_kwarg, "**"))
    return tuple(out)


# ---------------------------------------------------------------- dispatch

_EXPR: dict[type, _Handler] = known(
    {
        "Name": _name,
        "Attribute": _attribute,
        "Call": _call,
        "Integer": _integer,
        "Float": _float,
        "Imaginary": _imaginary,
        "Ellipsis": _ellipsis,
        "SimpleString": _string,
        "FormattedString": _format,
        "TemplatedString": _format,
        "ConcatenatedString": _concatenated,
        "BinaryOperation": _binary,
        "BooleanOperation": _logic,
        "UnaryOperation": _unary,
        "Comparison": _comparison,
        "IfExp": _choice,
        "Subscript": _subscript,
        "Tuple": _tuple,
        "List": _list,
        "Set": _set,
        "Dict": _dict,
        "StarredElement": _starred,
        "GeneratorExp": _generator_expression,
        "ListComp": _list_comprehension,
        "SetComp": _set_comprehension,
        "DictComp": _dict_comprehension,
        "StarredDictComp": _starred_dict_comprehension,
        "NamedExpr": _walrus,
        "Yield": _yield,
        "Await": _await,
        "Lambda": _lambda,
    }
)
