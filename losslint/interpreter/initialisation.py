"""How the output layer of a model is initialised, where its class does so by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from losslint.interpreter import models
from losslint.interpreter.blueprints import Blueprint, built_models
from losslint.interpreter.evaluate import Evaluator
from losslint.interpreter.program import path_of, statements
from losslint.interpreter.values import Number, Tensor, Thing
from losslint.interpreter.world import Settings, World
from losslint.lowering import ir
from losslint.lowering.walk import walk

if TYPE_CHECKING:
    from losslint.interpreter.program import Program

_DRAWN = {"normal_": (2, "std"), "trunc_normal_": (2, "std")}
"""Initialiser of `torch.nn.init` -> the place and name of its standard deviation; as a method it is a place less."""

_SET = frozenset({"constant_", "fill_"})


class OutputInit(NamedTuple):
    """A line that draws the weights of an output layer: their standard deviation, and the inputs of the layer where a
    number says how many there are."""

    node: ir.Node
    layer: str
    std: float
    inputs: int | None


def output_inits(program: Program) -> Iterator[OutputInit]:
    """The draws of the weights of what is the last layer of a model's `forward`."""
    for model in built_models(program, lambda cls: any(_draws(cls))):
        output = _output_layer(program, model)
        for call, name, std in _draws(model.instance.cls.definition):
            layer = model.instance.attributes.get(name)
            if not isinstance(layer, Thing) or output is None or layer.data.get("node") is not output:
                continue
            if not _sets_prior(model.instance.cls.definition, name):
                yield OutputInit(call, name, std, _inputs(layer))


def _output_layer(program: Program, model: Blueprint) -> Any:
    """The call that makes the layer whose scores `forward` returns; None where that is not known."""
    thing = Thing("model", "model", {"class": model.instance.cls, "args": [], "kwargs": {}})
    ev = Evaluator(program, World(Settings()))
    definition = model.instance.cls.definition
    output = models.output_of(ev, thing, [Tensor(definition, 0)], {}, definition)
    return output.node if output is not None and output.function == "linear" else None


def _draws(cls: ir.Class) -> Iterator[tuple[ir.Call, str, float]]:
    """The calls of a class that draw weights of one of its attributes, with its name and the standard deviation."""
    for call, name, place, part in _initialisers(cls):
        known = _DRAWN.get(name)
        if known is None or not part.endswith(".weight"):
            continue
        at, keyword = known[0] - place, known[1]
        given = {argument.keyword: argument.value for argument in call.arguments if argument.keyword}
        plain = [argument.value for argument in call.arguments if not argument.keyword and not argument.star]
        value = given.get(keyword, plain[at] if len(plain) > at else None)
        if isinstance(value, ir.Const) and isinstance(value.value, (int, float)):
            yield call, part.removesuffix(".weight").removeprefix("self."), float(value.value)


def _sets_prior(cls: ir.Class, name: str) -> bool:
    """Whether the bias of a layer is set to a number: the two together are a known scheme, as for focal losses."""
    return any(maker in _SET and part == f"self.{name}.bias" for _, maker, _, part in _initialisers(cls))


def _initialisers(cls: ir.Class) -> Iterator[tuple[ir.Call, str, int, str]]:
    """Calls such as `init.normal_(self.head.weight)` and `self.head.weight.data.normal_()`: the call, its name, 1 for a
    method, and the path of what is set."""
    for function in (statement for statement in cls.body if isinstance(statement, ir.Function)):
        for statement in statements(function.body):
            for node in walk(statement):
                if not isinstance(node, ir.Call) or not isinstance(node.func, ir.Attr):
                    continue
                owner = path_of(node.func.value)
                if owner.startswith("self."):
                    yield node, node.func.name, 1, owner.removesuffix(".data")
                elif node.arguments:
                    yield node, node.func.name, 0, path_of(node.arguments[0].value).removesuffix(".data")


def _inputs(layer: Thing) -> int | None:
    given = layer.data["args"][0] if layer.data["args"] else layer.data["kwargs"].get("in_features")
    return int(given.value) if layer.path == "Linear" and isinstance(given, Number) else None
