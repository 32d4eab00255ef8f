"""Reading the autograd graph between the loss that is backpropagated and the criteria: plain numbers on the way, and
reductions of losses that are written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

KEY = "losslint"
"""Where a criterion's node carries its mark."""

_MOST_NODES = 200
_REDUCTIONS = {0: "none", 1: "mean", 2: "sum"}
_THROUGH = (
    "AddBackward",
    "SubBackward",
    "NegBackward",
    "DivBackward",
    "MulBackward",
    "StackBackward",
    "CatBackward",
    "CloneBackward",
    "ToCopyBackward",
    "UnsqueezeBackward",
    "SqueezeBackward",
    "ViewBackward",
    "SelectBackward",
    "UnbindBackward",
    "AliasBackward",
    "ReshapeAliasBackward",
    "WhereBackward",
)
"""Operations on losses that were reduced already."""


@dataclass(eq=False)
class Mark:
    """Lives in a node's metadata, and so as long as the graph does."""

    number: int


@dataclass(frozen=True)
class Reached:
    """A criterion's mark, or a reduction by hand (`node`, how it reduces and over how many elements), and the numbers
    on the way to it from the root."""

    mark: Mark | None
    node: Any
    reduction: str
    items: int
    divisors: tuple[float, ...]
    multipliers: tuple[float, ...]


def reached_from(root: torch.Tensor) -> list[Reached]:
    """What the loss `root` is made of, without going through a reduction."""
    found: list[Reached] = []
    waiting: list[tuple[Any, tuple[float, ...], tuple[float, ...]]] = [(root.grad_fn, (), ())]
    seen = 0
    while waiting and seen < _MOST_NODES:
        node, divisors, multipliers = waiting.pop()
        if node is None:
            continue
        seen += 1
        mark = node.metadata.get(KEY)
        if mark is not None:
            found.append(Reached(mark, node, "", 0, divisors, multipliers))
            continue
        name = node.name()
        below = [following for following, _ in node.next_functions]
        if name.startswith(("MeanBackward", "SumBackward")):
            joined = below and below[0] is not None and below[0].name().startswith(("StackBackward", "CatBackward"))
            items = _elements(node)
            if not joined and items > 1:
                found.append(Reached(None, node, name[: name.index("B")].lower(), items, divisors, multipliers))
                continue
            if joined and name.startswith("Mean"):
                divisors = (*divisors, float(items))
        elif hasattr(node, "_saved_reduction"):
            # a criterion that was called under a name that is not watched
            reduction = _REDUCTIONS[int(node._saved_reduction)]
            found.append(Reached(None, node, reduction, _targets(node), divisors, multipliers))
            continue
        elif not name.startswith(_THROUGH):
            continue
        elif name.startswith(("DivBackward", "MulBackward")):
            value = _other(node)
            if value is not None and name.startswith("Div"):
                divisors = (*divisors, value)
            elif value is not None:
                multipliers = (*multipliers, value)
            if name.startswith("Div"):
                below = below[:1]
        waiting.extend((following, divisors, multipliers) for following in reversed(below))
    return found


def _other(node: Any) -> float | None:
    """The plain number that a node divides or multiplies by."""
    for name in ("_saved_other", "_saved_self"):
        try:
            saved = getattr(node, name, None)
        except RuntimeError:
            # freed by an earlier backward
            return None
        if isinstance(saved, torch.Tensor) and saved.numel() == 1 and not saved.requires_grad:
            return float(saved)
    return None


def _targets(node: Any) -> int:
    """How many targets count in a criterion's node; of class weights their sum."""
    try:
        for name in ("_saved_total_weight", "_saved_target"):
            saved = getattr(node, name, None)
            if isinstance(saved, torch.Tensor):
                return max(1, int(saved) if name == "_saved_total_weight" else saved.numel())
    except RuntimeError:
        # freed by an earlier backward
        return 1
    return 1


def _elements(node: Any) -> int:
    count = getattr(node, "_saved_self_sym_numel", None)
    if count is not None:
        return int(count)
    sizes = getattr(node, "_saved_self_sym_sizes", ())
    number = 1
    for size in sizes:
        number *= int(size)
    return number
