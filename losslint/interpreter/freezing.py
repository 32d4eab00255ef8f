"""Which parameters train: what is frozen and thawed, which layers are replaced, and what an optimizer holds.

Parameters are known by the path of their model: `model.backbone` for `model.backbone.parameters()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from losslint.interpreter.values import Instance, Tensor, Thing, Unknown
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.world import Made, World

_GIVERS = (".parameters()", ".named_parameters()", ".modules()", ".children()")
_HARMLESS = frozenset(
    "parameters named_parameters modules named_modules children named_children buffers state_dict"
    " requires_grad_".split()
)


class Freeze(NamedTuple):
    """`requires_grad` of the parameters of `path` is set; an empty path stands for some that are not in sight.

    `whole`: of all of them, and not only of those that a condition picks.
    """

    node: ir.Node
    path: str
    frozen: bool
    whole: bool
    time: int


class Replacement(NamedTuple):
    """The model at `path` gets a new layer in place of another, or one more."""

    node: ir.Node
    path: str
    name: str
    time: int


def touches(facts: ir.Facts) -> bool:
    """Whether code with these facts freezes or thaws something."""
    return "requires_grad" in facts.assigned or "requires_grad_" in facts.calls


def owner(path: str) -> str:
    """The model whose parameters, or one of them, a path speaks of."""
    plain = path.removesuffix("[]")
    for giver in _GIVERS:
        plain = plain.removesuffix(giver)
    return plain


def is_inside(path: str, model: str) -> bool:
    """Whether a path is that of a model or of a part of it."""
    return path == model or path.startswith((f"{model}.", f"{model}["))


def related(first: str, second: str) -> bool:
    """Whether one of two paths is inside the other."""
    return is_inside(first, second) or is_inside(second, first)


def set_requires_grad(world: World, receiver: Any, value: Any, node: ir.Node) -> None:
    """`parameter.requires_grad = value` and `model.requires_grad_(value)`; a value that is not in sight may thaw."""
    path = owner(receiver.path) if isinstance(receiver, (Unknown, Thing, Instance)) else ""
    if any(related(path, copied) for copied in world.copied):
        # the copy goes by the same path: which of the two is meant is not known
        path = ""
    if world.layers[path.partition(".")[0]] > 1:
        # so do layers of one kind that were made in sight
        path = ""
    picked = bool(world.guards) and any(_assigns(statement, node) for statement in _blocks(world.guards[-1]))
    world.freezes.append(Freeze(node, path, value is False, not picked and bool(path), world.now()))


def replaced(world: World, receiver: Any, name: str, value: Any, node: ir.Node) -> None:
    """`model.head = nn.Linear(…)`, where the model itself was made elsewhere."""
    if isinstance(value, Thing) and value.kind == "model" and isinstance(receiver, (Unknown, Thing)):
        world.replacements.append(Replacement(node, receiver.path, name, world.now()))


def handed(world: World, path: str, values: list[Any]) -> None:
    """A function out of sight is called, `path`, and given these values: it may do anything to a model among them, or
    to the one whose method it is. What is given a tensor is the forward of a model."""
    if world.freezes:
        time = world.now()
        given = [value.path for value in values if isinstance(value, (Unknown, Thing))]
        model, _, method = path.rpartition(".")
        if method not in _HARMLESS and not any(isinstance(value, Tensor) for value in values):
            given.append(model)
        for name in filter(None, given):
            world.handed.setdefault(name, []).append(time)


def held(made: Made) -> list[str]:
    """The models whose parameters an optimizer was made with; empty where that is not in sight."""
    paths = list(_paths(made.given(0, "params")))
    return [] if "" in paths else paths


def frozen_at(world: World, model: str, time: int) -> Freeze | None:
    """The line that froze all parameters of a model; None where some may train at that time."""
    last: Freeze | None = None
    for event in world.freezes:
        if event.time > time:
            break
        if event.frozen and event.whole and is_inside(model, event.path):
            last = event
        elif not event.frozen:
            # one object has many names: what is thawed anywhere may be a part of it
            last = None
    if last is None:
        return None
    since = last.time
    first = min((backward.time for backward in world.backwards if backward.time > since), default=time)
    changed = any(since < one.time < time and related(one.path, model) for one in world.replacements) or any(
        since < when < first and related(name, model) for name, times in world.handed.items() for when in times
    )
    return None if changed else last


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _paths(part)
    elif isinstance(value, dict):
        yield from _paths(value.get("params"))
    else:
        path = str(getattr(value, "path", ""))
        yield owner(path) if path.endswith(_GIVERS[:2]) else ""


def _blocks(guard: ir.If) -> tuple[ir.Stmt, ...]:
    return (*guard.body, *guard.orelse)


def _assigns(statement: ir.Stmt, node: ir.Node) -> bool:
    """Whether a statement is the one that sets `requires_grad` at a node."""
    if isinstance(statement, ir.Assign):
        return any(target is node for target in statement.targets)
    return isinstance(statement, ir.Evaluate) and statement.value is node
