"""Which layers of a model PyTorch knows of: attributes, and what is handed to a container; a list hides its items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from losslint.contracts.torch import PARAMETRIC_LAYERS
from losslint.interpreter.blueprints import built_models
from losslint.interpreter.models import layers_in
from losslint.interpreter.program import statements
from losslint.interpreter.values import ClassValue, Thing
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.program import Program

_DEPTH = 3
_ASKED = frozenset({"parameters", "named_parameters", "children", "named_children", "_apply", "modules"})
"""Methods by which a model says itself what it holds."""


class Hidden(NamedTuple):
    """Layers with parameters in a plain list or dictionary of a model: where it is assigned, and its name."""

    node: ir.Node
    name: str
    kind: str


def hidden_layers(program: Program) -> Iterator[Hidden]:
    """The lists and dictionaries of the module's models that hold layers which nothing else holds."""
    for model in built_models(program, lambda cls: any(_containers(cls)) and _ASKED.isdisjoint(_method_names(cls))):
        instance = model.instance
        known = {id(layer) for layer in model.placed}
        known |= {id(value) for value in instance.attributes.values() if isinstance(value, Thing)}
        for name, value in instance.attributes.items():
            layers = [layer for layer in layers_in(value) if id(layer) not in known and _has_parameters(layer)]
            places = [target for target, _ in _containers(instance.cls.definition) if target.name == name]
            if layers and places and not isinstance(value, Thing) and _is_used(instance.cls.definition, name):
                yield Hidden(places[0], name, "dictionary" if isinstance(value, dict) else "list")


def _containers(cls: ir.Class) -> Iterator[tuple[ir.Attr, ir.Expr]]:
    """The attributes of a class that are assigned a list, a tuple or a dictionary. One that is written with a single
    item hides that item on purpose."""
    for function in _methods(cls):
        for statement in statements(function.body):
            if not isinstance(statement, ir.Assign):
                continue
            value = statement.value
            single = isinstance(value, ir.Collection) and len(value.items) == 1
            if isinstance(value, (ir.Collection, ir.Comprehension, ir.Mapping, ir.Name, ir.Binary)) and not single:
                for target in statement.targets:
                    if isinstance(target, ir.Attr) and isinstance(target.value, ir.Name):
                        yield target, value


def _methods(cls: ir.Class) -> Iterator[ir.Function]:
    return (statement for statement in cls.body if isinstance(statement, ir.Function))


def _method_names(cls: ir.Class) -> frozenset[str]:
    return frozenset(function.name for function in _methods(cls))


def _is_used(cls: ir.Class, name: str) -> bool:
    """Whether a method other than the one that builds the model reads an attribute."""
    return any(name in function.facts.read for function in _methods(cls) if function.name != "__init__")


def _makes_parameters(cls: ClassValue, depth: int) -> bool:
    """Whether a class makes layers with parameters, or objects of a class beside it that does."""
    calls = cls.definition.facts.calls
    if not calls.isdisjoint(PARAMETRIC_LAYERS):
        return True
    parts = (cls.scope.names.get(name) for name in calls) if depth else ()
    return any(isinstance(part, ClassValue) and _makes_parameters(part, depth - 1) for part in parts)


def _has_parameters(layer: Thing, depth: int = _DEPTH) -> bool:
    """Whether a layer has parameters, as far as its class is in sight."""
    cls = layer.data.get("class")
    if isinstance(cls, ClassValue):
        return _makes_parameters(cls, depth)
    inner = list(layers_in(layer.data.get("args", []), depth)) if depth else []
    return layer.path in PARAMETRIC_LAYERS or any(_has_parameters(part, depth - 1) for part in inner)
