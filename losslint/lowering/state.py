"""The state of one lowering pass: a log of calls, assignments and reads, in the order in which they are met.

Facts cost no second walk: the facts of a piece of code are the part of the log that its lowering wrote.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import libcst as cst

from losslint.lowering import ir

# a libcst node; what it is follows from its type, which mypy cannot narrow by
Node: TypeAlias = Any

EMPTY: frozenset[str] = frozenset()
NO_FACTS = ir.Facts(EMPTY, EMPTY, EMPTY, EMPTY)

BREAK, CONTINUE, RETURN, RAISE = 1, 2, 4, 8
LOOP_JUMPS = BREAK | CONTINUE
_JUMP_NAMES = ((BREAK, "break"), (CONTINUE, "continue"), (RETURN, "return"), (RAISE, "raise"))
_JUMPS = tuple(frozenset(name for bit, name in _JUMP_NAMES if mask & bit) for mask in range(16))


class Lowering:
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


def known(handlers: dict[str, Any]) -> dict[type, Any]:
    """Handlers by node type; syntax newer than the installed libcst has no node type and needs no handler."""
    return {getattr(cst, name): handler for name, handler in handlers.items() if hasattr(cst, name)}
