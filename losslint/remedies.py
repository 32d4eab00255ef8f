"""What a rule wants done about a finding: small intents on nodes of the program, without a word of layout.

`losslint.fixes` turns them into edits of the text. A piece of text is a tuple of strings and nodes; a node stands for
its own source, as it is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from losslint.lowering import ir

Text: TypeAlias = "tuple[str | ir.Node, ...]"


class Binding(IntEnum):
    """How tightly an expression holds together, loosest first: what binds looser than its place needs parentheses."""

    LOOSEST = 0
    OR = 1
    AND = 2
    NOT = 3
    COMPARISON = 4
    BITS = 5
    SUM = 6
    PRODUCT = 7
    SIGN = 8
    POWER = 9
    ATOM = 10


class Where(Enum):
    """On which side of a statement."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The expression `node` with text around it. `inner` is what its place in the new text needs, `outer` how tightly
    the new text holds together."""

    node: ir.Node
    before: Text
    after: Text
    inner: Binding
    outer: Binding


@dataclass(frozen=True, slots=True)
class Replace:
    """Other text, which binds like `binding`, in place of the expression `node`."""

    node: ir.Node
    text: Text
    binding: Binding


@dataclass(frozen=True, slots=True)
class Unscale:
    """The scaling by `operand` taken out: `x / k` becomes `x`; a statement that does nothing else (`x /= k`,
    `x = x / k`) is deleted."""

    node: ir.Node
    operand: ir.Node


@dataclass(frozen=True, slots=True)
class Delete:
    """The simple statement that holds `node` taken out."""

    node: ir.Node


@dataclass(frozen=True, slots=True)
class Move:
    """The simple statement that holds `node` put on one side of the statement that holds `anchor`, in its block."""

    node: ir.Node
    where: Where
    anchor: ir.Node


@dataclass(frozen=True, slots=True)
class Insert:
    """A new simple statement on one side of the statement that holds `anchor`, in its block."""

    text: Text
    where: Where
    anchor: ir.Node


Action: TypeAlias = Rewrite | Replace | Unscale | Delete | Move | Insert


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way to take a finding away. `title` is an imperative in lower case. `safe`: it cannot change what a right
    run does, provided that the finding is an error, which assumes nothing; `always_safe`: nor if it is less."""

    title: str
    actions: tuple[Action, ...]
    safe: bool = True
    always_safe: bool = False


def divided(node: ir.Node, by: Text) -> Rewrite:
    """`node / by`."""
    return Rewrite(node, (), (" / ", *by), Binding.PRODUCT, Binding.PRODUCT)


def multiplied(node: ir.Node, by: Text) -> Rewrite:
    """`node * by`."""
    return Rewrite(node, (), (" * ", *by), Binding.PRODUCT, Binding.PRODUCT)


def method_called(node: ir.Node, name: str) -> Rewrite:
    """`node.name()`."""
    return Rewrite(node, (), (f".{name}()",), Binding.ATOM, Binding.ATOM)


def passed_to(node: ir.Node, function: Text) -> Rewrite:
    """`function(node)`."""
    return Rewrite(node, (*function, "("), (")",), Binding.LOOSEST, Binding.ATOM)


def either(node: ir.Node, other: Text) -> Rewrite:
    """`node or other`."""
    return Rewrite(node, (), (" or ", *other), Binding.OR, Binding.OR)
