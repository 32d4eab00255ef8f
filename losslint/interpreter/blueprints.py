"""What holds of a module before anything runs: the models that it defines, built in a world of their own."""

from __future__ import annotations

from collections.abc import Iterator

from losslint.interpreter import calls, models
from losslint.interpreter.evaluate import Evaluator
from losslint.interpreter.program import Program
from losslint.interpreter.values import ClassValue, Instance
from losslint.interpreter.world import Settings, World

_FUEL = 3_000


def built_models(program: Program) -> Iterator[Instance]:
    """Every model class of the module as its `__init__` leaves it, its arguments unknown."""
    for value in list(_evaluator(program).module_scope(program.module).names.values()):
        if type(value) is ClassValue and calls.inherits(value, "Module", "LightningModule"):
            instance = models.build(_evaluator(program), value, [], {})
            if instance is not None:
                yield instance


def _evaluator(program: Program) -> Evaluator:
    return Evaluator(program, World(Settings(fuel=_FUEL)))
