"""What the user's configuration says of functions and classes: it wins over what is in sight."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from losslint.interpreter import arithmetic, tensors, things
from losslint.interpreter.values import MISSING, WINDOW, Scope, Thing, Unknown
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator


def call(ev: Evaluator, path: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A call of the function, method or class at `path`; `MISSING` where nothing is taught of it."""
    hints = ev.program.hints
    if hints.divides(path):
        return _dividing_backward(ev, path, args, kwargs, node)
    name = path.rpartition(".")[2]
    reduction = hints.reduction(path)
    if reduction is not None:
        criterion = Thing("criterion", name, {"reduction": reduction})
        # a class gives a loss function, a function the loss
        return criterion if name[:1].isupper() else things.call_thing(ev, criterion, args, kwargs, node)
    return things.make_meter(name) if hints.is_meter(path) else MISSING


def path_in(scope: Scope, function: ir.Function | ir.Class) -> str:
    """The dotted path of a definition, from the file that it stands in: as long as the path of the file."""
    file = PurePath(scope.module.ir.path if scope.module is not None else "").with_suffix("")
    parts = [part for part in file.parts if part != "__init__"]
    outer = getattr(function, "outer", None)
    return ".".join([*parts, *([outer] if outer else []), function.name])


def _dividing_backward(ev: Evaluator, path: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    value = args[0] if args else kwargs.get("loss", next(iter(kwargs.values()), None))
    # as if the division stood here; without a window, which shows only in some worlds, there is none
    window = next((number for number in ev.world.settings.overrides.values() if number.kinds & WINDOW), None)
    if window is not None and arithmetic.linear(ev, value) is not None:
        value = arithmetic.binary(ev, "/", value, window, node, tensors.argument(node), node.func)
    form = arithmetic.linear(ev, value)
    if form is None:
        ev.world.doubt("backward on a value that was not followed", node)
    else:
        ev.world.backward(node, form)
    return Unknown(f"{path}()", varies=True)
