"""What a model gives: its `forward` is run once, by itself, in every way that its own conditions allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from losslint.interpreter import calls, opaque, outputs
from losslint.interpreter.values import ClassValue, Closure, Instance, Output, Tensor, Thing
from losslint.interpreter.world import OutOfFuelError, Settings, World

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator
    from losslint.lowering import ir

_FUEL = 1_500
_MAX_FLIPS = 6
_DEPTH = 3
_NESTED = 3


def make_layer(name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Thing:
    """A layer or a container of `torch.nn`."""
    return Thing("model", name, {"args": args, "kwargs": kwargs, "node": node})


def output_of(ev: Evaluator, model: Thing, args: list[Any], kwargs: dict[str, Any], node: ir.Node) -> Output | None:
    """How the entries of `model(*args, **kwargs)` come about; None where nothing is known, not even whose they are."""
    source = args[0] if args else None
    if model.path == "Sequential":
        return _through(ev, model, source, node)
    cls = model.data.get("class")
    if cls is None:
        return outputs.layer_output(model, source, node) if "node" in model.data else None
    known = ev.program.outputs
    made_with = [*model.data["args"], *(part for pair in model.data["kwargs"].items() for part in pair)]
    decided = tuple(sorted(map(str, ev.world.settings.decisions.items())))
    key = (cls.definition, ", ".join((*map(opaque.shown, made_with), *decided, str(len(args)), *kwargs)))
    if key not in known:
        # a model that holds itself is not followed
        known[key] = None
        known[key] = _forward(ev, cls, model, len(args), kwargs)
    return known[key]


def build(ev: Evaluator, cls: ClassValue, args: list[Any], kwargs: dict[str, Any]) -> Instance | None:
    """A model with what its `__init__` sets; None where that is longer than a tiny world may be."""
    instance = Instance(cls, cls.definition.name)
    try:
        calls.initialise(ev, instance, args, kwargs, None)
    except (OutOfFuelError, RecursionError):
        return None
    return instance


def layers_in(value: Any, depth: int = _NESTED) -> Iterator[Thing]:
    """The layers and models in a value, in lists and dictionaries too."""
    if isinstance(value, Thing):
        if value.kind == "model":
            yield value
    elif depth and isinstance(value, (list, tuple, dict)):
        parts: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for part in parts:
            yield from layers_in(part, depth - 1)


def note_placed(placed: list[Thing], receiver: Any, values: Iterable[Any]) -> None:
    """A call with these values while a model is built: what anything but a list is given, it may register."""
    if not isinstance(receiver, (list, dict, tuple)):
        for value in values:
            placed.extend(layers_in(value))


def _through(ev: Evaluator, container: Thing, source: Any, node: ir.Node) -> Output | None:
    """The output of layers one after the other, of which only the last ones matter."""
    given = container.data["args"]
    layers = list(given[0].values()) if len(given) == 1 and isinstance(given[0], dict) else given
    value = source
    for layer in layers:
        made = Tensor(node, -1)
        made.output = output_of(ev, layer, [value], {}, node) if isinstance(layer, Thing) else None
        made.shape = made.output.shape if made.output is not None else ""
        value = made
    output = value.output if type(value) is Tensor else None
    return output._replace(model=container.path, outside=False) if output is not None else None


def _forward(ev: Evaluator, cls: ClassValue, model: Thing, places: int, named: Iterable[str]) -> Output:
    """What all ways through `forward` agree on."""
    nothing = Output("", cls.definition, None, cls.definition.name)
    decisions: list[dict[Any, bool]] = [dict(ev.world.settings.decisions)]
    found: Output | None = None
    for taken in decisions:
        world = World(Settings(decisions=dict(taken), fuel=_FUEL, thorough=True))
        output = _run_forward(ev, world, cls, model, places, named)
        if output is None or (found is not None and _functions(output) != _functions(found)):
            return nothing
        if found is None:
            found = output
            opened = list(world.open_conditions)[:_MAX_FLIPS]
            decisions += [{**taken, atom: not world.open_conditions[atom]} for atom in opened]
        else:
            found = _agreed(found, output)
    return _of(found, cls.definition.name) if found is not None else nothing


def _functions(output: Output) -> list[str]:
    """The functions that an output comes from: of each of several tensors, where there are some."""
    return [part.function if part is not None else "" for part in (output.parts or (output,))]


def _agreed(one: Output, other: Output) -> Output:
    """What two ways to the same functions agree on."""
    parts = tuple(
        first and second and _agreed(first, second) for first, second in zip(one.parts, other.parts, strict=True)
    )
    if (one.features, one.shape) != (other.features, other.shape):
        one = one._replace(features=None, shape="")
    return one._replace(parts=parts)


def _of(output: Output, model: str) -> Output:
    """An output, or each part of one, as that of a model."""
    parts = tuple(part and _of(part, model) for part in output.parts)
    return output._replace(model=model, outside=False, parts=parts)


def _run_forward(
    ev: Evaluator, world: World, cls: ClassValue, model: Thing, places: int, named: Iterable[str]
) -> Output | None:
    method = calls.find_method(cls, "forward")
    if method is None or ev.depth >= _DEPTH:
        return None
    side = type(ev)(ev.program, world)
    side.depth = ev.depth + 1
    function, owner = method
    instance = build(side, cls, model.data.get("args", []), model.data.get("kwargs", {}))
    if instance is None:
        return None
    try:
        world.live = 1
        world.enter_visit(0, "", None)
        parameters = function.parameters[1:]
        inputs = [Tensor(parameter, 0) for parameter in parameters[:places]]
        options = {p.name: Tensor(p, 0) for p in parameters if p.name in named}
        value = calls.invoke(side, Closure(function, owner.scope, instance, owner), inputs, options, None)
    except (OutOfFuelError, RecursionError):
        return None
    if type(value) is tuple:
        return Output("", cls.definition, parts=tuple(_output_in(part) for part in value))
    return _output_in(value)


def _output_in(value: Any) -> Output | None:
    if type(value) is not Tensor or value.output is None:
        return None
    return value.output._replace(shape=value.shape)
