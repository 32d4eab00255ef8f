"""How the entries of a tensor came about: followed through activations, layers and what only changes the shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from losslint.contracts.torch import ENTRYWISE, KEEPING, WEIGHTED_LAYERS
from losslint.interpreter import graph
from losslint.interpreter.values import CONSTANT, DETACHED, GRAPH, Linear, Number, Output, Tensor, Thing, Unknown

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator
    from losslint.lowering import ir

COLUMN, FLAT = "column", "flat"
_SAME_SHAPE = frozenset("float double half bfloat16 to cpu cuda type contiguous clone dropout Dropout Identity".split())
_LAST = (1, -1)


def after(ev: Evaluator, name: str, source: Any, arguments: Sequence[Any], result: Any, node: ir.Node) -> Any:
    """The result of the function or method `name` on `source`, with what is known of its entries and its shape.

    `arguments` are those behind `source`.
    """
    if type(result) is not Tensor:
        return result
    graph.inherit(result, source)
    shape = _shape(name, source, arguments)
    before = source.output if type(source) is Tensor else None
    if result is source:
        if shape == source.shape:
            return result
        result = Tensor(source.node, source.visit, source.state, source.reduction, source.evidence, source.traits)
        result.cut = source.cut
    result.shape = shape
    if result.output is not None:
        return result
    function = ENTRYWISE.get(name)
    if function is not None:
        features, model = (before.features, before.model) if before is not None else (None, "")
        dimension = _whole(arguments[0]) if arguments else None
        if function == "exp" and before is not None and before.function == "log_softmax":
            function, dimension = "softmax", before.dimension
        result.output = Output(function, node, features, model, "", dimension, bool(model))
        if function in graph.WITHOUT_GRADIENT and result.state == GRAPH:
            result.state, result.cut = DETACHED, ev.world.cut(name, node)
    elif name in KEEPING and before is not None:
        result.output = before if name in _SAME_SHAPE else before._replace(features=None)
    return result


def part(result: Tensor, source: Tensor, named: bool) -> Tensor:
    """An item of a tensor, or of what a model gave: how many scores it holds, and where, is not known any more; of a
    part that has a name only the model is."""
    graph.inherit(result, source)
    before = source.output
    if before is not None and (before.model or not named):
        function = "" if named else before.function
        result.output = Output(function, before.node, None, before.model)
    return result


def one_of_several(result: Tensor, source: Tensor, place: Any) -> Tensor:
    """One of the tensors that a model gives, by its place; a part of what a model gave, where they are not told
    apart."""
    parts = source.output.parts if source.output is not None else ()
    if type(place) is not int or not -len(parts) <= place < len(parts):
        return part(result, source, True)
    graph.inherit(result, source)
    result.output = parts[place]
    result.shape = result.output.shape if result.output is not None else ""
    return result


def written(tensor: Tensor, value: Any) -> None:
    """Some entries of a tensor are written: unless it is a number, what the others are says nothing of these."""
    if isinstance(value, (Tensor, Linear, Unknown)):
        tensor.output = None
        tensor.traits = tensor.traits - {CONSTANT}
        if tensor.state != GRAPH and (isinstance(value, Unknown) or value.state == GRAPH):
            tensor.state, tensor.cut = GRAPH, None


def _shape(name: str, source: Any, arguments: Sequence[Any]) -> str:
    """`column` or `flat` where the call says so, else an empty string."""
    before: str = source.shape if type(source) is Tensor else ""
    sizes = [_whole(value) for value in arguments]
    if name in _SAME_SHAPE or (name in ENTRYWISE and name != "argmax"):
        return before
    if name in ("view", "reshape"):
        return FLAT if sizes == [-1] else COLUMN if sizes == [-1, 1] else ""
    if name in ("flatten", "ravel"):
        return FLAT if not sizes else ""
    if name == "unsqueeze" and sizes and sizes[0] in _LAST:
        return COLUMN if before in ("", FLAT) else ""
    if name == "squeeze" and before and (not sizes or sizes[0] in _LAST):
        return FLAT
    if name in ("argmax", "argmin") and sizes and sizes[0] in _LAST:
        return FLAT
    return ""


def layer_output(layer: Thing, source: Any, node: ir.Node) -> Output | None:
    """What a layer of `torch.nn` gives for `source`; None where nothing is known of it."""
    name = layer.path
    if name in WEIGHTED_LAYERS:
        features = _features(layer, WEIGHTED_LAYERS[name])
        return Output("linear", layer.data["node"], features, "", COLUMN if features == 1 else "")
    before = source.output if type(source) is Tensor else None
    if name in ENTRYWISE:
        shape = source.shape if type(source) is Tensor else ""
        args = layer.data["args"]
        dimension = _whole(args[0] if args else layer.data["kwargs"].get("dim"))
        features = before.features if before is not None else None
        return Output(ENTRYWISE[name], layer.data["node"], features, "", shape, dimension)
    if name in KEEPING and before is not None:
        return before if name in _SAME_SHAPE else before._replace(features=None)
    return None


def _features(layer: Thing, place: int | None) -> int | None:
    """How many scores a layer gives last, where a literal says so."""
    if place is None:
        return None
    args = layer.data["args"]
    return _whole(args[place] if len(args) > place else layer.data["kwargs"].get("out_features"))


def _whole(value: Any) -> int | None:
    """A value as a whole number, where it is one that is known."""
    if isinstance(value, Number) and isinstance(value.value, int):
        return value.value
    return value if type(value) is int else None
