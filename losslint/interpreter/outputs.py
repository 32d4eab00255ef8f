"""How the entries of a tensor came about: followed through activations, layers and what only changes the shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint.contracts.torch import ENTRYWISE, KEEPING, WEIGHTED_LAYERS
from losslint.interpreter.values import Number, Output, Tensor, Thing

if TYPE_CHECKING:
    from losslint.lowering import ir

_SAME_SHAPE = frozenset("float double half bfloat16 to cpu cuda type contiguous clone dropout Dropout Identity".split())


def after(name: str, source: Any, result: Any, node: ir.Node) -> Any:
    """The result of the function or method `name` on `source`, with what is known of its entries."""
    if type(result) is not Tensor or result is source or result.output is not None:
        return result
    before = source.output if type(source) is Tensor else None
    function = ENTRYWISE.get(name)
    if function is not None:
        known = before is not None
        result.output = Output(
            function,
            node,
            before.features if known else None,
            before.model if known else "",  # type: ignore[union-attr]
        )
    elif name in KEEPING and before is not None:
        result.output = before if name in _SAME_SHAPE else before._replace(features=None)
    return result


def layer_output(layer: Thing, source: Any, node: ir.Node) -> Output | None:
    """What a layer of `torch.nn` gives for `source`; None where nothing is known of it."""
    name = layer.path
    if name in WEIGHTED_LAYERS:
        return Output("linear", layer.data["node"], _features(layer, WEIGHTED_LAYERS[name]))
    before = source.output if type(source) is Tensor else None
    if name in ENTRYWISE:
        return Output(ENTRYWISE[name], layer.data["node"], before.features if before is not None else None)
    if name in KEEPING and before is not None:
        return before if name in _SAME_SHAPE else before._replace(features=None)
    return None


def _features(layer: Thing, place: int | None) -> int | None:
    """How many scores a layer gives last, where a literal says so."""
    if place is None:
        return None
    args = layer.data["args"]
    value = args[place] if len(args) > place else layer.data["kwargs"].get("out_features")
    if isinstance(value, Number) and isinstance(value.value, int):
        return value.value
    return value if type(value) is int else None
