"""Values bound to names, attributes, items and the parts of tuples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint.interpreter import arithmetic, freezing, graph, outputs, roles
from losslint.interpreter.program import path_of
from losslint.interpreter.values import (
    BATCH_TRAITS,
    ClassValue,
    Instance,
    Linear,
    Loader,
    Scope,
    Tensor,
    Thing,
    Unknown,
    key_of,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator


def bind(ev: Evaluator, target: ir.Expr, value: Any, scope: Scope, source: ir.Expr | None) -> None:
    """Assigns a value to a name, an attribute, an item, or the parts of a tuple."""
    if isinstance(target, ir.Name):
        value = _named(ev, target.id, value, source)
        if target.id in scope.globals and scope.module is not None:
            scope.module.names[target.id] = value
        elif target.id in scope.borrowed:
            scope.borrowed[target.id].names[target.id] = value
        else:
            scope.names[target.id] = value
    elif isinstance(target, ir.Collection):
        _unpack(ev, target.items, value, scope, source)
    elif isinstance(target, ir.Attr):
        _set_attribute(ev, target, value, scope, source)
    elif isinstance(target, ir.Index):
        _set_item(ev, target, value, scope)
    elif isinstance(target, ir.Starred):
        bind(ev, target.value, value, scope, source)


def _named(ev: Evaluator, name: str, value: Any, source: ir.Expr | None) -> Any:
    """A value under the name it gets: a name that reads like a loss is (weak) evidence."""
    kind = type(value)
    if kind is Tensor:
        if roles.is_loss(name):
            if value.evidence == 0:
                if isinstance(source, ir.Index):
                    return value
                value.evidence = 1
            return arithmetic.linear(ev, value)
        if "mask" in name and "mask" not in value.traits:
            value.traits |= {"mask"}
    elif kind is Linear:
        if roles.is_loss(name):
            for site, _ in value.weights:
                if site.evidence == 0:
                    site.evidence = 1
    elif kind is Loader:
        if not value.named and name not in ev.world.loaders:
            value.path, value.named = name, True
        ev.world.loaders.setdefault(value.path, value)
    elif (
        kind is Unknown
        and roles.is_loss(name)
        and not value.tainted
        and ev.world.live
        and isinstance(source, ir.Call)
        and (value.varies or source.arguments)
    ):
        # what a function that is not in sight has done to the loss is not known
        return arithmetic.linear(ev, ev.tensor(source, evidence=1, traits=frozenset({"out of sight"})))
    return value


def _unpack(ev: Evaluator, targets: tuple[ir.Expr, ...], value: Any, scope: Scope, source: ir.Expr | None) -> None:
    if (
        isinstance(value, (tuple, list))
        and len(value) == len(targets)
        and not any(isinstance(target, ir.Starred) for target in targets)
    ):
        for target, part in zip(targets, value, strict=True):
            bind(ev, target, part, scope, source)
        return
    for place, target in enumerate(targets):
        bind(ev, target, _part(ev, value, place, target), scope, None)


def _part(ev: Evaluator, value: Any, place: int, target: ir.Expr) -> Any:
    name = path_of(target.value if isinstance(target, ir.Starred) else target)
    if isinstance(value, Linear):
        # several losses out of one call: each name that reads like a loss is one of its own
        if roles.is_loss(roles.last(name)) and not ev.world.no_grad:
            return ev.tensor(target, evidence=1)
        return ev.tensor(target)
    if isinstance(value, Tensor):
        made = Tensor(target, value.visit, value.state, traits=value.traits & BATCH_TRAITS)
        return outputs.one_of_several(made, value, place)
    if isinstance(value, Unknown):
        if ev.world.live and (value.varies or roles.is_loss(roles.last(name))) and not value.tainted:
            return ev.tensor(target)
        return Unknown(name or f"{value.path}[{place}]", value.varies, value.tainted)
    if isinstance(value, Thing) and value.kind == "model":
        return Thing(value.kind, name, dict(value.data))
    return Unknown(name, varies=bool(ev.world.live))


def _set_attribute(ev: Evaluator, target: ir.Attr, value: Any, scope: Scope, source: ir.Expr | None) -> None:
    name = target.name
    receiver = ev.eval(target.value, scope)
    if name == "grad":
        if value is None:
            ev.world.zero(target, "", True)
        elif not (isinstance(value, Thing) and value.kind == "gradient"):
            ev.world.doubt("gradients are written by hand", target)
        return
    value = _named(ev, name, value, source)
    if name == "requires_grad" and value is True and isinstance(receiver, (Linear, Tensor)):
        graph.made_leaf(ev, receiver, target)
    if name == "requires_grad":
        freezing.set_requires_grad(ev.world, receiver, value, target)
    freezing.replaced(ev.world, receiver, name, value, target)
    if isinstance(receiver, Instance):
        receiver.attributes[name] = value
    elif isinstance(receiver, Thing):
        receiver.data[name] = value
    elif isinstance(receiver, ClassValue):
        receiver.attributes[name] = value
    elif isinstance(receiver, Unknown):
        ev.stored[(receiver.path, name)] = value
    elif isinstance(receiver, (Tensor, Linear)) and name == "data":
        ev.world.doubt("tensor data is written by hand", target)


def _set_item(ev: Evaluator, target: ir.Index, value: Any, scope: Scope) -> None:
    receiver = ev.eval(target.value, scope)
    index = ev.eval(target.index, scope)
    freezing.replaced(ev.world, receiver, "", value, target)
    if isinstance(receiver, dict):
        receiver[key_of(index)] = value
    elif isinstance(receiver, list):
        place = arithmetic.number(ev, index)
        if place is not None and -len(receiver) <= place.value < len(receiver):
            receiver[int(place.value)] = value
    elif isinstance(receiver, Unknown) and isinstance(index, str):
        ev.stored[(receiver.path, index)] = value
    elif isinstance(receiver, Tensor):
        outputs.written(receiver, value)
