"""The libcst tree becomes the typed IR, in one pass of our own: a handler per node type, found in a dict.

Facts cost no second walk. Every call, assignment and read is written to a log in the order in which it is met; the
facts of a piece of code are the part of the log that its lowering wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import libcst as cst

from losslint.lowering import ir

# a libcst node; what it is follows from its type, which mypy cannot narrow by
Node: TypeAlias = Any

EMPTY: frozenset[str] = frozenset()
NO_FACTS = ir.Facts(EMPTY, EMPTY, EMPTY, EMPTY)

_BREAK, _CONTINUE, _RETURN, _RAISE = 1, 2, 4, 8
_LOOP_JUMPS = _BREAK | _CONTINUE
_JUMP_NAMES = ((_BREAK, "break"), (_CONTINUE, "continue"), (_RETURN, "return"), (_RAISE, "raise"))
_JUMPS = tuple(frozenset(name for bit, name in _JUMP_NAMES if mask & bit) for mask in range(16))

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

_SLOTTED_ARITHMETIC = frozenset({"%", "/", "//", "*"})
_SLOTTED_COMPARISONS = frozenset({"==", "!=", ">=", "<=", ">", "<"})
# `i % c` against `c - 1`: the last value before the wrap, and everything below it
_LAST_OF_WINDOW = frozenset({"==", "!=", ">=", "<"})
_LAST_OF_WINDOW_REVERSED = frozenset({"==", "!=", "<=", ">"})

_ESCAPES = {
    "\n": "",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|N\{([^}]+)\}|(.))", re.DOTALL
)


def lower(tree: cst.Module, path: str) -> ir.Module:
    """Lower a parsed file. A statement nested too deeply for Python's stack becomes an opaque one."""
    low = _Lowering()
    body = _statements(low, tree.body)
    return ir.Module(path, body, low.functions, low.classes, low.facts((0, 0, 0), low.jumps), tree, low.imports)


class _Lowering:
    """The state of one pass: the log of facts, and where in the program it is."""

    __slots__ = (
        "assigned",
        "calls",
        "classes",
        "counter",
        "function",
        "functions",
        "imports",
        "jumps",
        "outer",
        "read",
        "yields",
    )

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.assigned: list[str] = []
        self.read: list[str] = []
        self.jumps = 0
        self.function = 0
        self.counter = 0
        self.outer: str | None = None
        self.yields = False
        self.functions: list[ir.Function] = []
        self.classes: list[ir.Class] = []
        self.imports: list[ir.Import | ir.ImportFrom] = []

    def mark(self) -> tuple[int, int, int]:
        """The present end of the log."""
        return len(self.calls), len(self.assigned), len(self.read)

    def facts(self, mark: tuple[int, int, int], jumps: int) -> ir.Facts:
        """What was logged since `mark`."""
        calls, assigned, read = mark
        return ir.Facts(
            frozenset(self.calls[calls:]) or EMPTY,
            frozenset(self.assigned[assigned:]) or EMPTY,
            frozenset(self.read[read:]) or EMPTY,
            _JUMPS[jumps],
        )


_ExprHandler = Callable[[_Lowering, Node], ir.Expr]
_StmtHandler = Callable[[_Lowering, Node], ir.Stmt | None]


def _expr(low: _Lowering, node: Node) -> ir.Expr:
    handler = _EXPR.get(type(node))
    return handler(low, node) if handler is not None else ir.Opaque((), node)


def _optional(low: _Lowering, node: Node) -> ir.Expr | None:
    return None if node is None else _expr(low, node)


# ---------------------------------------------------------------- literals


def _name(low: _Lowering, node: cst.Name) -> ir.Expr:
    word = node.value
    if word in _WORDS:
        return ir.Const(_WORDS[word], None, node)
    low.read.append(word)
    return ir.Name(word, node)


def _integer(low: _Lowering, node: cst.Integer) -> ir.Expr:
    try:
        return ir.Const(int(node.value, 0), None, node)
    except ValueError:  # more digits than Python converts
        return ir.Opaque((), node)


def _float(low: _Lowering, node: cst.Float) -> ir.Expr:
    return ir.Const(float(node.value), None, node)


def _imaginary(low: _Lowering, node: cst.Imaginary) -> ir.Expr:
    return ir.Const(complex(node.value), None, node)


def _ellipsis(low: _Lowering, node: cst.Ellipsis) -> ir.Expr:
    return ir.Const(Ellipsis, None, node)


