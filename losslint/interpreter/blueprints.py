"""What holds of a module before anything runs: the models that it defines, built in a world of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from losslint.interpreter import calls, models
from losslint.interpreter.evaluate import Evaluator
from losslint.interpreter.program import Program
from losslint.interpreter.values import ClassValue, Instance, Thing
from losslint.interpreter.world import Settings, World
from losslint.lowering import ir

_FUEL = 3_000


class Blueprint(NamedTuple):
    """A model as its `__init__` leaves it, its arguments unknown; `placed` are the layers that were handed to something
    on the way."""

    instance: Instance
    placed: list[Thing]
    world: World


def built_models(program: Program, wanted: Callable[[ir.Class], bool] = lambda cls: True) -> Iterator[Blueprint]:
    """Every model class of the module that is wanted, built."""
    if not any(map(wanted, program.module.classes)):
        return
    for value in list(_evaluator(program).definitions(program.module).values()):
        if type(value) is ClassValue and calls.inherits(value, "Module", "LightningModule"):
            if (
                value.scope.module is None
                or value.scope.module.ir is not program.module
                or not wanted(value.definition)
            ):
                continue
            builder = _evaluator(program)
            builder.world.placed = []
            instance = models.build(builder, value, [], {})
            if instance is not None:
                yield Blueprint(instance, builder.world.placed, builder.world)


def _evaluator(program: Program) -> Evaluator:
    return Evaluator(program, World(Settings(fuel=_FUEL)))
