"""The typed IR: what the interpreter runs. About thirty small node types, lowered once from the libcst tree.

Every node keeps its libcst node in `cst`: text and position are asked for only where something is reported
(see `losslint.lowering.positions`). Nodes compare and hash by identity: a node is a place in the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Facts:
    """What a piece of code contains, nested code included: cheap static facts that steer the interpreter.

    `calls`: last names of everything called (`loss.backward()` gives `backward`).
    `assigned`: plain names and the last attribute names that are assigned or augmented (`self.total += x` gives
    `total`), or an element of which is (`sums[i] = x` gives `sums`).
    `read`: plain names and the last attribute names that are read.
    `jumps`: some of `break`, `continue`, `return`, `raise` that leave this piece of code (a `break` that ends a loop
    inside it does not count, nor does anything inside a nested function).
    """

    calls: frozenset[str]
    assigned: frozenset[str]
    read: frozenset[str]
    jumps: frozenset[str]


# ---------------------------------------------------------------- expressions


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Const:
    """A literal: None, bool, int, float, complex, str (bytes as str) or Ellipsis.

    `slot` names equal number literals of one function that take part in `% / // * ==` arithmetic:
    `(function, value)`; None for every other literal.
    """

    value: Any
    slot: tuple[int, int | float] | None
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Name:
    id: str
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Attr:
    value: Expr
    name: str
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Index:
    """`value[index]`; several indices are a `Sequence` of kind tuple."""

    value: Expr
    index: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Slice:
    lower: Expr | None
    upper: Expr | None
    step: Expr | None
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Binary:
    """`op` is the operator as written: `+ - * / // % ** @ & | ^ << >>`."""

    op: str
    left: Expr
    right: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Unary:
    """`op` is one of `not - + ~`."""

    op: str
    operand: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Logic:
    """`and` / `or`, a chain of one operator flattened."""

    op: str
    values: tuple[Expr, ...]
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Compare:
    """`left op right op right…`; operators as written: `== != < <= > >= is 'is not' in 'not in'`."""

    left: Expr
    ops: tuple[str, ...]
    rights: tuple[Expr, ...]
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Choice:
    """`body if test else orelse`."""

    test: Expr
    body: Expr
    orelse: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Argument:
    """One argument of a call: `star` is `""`, `"*"` or `"**"`."""

    value: Expr
    keyword: str | None
    star: str
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Call:
    func: Expr
    arguments: tuple[Argument, ...]
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Collection:
    """A tuple, list or set display; `kind` is `tuple`, `list` or `set`."""

    kind: str
    items: tuple[Expr, ...]
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Mapping:
    """A dict display; a key of None is `**value`."""

    items: tuple[tuple[Expr | None, Expr], ...]
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Format:
    """An f-string: its interpolated expressions in order, and its literal text joined."""

    values: tuple[Expr, ...]
    literal: str
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Starred:
    value: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Generator:
    """One `for target in iterable if conditions` of a comprehension."""

    target: Expr
    iterable: Expr
    conditions: tuple[Expr, ...]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Comprehension:
    """`kind` is `list`, `set`, `generator` or `dict`; for a dict `key: element`."""

    kind: str
    key: Expr | None
    element: Expr
    generators: tuple[Generator, ...]
    facts: Facts
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Lambda:
    function: Function
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Walrus:
    target: Expr
    value: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Yield:
    """`yield value` and `yield from value`."""

    value: Expr | None
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Opaque:
    """An expression that the interpreter has no use for; its parts are still evaluated."""

    parts: tuple[Expr, ...]
    cst: Any


Expr: TypeAlias = (
    Const
    | Name
    | Attr
    | Index
    | Slice
    | Binary
    | Unary
    | Logic
    | Compare
    | Choice
    | Call
    | Collection
    | Mapping
    | Format
    | Starred
    | Comprehension
    | Lambda
    | Walrus
    | Yield
    | Opaque
)


# ---------------------------------------------------------------- statements


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Evaluate:
    """An expression statement."""

    value: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Assign:
    """`a = b = value`; an annotated assignment with a value is lowered to this too."""

    targets: tuple[Expr, ...]
    value: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Augment:
    """`target op= value`; `op` without the `=`."""

    op: str
    target: Expr
    value: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Declare:
    """An annotation without a value: `x: int`."""

    target: Expr
    annotation: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class If:
    test: Expr
    body: Block
    orelse: Block
    facts: Facts
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class For:
    target: Expr
    iterable: Expr
    body: Block
    orelse: Block
    facts: Facts
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class While:
    test: Expr
    body: Block
    orelse: Block
    facts: Facts
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class WithItem:
    value: Expr
    target: Expr | None


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class With:
    items: tuple[WithItem, ...]
    body: Block
    facts: Facts
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Try:
    """`body`, one block per `except`, `orelse`, `final`."""

    body: Block
    handlers: tuple[Block, ...]
    orelse: Block
    final: Block
    facts: Facts
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Case:
    """One case of a `match`: its pattern kept as captured names, and the guard."""

    captures: tuple[str, ...]
    value: Expr | None
    guard: Expr | None
    body: Block


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Match:
    subject: Expr
    cases: tuple[Case, ...]
    facts: Facts
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Return:
    value: Expr | None
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Break:
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Continue:
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Raise:
    value: Expr | None
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Assert:
    test: Expr
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Delete:
    targets: tuple[Expr, ...]
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Scope:
    """`global` or `nonlocal` (`kind`) with its names."""

    kind: str
    names: tuple[str, ...]
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Import:
    """`import a.b as c`: one `(dotted, bound name, bound to the whole dotted path)` per alias."""

    names: tuple[tuple[str, str, bool], ...]
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class ImportFrom:
    """`from ..module import name as bound`; `level` counts the dots; `("*", "*")` is a star import."""

    module: str
    level: int
    names: tuple[tuple[str, str], ...]
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Parameter:
    """`kind` is `positional`, `keyword`, `*` or `**`."""

    name: str
    default: Expr | None
    kind: str
    cst: Any
    annotation: Expr | None


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Function:
    """A `def`, `async def` or lambda (its body one Return). `outer` is the class it is a method of, by name."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Block
    decorators: tuple[Expr, ...]
    facts: Facts
    is_generator: bool
    outer: str | None
    cst: Any


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Class:
    name: str
    bases: tuple[Expr, ...]
    body: Block
    decorators: tuple[Expr, ...]
    facts: Facts
    cst: Any


Stmt: TypeAlias = (
    Evaluate
    | Assign
    | Augment
    | Declare
    | If
    | For
    | While
    | With
    | Try
    | Match
    | Return
    | Break
    | Continue
    | Raise
    | Assert
    | Delete
    | Scope
    | Import
    | ImportFrom
    | Function
    | Class
)

Block: TypeAlias = tuple[Stmt, ...]
Node: TypeAlias = Expr | Stmt | Argument | Parameter


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Module:
    """One lowered file: its statements, and every function and class in it (nested ones included)."""

    path: str
    body: Block
    functions: Sequence[Function]
    classes: Sequence[Class]
    facts: Facts
    cst: Any
    imports: Sequence[Import | ImportFrom] = field(default_factory=list)