def _escaped(match: re.Match[str]) -> str:
    octal, byte, short, long, name, other = match.groups()
    if octal is not None:
        return chr(int(octal, 8))
    code = byte or short or long
    if code is not None:
        value = int(code, 16)
        return chr(value) if value < 0x110000 else match.group()
    if name is not None:
        import unicodedata

        try:
            return unicodedata.lookup(name)
        except KeyError:
            return match.group()
    return _ESCAPES.get(other, match.group())


def _unescape(text: str, prefix: str) -> str:
    """The value of the text between the quotes of a literal whose letters before the quote are `prefix`."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\\" not in text or "r" in prefix:
        return text
    return _ESCAPE.sub(_escaped, text)


def _text(node: cst.SimpleString) -> str:
    """The value of one string literal; bytes are read as if each were a character."""
    literal = node.value
    quote = literal[-1]
    start = literal.index(quote)
    width = 3 if literal.startswith(quote * 3, start) and len(literal) >= start + 6 else 1
    inner = literal[start + width : -width]
    if "\\" not in inner and "\r" not in inner:
        return inner
    return _unescape(inner, literal[:start].lower())


def _string(low: _Lowering, node: cst.SimpleString) -> ir.Expr:
    return ir.Const(_text(node), None, node)


def _format_parts(low: _Lowering, node: Node, values: list[ir.Expr], literal: list[str]) -> None:
    """Add the interpolated expressions and the literal text of an f-string or t-string."""
    prefix = node.start.rstrip("\"'").lower()
    for part in node.parts:
        if type(part) in _INTERPOLATED_TEXT:
            literal.append(_unescape(part.value, prefix).replace("{{", "{").replace("}}", "}"))
        else:
            _interpolation(low, part, values)


def _interpolation(low: _Lowering, part: Node, values: list[ir.Expr]) -> None:
    values.append(_expr(low, part.expression))
    for nested in part.format_spec or ():
        if type(nested) not in _INTERPOLATED_TEXT:
            _interpolation(low, nested, values)


def _format(low: _Lowering, node: Node) -> ir.Expr:
    values: list[ir.Expr] = []
    literal: list[str] = []
    _format_parts(low, node, values, literal)
    return ir.Format(tuple(values), "".join(literal), node)


def _concatenated(low: _Lowering, node: cst.ConcatenatedString) -> ir.Expr:
    values: list[ir.Expr] = []
    literal: list[str] = []
    plain = True
    piece: Node = node
    while piece is not None:
        this, piece_after = (piece.left, piece.right) if type(piece) is cst.ConcatenatedString else (piece, None)
        if type(this) is cst.SimpleString:
            literal.append(_text(this))
        else:
            plain = False
            _format_parts(low, this, values, literal)
        piece = piece_after
    text = "".join(literal)
    return ir.Const(text, None, node) if plain else ir.Format(tuple(values), text, node)


# ---------------------------------------------------------------- operators


def _slot(low: _Lowering, value: ir.Expr) -> None:
    """Give an integer literal above 1 its slot: it may be a window size written down."""
    if type(value) is ir.Const and type(value.value) is int and value.value > 1:
        value.slot = (low.function, value.value)


def _binary(low: _Lowering, node: cst.BinaryOperation) -> ir.Expr:
    chain = [node]
    first: Node = node.left
    while type(first) is cst.BinaryOperation:
        chain.append(first)
        first = first.left
    left = _expr(low, first)
    for link in reversed(chain):
        op = _BINARY[type(link.operator)]
        right = _expr(low, link.right)
        if op in _SLOTTED_ARITHMETIC:
            _slot(low, left)
            _slot(low, right)
        left = ir.Binary(op, left, right, link)
    return left


def _logic(low: _Lowering, node: cst.BooleanOperation) -> ir.Expr:
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
        value = _expr(low, part)
        if type(value) is ir.Logic and value.op == op:
            values.extend(value.values)
        else:
            values.append(value)
    return ir.Logic(op, tuple(values), node)


def _unary(low: _Lowering, node: cst.UnaryOperation) -> ir.Expr:
    return ir.Unary(_UNARY[type(node.operator)], _expr(low, node.expression), node)


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


def _comparison(low: _Lowering, node: cst.Comparison) -> ir.Expr:
    left = _expr(low, node.left)
    if len(node.comparisons) != 1:
        ops = tuple([_COMPARE[type(target.operator)] for target in node.comparisons])
        rights = tuple([_expr(low, target.comparator) for target in node.comparisons])
        if _counts(left):
            for right in rights:
                _slot(low, right)
        return ir.Compare(left, ops, rights, node)
    target = node.comparisons[0]
    op = _COMPARE[type(target.operator)]
    right = _expr(low, target.comparator)
    if op in _SLOTTED_COMPARISONS:
        if type(right) is ir.Const:
            last = _last_of(left, right) if op in _LAST_OF_WINDOW else None
            if last is not None:
                right = last
            elif _counts(left):
                _slot(low, right)
        elif type(left) is ir.Const:
            last = _last_of(right, left) if op in _LAST_OF_WINDOW_REVERSED else None
            if last is not None:
                left = last
            elif _counts(right):
                _slot(low, left)
    return ir.Compare(left, (op,), (right,), node)


def _choice(low: _Lowering, node: cst.IfExp) -> ir.Expr:
    test = _expr(low, node.test)
    return ir.Choice(test, _expr(low, node.body), _expr(low, node.orelse), node)


# ---------------------------------------------------------------- calls, attributes, subscripts


def _attribute(low: _Lowering, node: cst.Attribute) -> ir.Expr:
    name = node.attr.value
    value = _expr(low, node.value)
    low.read.append(name)
    return ir.Attr(value, name, node)


def _call(low: _Lowering, node: cst.Call) -> ir.Expr:
    called: Node = node.func
    func: ir.Expr
    ranged = False
    if type(called) is cst.Attribute:
        name = called.attr.value
        func = ir.Attr(_expr(low, called.value), name, called)
        low.calls.append(name)
    elif type(called) is cst.Name:
        name = called.value
        func = ir.Name(name, called)
        low.calls.append(name)
        ranged = name == "range"
    else:
        func = _expr(low, called)
    arguments = tuple([_argument(low, argument) for argument in node.args])
    if ranged:
        for argument in arguments:
            _slot(low, argument.value)
    return ir.Call(func, arguments, node)


def _argument(low: _Lowering, node: cst.Arg) -> ir.Argument:
    keyword = node.keyword
    return ir.Argument(_expr(low, node.value), None if keyword is None else keyword.value, node.star, node)


def _index(low: _Lowering, node: Node) -> ir.Expr:
    part = node.slice
    if type(part) is cst.Index:
        value = _expr(low, part.value)
        return ir.Starred(value, part) if part.star else value
    return ir.Slice(_optional(low, part.lower), _optional(low, part.upper), _optional(low, part.step), part)


def _subscript(low: _Lowering, node: cst.Subscript) -> ir.Expr:
    value = _expr(low, node.value)
    elements = node.slice
    if len(elements) == 1 and type(elements[0].comma) is not cst.Comma:
        return ir.Index(value, _index(low, elements[0]), node)
    index = ir.Collection("tuple", tuple([_index(low, element) for element in elements]), node)
    return ir.Index(value, index, node)


# ---------------------------------------------------------------- displays and comprehensions


def _element(low: _Lowering, node: Node) -> ir.Expr:
    value = _expr(low, node.value)
    return ir.Starred(value, node) if type(node) is cst.StarredElement else value


def _tuple(low: _Lowering, node: cst.Tuple) -> ir.Expr:
    return ir.Collection("tuple", tuple([_element(low, element) for element in node.elements]), node)


def _list(low: _Lowering, node: cst.List) -> ir.Expr:
    return ir.Collection("list", tuple([_element(low, element) for element in node.elements]), node)


def _set(low: _Lowering, node: cst.Set) -> ir.Expr:
    return ir.Collection("set", tuple([_element(low, element) for element in node.elements]), node)


def _starred(low: _Lowering, node: cst.StarredElement) -> ir.Expr:
    return ir.Starred(_expr(low, node.value), node)


def _dict(low: _Lowering, node: cst.Dict) -> ir.Expr:
    items: list[tuple[ir.Expr | None, ir.Expr]] = []
    for element in node.elements:
        key = _expr(low, element.key) if type(element) is cst.DictElement else None
        items.append((key, _expr(low, element.value)))
    return ir.Mapping(tuple(items), node)


def _generators(low: _Lowering, node: cst.CompFor | None) -> tuple[ir.Generator, ...]:
    generators: list[ir.Generator] = []
    while node is not None:
        iterable = _expr(low, node.iter)
        target = _target(low, node.target)
        generators.append(ir.Generator(target, iterable, tuple([_expr(low, each.test) for each in node.ifs])))
        node = node.inner_for_in
    return tuple(generators)


def _comprehension(low: _Lowering, node: Node, kind: str, key_node: Node, element_node: Node) -> ir.Comprehension:
    mark = low.mark()
    generators = _generators(low, node.for_in)
    key = _optional(low, key_node)
    element = _expr(low, element_node)
    return ir.Comprehension(kind, key, element, generators, low.facts(mark, 0), node)


def _generator_expression(low: _Lowering, node: cst.GeneratorExp) -> ir.Expr:
    return _comprehension(low, node, "generator", None, node.elt)


def _list_comprehension(low: _Lowering, node: cst.ListComp) -> ir.Expr:
    return _comprehension(low, node, "list", None, node.elt)


def _set_comprehension(low: _Lowering, node: cst.SetComp) -> ir.Expr:
    return _comprehension(low, node, "set", None, node.elt)


def _dict_comprehension(low: _Lowering, node: cst.DictComp) -> ir.Expr:
    return _comprehension(low, node, "dict", node.key, node.value)


def _starred_dict_comprehension(low: _Lowering, node: Node) -> ir.Expr:
    return ir.Opaque((_comprehension(low, node, "generator", None, node.value),), node)


# ---------------------------------------------------------------- the other expressions


def _walrus(low: _Lowering, node: cst.NamedExpr) -> ir.Expr:
    value = _expr(low, node.value)
    return ir.Walrus(_target(low, node.target), value, node)


def _yield(low: _Lowering, node: cst.Yield) -> ir.Expr:
    low.yields = True
    value = node.value
    return ir.Yield(_optional(low, value.item if type(value) is cst.From else value), node)


def _await(low: _Lowering, node: cst.Await) -> ir.Expr:
    return _expr(low, node.expression)


def _lambda(low: _Lowering, node: cst.Lambda) -> ir.Expr:
    parameters = _parameters(low, node.params)
    mark, yields, jumps = low.mark(), low.yields, low.jumps
    low.yields = False
    body: ir.Block = (ir.Return(_expr(low, node.body), node.body),)
    facts = low.facts(mark, _RETURN)
    function = ir.Function("<lambda>", parameters, body, (), facts, low.yields, None, node)
    low.yields, low.jumps = yields, jumps
    return ir.Lambda(function, node)


# ---------------------------------------------------------------- assignment targets


def _target(low: _Lowering, node: Node) -> ir.Expr:
    """Lower what is bound. Assigning to an element counts as assigning to what holds it."""
    kind = type(node)
    if kind is cst.Name:
        low.assigned.append(node.value)
        return ir.Name(node.value, node)
    if kind is cst.Attribute:
        low.assigned.append(node.attr.value)
        return ir.Attr(_expr(low, node.value), node.attr.value, node)
    if kind is cst.Tuple or kind is cst.List:
        items = tuple([_target(low, element) for element in node.elements])
        return ir.Collection("tuple" if kind is cst.Tuple else "list", items, node)
    if kind is cst.Element:
        return _target(low, node.value)
    if kind is cst.StarredElement:
        return ir.Starred(_target(low, node.value), node)
    if kind is cst.Subscript:
        held = _expr(low, node)
        holder = held.value if type(held) is ir.Index else None
        while type(holder) is ir.Index:
            holder = holder.value
        if type(holder) is ir.Name:
            low.assigned.append(holder.id)
        elif type(holder) is ir.Attr:
            low.assigned.append(holder.name)
        return held
    return _expr(low, node)


def _unlogged(low: _Lowering, lowered: Callable[[_Lowering, Node], ir.Expr], node: Node) -> ir.Expr:
    """Lower a node that is no fact of the program: an annotation, or what is deleted."""
    calls, assigned, read = low.mark()
    result = lowered(low, node)
    del low.calls[calls:], low.assigned[assigned:], low.read[read:]
    return result


# ---------------------------------------------------------------- simple statements


def _expression_statement(low: _Lowering, node: cst.Expr) -> ir.Stmt | None:
    value = _expr(low, node.value)
    return None if type(value) is ir.Const else ir.Evaluate(value, node)


def _assign(low: _Lowering, node: cst.Assign) -> ir.Stmt:
    value = _expr(low, node.value)
    return ir.Assign(tuple([_target(low, target.target) for target in node.targets]), value, node)


def _annotated(low: _Lowering, node: cst.AnnAssign) -> ir.Stmt:
    if node.value is not None:
        value = _expr(low, node.value)
        return ir.Assign((_target(low, node.target),), value, node)
    annotation = _unlogged(low, _expr, node.annotation.annotation)
    return ir.Declare(_unlogged(low, _target, node.target), annotation, node)


def _augment(low: _Lowering, node: cst.AugAssign) -> ir.Stmt:
    op = _AUGMENT[type(node.operator)]
    target = _target(low, node.target)
    value = _expr(low, node.value)
    if op in _SLOTTED_ARITHMETIC:
        _slot(low, value)
    return ir.Augment(op, target, value, node)


def _return(low: _Lowering, node: cst.Return) -> ir.Stmt:
    low.jumps |= _RETURN
    return ir.Return(_optional(low, node.value), node)


def _break(low: _Lowering, node: cst.Break) -> ir.Stmt:
    low.jumps |= _BREAK
    return ir.Break(node)


def _continue(low: _Lowering, node: cst.Continue) -> ir.Stmt:
    low.jumps |= _CONTINUE
    return ir.Continue(node)


def _raise(low: _Lowering, node: cst.Raise) -> ir.Stmt:
    low.jumps |= _RAISE
    return ir.Raise(_optional(low, node.exc), node)


def _assert(low: _Lowering, node: cst.Assert) -> ir.Stmt:
    return ir.Assert(_expr(low, node.test), node)


def _delete(low: _Lowering, node: cst.Del) -> ir.Stmt:
    deleted: Node = node.target
    parts = [element.value for element in deleted.elements] if type(deleted) is cst.Tuple else [deleted]
    return ir.Delete(tuple([_unlogged(low, _target, part) for part in parts]), node)


def _global(low: _Lowering, node: cst.Global) -> ir.Stmt:
    return ir.Scope("global", tuple([item.name.value for item in node.names]), node)


def _nonlocal(low: _Lowering, node: cst.Nonlocal) -> ir.Stmt:
    return ir.Scope("nonlocal", tuple([item.name.value for item in node.names]), node)


def _pass(low: _Lowering, node: cst.Pass) -> None:
    return None


def _type_alias(low: _Lowering, node: cst.TypeAlias) -> ir.Stmt:
    value = ir.Opaque((_unlogged(low, _expr, node.value),), node)
    return ir.Assign((_target(low, node.name),), value, node)


def _dotted(node: Node) -> str:
    parts: list[str] = []
    while type(node) is cst.Attribute:
        parts.append(node.attr.value)
        node = node.value
    parts.append(node.value)
    return ".".join(reversed(parts))


def _bound(alias: cst.ImportAlias) -> str | None:
    return None if alias.asname is None else _dotted(alias.asname.name)


def _import(low: _Lowering, node: Node) -> ir.Stmt:
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


def _import_from(low: _Lowering, node: Node) -> ir.Stmt:
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


def _statements(low: _Lowering, nodes: Iterable[Any]) -> ir.Block:
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


def _unknown_statement(low: _Lowering, node: Node) -> ir.Stmt:
    return ir.Evaluate(ir.Opaque((), node), node)


def _suite(low: _Lowering, node: Node) -> ir.Block:
    return _statements(low, node.body)


def _else(low: _Lowering, node: Node) -> ir.Block:
    return () if node is None else _statements(low, node.body.body)


def _if(low: _Lowering, node: cst.If) -> ir.Stmt:
    # one branch a turn, since hundreds of `elif` would not fit on the stack
    outside, low.jumps = low.jumps, 0
    branches: list[tuple[Any, ir.Expr, ir.Block, tuple[int, int, int], int]] = []
    rest: Node = node
    while type(rest) is cst.If:
        mark = low.mark()
        test = _expr(low, rest.test)
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


def _loop_body(low: _Lowering, node: Node) -> tuple[ir.Block, ir.Block, int]:
    """The two blocks of a loop, and the jumps that leave the loop; they are added to those of the code around it."""
    outside, low.jumps = low.jumps, 0
    body = _suite(low, node.body)
    low.jumps &= ~_LOOP_JUMPS
    orelse = _else(low, node.orelse)
    jumps = low.jumps
    low.jumps |= outside
    return body, orelse, jumps


def _for(low: _Lowering, node: cst.For) -> ir.Stmt:
    mark = low.mark()
    iterable = _expr(low, node.iter)
    target = _target(low, node.target)
    body, orelse, jumps = _loop_body(low, node)
    return ir.For(target, iterable, body, orelse, low.facts(mark, jumps), node)


def _while(low: _Lowering, node: cst.While) -> ir.Stmt:
    mark = low.mark()
    test = _expr(low, node.test)
    body, orelse, jumps = _loop_body(low, node)
    return ir.While(test, body, orelse, low.facts(mark, jumps), node)


def _with(low: _Lowering, node: cst.With) -> ir.Stmt:
    mark = low.mark()
    items: list[ir.WithItem] = []
    for item in node.items:
        value = _expr(low, item.item)
        items.append(ir.WithItem(value, None if item.asname is None else _target(low, item.asname.name)))
    outside, low.jumps = low.jumps, 0
    body = _suite(low, node.body)
    jumps = low.jumps
    low.jumps |= outside
    return ir.With(tuple(items), body, low.facts(mark, jumps), node)


def _handler(low: _Lowering, node: Node) -> ir.Block:
    if node.name is None:
        return _suite(low, node.body)
    # `as error` binds something nothing is known of, and is no reason to lose the name
    caught: ir.Expr = ir.Opaque((_expr(low, node.type),), node.type)
    target = _target(low, node.name.name)
    return (ir.Assign((target,), caught, node.name.name), *_suite(low, node.body))


def _try(low: _Lowering, node: Node) -> ir.Stmt:
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


def _case(low: _Lowering, node: cst.MatchCase) -> ir.Case:
    pattern: Node = node.pattern
    names: list[str] = []
    _captures(pattern, names)
    low.assigned.extend(names)
    value = _expr(low, pattern.value) if type(pattern) in _PATTERN_VALUES else None
    guard = _optional(low, node.guard)
    return ir.Case(tuple(names), value, guard, _suite(low, node.body))


def _match(low: _Lowering, node: cst.Match) -> ir.Stmt:
    mark = low.mark()
    subject = _expr(low, node.subject)
    outside, low.jumps = low.jumps, 0
    cases = tuple([_case(low, case) for case in node.cases])
    jumps = low.jumps
    low.jumps |= outside
    return ir.Match(subject, cases, low.facts(mark, jumps), node)


def _parameter(low: _Lowering, node: cst.Param, kind: str) -> ir.Parameter:
    annotation = None if node.annotation is None else _unlogged(low, _expr, node.annotation.annotation)
    return ir.Parameter(node.name.value, _optional(low, node.default), kind, node, annotation)


def _parameters(low: _Lowering, node: cst.Parameters) -> tuple[ir.Parameter, ...]:
    out = [_parameter(low, param, "positional") for param in (*node.posonly_params, *node.params)]
    if type(node.star_arg) is cst.Param:
        out.append(_parameter(low, node.star_arg, "*"))
    out.extend([_parameter(low, param, "keyword") for param in node.kwonly_params])
    if node.star_kwarg is not None:
        out.append(_parameter(low, node.star_kwarg, "**"))
    return tuple(out)


def _decorators(low: _Lowering, nodes: Sequence[cst.Decorator]) -> tuple[ir.Expr, ...]:
    return tuple([_expr(low, node.decorator) for node in nodes])


def _function(low: _Lowering, node: cst.FunctionDef) -> ir.Stmt:
    decorators = _decorators(low, node.decorators)
    parameters = _parameters(low, node.params)
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


def _class(low: _Lowering, node: cst.ClassDef) -> ir.Stmt:
    decorators = _decorators(low, node.decorators)
    bases: list[ir.Expr] = []
    for base in node.bases:
        value = _expr(low, base.value)
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


def _known(handlers: dict[str, Any]) -> dict[type, Any]:
    """Handlers by node type; syntax newer than the installed libcst has no node type and needs no handler."""
    return {getattr(cst, name): handler for name, handler in handlers.items() if hasattr(cst, name)}


_INTERPOLATED_TEXT = frozenset(_known({"FormattedStringText": None, "TemplatedStringText": None}))
_PATTERN_VALUES = frozenset({cst.MatchValue, cst.MatchSingleton})

_EXPR: dict[type, _ExprHandler] = _known(
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

_STMT: dict[type, _StmtHandler] = _known(
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
