"""What is known of a program before it runs: which names lead to a backward or a loss, and what each loop is for.

Shared by all runs over one file; nothing here changes from run to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from losslint.contracts.torch import CRITERIA, FUNCTIONAL
from losslint.interpreter import freezing, roles
from losslint.interpreter.values import LITERAL, Number, Output
from losslint.lowering import ir
from losslint.source import read

if TYPE_CHECKING:
    from losslint.project import Project

BACKWARD = frozenset({"backward", "manual_backward", "scale_loss"})
STEPPING = frozenset(
    {"step", "zero_grad", "unscale_", "scale", "clip_grad_norm_", "clip_grad_value_", "no_sync", "accumulate"}
)
NAMED = frozenset({"step", "zero_grad", "backward"})
"""Methods that do nothing where they are only named."""
_NO_LITERALS = frozenset({0, 1, -1})


class Reach:
    """Names of functions through which a call gets to a backward, an optimizer step or a loss. `closures` are the ones
    without parameters that get to a backward: code that only names one hands it to something that calls it."""

    __slots__ = ("backward", "closures", "draw", "loop", "loss", "step")

    def __init__(self) -> None:
        self.backward: set[str] = set(BACKWARD)
        self.closures: set[str] = set()
        self.step: set[str] = set(STEPPING)
        self.loss: set[str] = set()
        self.loop: set[str] = set()
        self.draw: set[str] = {"next"}


class Program:
    """One module of the user's project, with what its loops and functions are for.

    `line_name` is what a message calls a line of it.
    """

    def __init__(
        self, project: Project, module: ir.Module, line_name: Callable[[int], str] = lambda line: f"line {line}"
    ) -> None:
        self.project = project
        self.module = module
        self.line_name = line_name
        self.hints = project.hints
        self._idle: dict[ir.Function, bool] = {}
        self._of_project: dict[tuple[str, str], bool] = {}
        self.reach = self._reach()
        self.numbers: dict[ir.Const, Number] = {}
        self.relevance: dict[ir.Node, bool] = {}
        self._loops: dict[ir.Node, LoopRole] = {}
        self.outputs: dict[tuple[ir.Class, str], Output | None] = {}
        """What the `forward` of a model that is made in one way gives, once it was asked for."""

    # ------------------------------------------------------------ reach

    def _reach(self) -> Reach:
        reach = Reach()
        reach.backward.update(map(roles.last, self.hints.dividing))
        reach.loss.update(roles.last(name) for name, _ in self.hints.losses)
        functions = self._functions()
        for body in (self.module.body, *(function.body for function in functions)):
            reach.loss.update(_bound_criteria(body))
        changed = True
        # every other class has a forward, step, update and __init__: only calls of a more telling name count
        common = {"forward", "step", "update", "__init__", "__call__", "run", "main", "get", "log", "reset"}
        while changed:
            changed = False
            for function in functions:
                name = function.name
                calls = function.facts.calls
                reach.draw.update(filter(roles.gives_batch, calls))
                for group in (reach.backward, reach.step, reach.draw):
                    if (
                        name not in group
                        and not calls.isdisjoint(group)
                        and (name not in common or group is reach.backward)
                    ):
                        if name in ("step", "zero_grad"):
                            continue
                        group.add(name)
                        changed = True
                if (
                    name not in reach.loss
                    and name not in common
                    and any(map(self._is_loss_call, calls, [reach] * len(calls)))
                ):
                    reach.loss.add(name)
                    changed = True
        reach.closures.update(
            f.name for f in functions if not f.parameters and not f.facts.calls.isdisjoint(reach.backward)
        )
        for function in functions:
            if function.name not in common and any(
                self.is_relevant(loop.facts, reach) for loop in loops(function.body)
            ):
                reach.loop.add(function.name)
        changed = True
        while changed:
            changed = False
            for function in functions:
                if (
                    function.name not in reach.loop
                    and function.name not in common
                    and not function.facts.calls.isdisjoint(reach.loop)
                ):
                    reach.loop.add(function.name)
                    changed = True
        return reach

    def _functions(self) -> list[ir.Function]:
        """The functions of this module and those it imports from other files of the project."""
        found = list(self.module.functions)
        used = self.module.facts.calls | self.module.facts.read
        for statement in self.module.imports:
            if isinstance(statement, ir.ImportFrom):
                for name, bound in statement.names:
                    # only what is used and may train: following an import costs a parse of its file
                    if name == "*" or bound not in used or not self._may_train(statement):
                        continue
                    hit = self.project.find(self.module, statement.module, statement.level, name)
                    if hit is not None:
                        module, definition = hit
                        if isinstance(definition, ir.Function):
                            found.append(definition)
                        elif isinstance(definition, ir.Class):
                            found.extend(f for f in module.functions if f.outer == definition.name)
        return found

    def _may_train(self, statement: ir.ImportFrom) -> bool:
        path = self.project.resolve(Path(self.module.path), statement.module, statement.level)
        return path is not None and (path.name == "__init__.py" or b"backward(" in _bytes(path))

    @staticmethod
    def _is_loss_call(name: str, reach: Reach) -> bool:
        return name in FUNCTIONAL or name in CRITERIA or name in reach.loss or roles.is_criterion(name)

    def is_of_project(self, importer: ir.Module, dotted: str) -> bool:
        """Whether an absolute import leads to the user's project; asked once, since every run imports again."""
        key = (importer.path, dotted)
        known = self._of_project.get(key)
        if known is None:
            known = self._of_project[key] = self.project.resolve_name(importer, dotted)
        return known

    def is_relevant(self, facts: ir.Facts, reach: Reach | None = None) -> bool:
        """Whether code with these facts feeds a backward or computes a loss."""
        reach = reach or self.reach
        calls = facts.calls
        return (
            self.reaches_backward(facts, reach)
            or not calls.isdisjoint(reach.loss)
            or any(self._is_loss_call(name, reach) for name in calls)
            or any(roles.is_loss(name) for name in facts.assigned)
        )

    def is_idle(self, function: ir.Function) -> bool:
        """Whether a function can do nothing to a loss that it is not given: no loss, no event, no object is made in it.
        What it returns is as good as unknown."""
        idle = self._idle.get(function)
        if idle is None:
            facts = function.facts
            idle = self._idle[function] = not (
                function.is_generator
                or self.is_relevant(facts)
                or self.has_events(facts)
                or self.freezes(facts)
                or not facts.calls.isdisjoint(self.reach.loop)
                or any(name[:1].isupper() for name in facts.calls)
                or any(name == "loss" or roles.is_batch_size(name) for name in facts.read)
                or (not facts.read.isdisjoint(NAMED) and any(map(is_uncalled, statements(function.body))))
            )
        return idle

    def reaches_backward(self, facts: ir.Facts, reach: Reach | None = None) -> bool:
        """Whether code with these facts gets to a backward."""
        reach = reach or self.reach
        return not facts.calls.isdisjoint(reach.backward) or not facts.read.isdisjoint(reach.closures)

    def has_events(self, facts: ir.Facts) -> bool:
        """Whether code with these facts does something that the trace records."""
        return self.reaches_backward(facts) or not facts.calls.isdisjoint(self.reach.step)

    @cached_property
    def imported(self) -> frozenset[str]:
        """The outermost packages that the module imports, wherever in it."""
        return frozenset(
            dotted.split(".", 1)[0]
            for statement in self.module.imports
            for dotted in (
                [statement.module] if isinstance(statement, ir.ImportFrom) else [name for name, _, _ in statement.names]
            )
        )

    def freezes(self, facts: ir.Facts) -> bool:
        """Whether code with these facts freezes or thaws parameters, itself or through a function of the module."""
        return freezing.touches(facts) or not facts.calls.isdisjoint(self._freezing)

    @cached_property
    def _freezing(self) -> frozenset[str]:
        return frozenset(function.name for function in self._functions() if freezing.touches(function.facts)) - {
            "__init__"
        }

    # ------------------------------------------------------------ loops

    def is_nested(self, loop: ir.For | ir.While) -> bool:
        """Whether a loop stands in one that takes the optimizer step outside of it: a window written as a loop."""
        return loop in self._inside_steps

    @cached_property
    def steppers(self) -> frozenset[str]:
        """The functions of the module that take an optimizer step and leave the backward to their callers."""
        return frozenset(
            function.name
            for function in self.module.functions
            if not self.reaches_backward(function.facts) and _direct_step(function.body, frozenset())
        )

    @cached_property
    def _inside_steps(self) -> set[ir.For | ir.While]:
        bodies = [self.module.body, *(function.body for function in self.module.functions)]
        found: set[ir.For | ir.While] = set()
        for body in bodies:
            for outer in loops(body):
                if self.reaches_backward(outer.facts) and _direct_step(outer.body, self.steppers):
                    found.update(loops(outer.body))
        return found

    def loop_role(self, loop: ir.For | ir.While) -> LoopRole:
        """What a loop is for, as far as its text says."""
        role = self._loops.get(loop)
        if role is None:
            role = self._loops[loop] = LoopRole(self, loop)
        return role

    def only_through_loops(self, loop: ir.For | ir.While) -> bool:
        """Whether this loop gets to a backward only through functions that hold a loop of their own."""
        direct = loop.facts.calls & self.reach.backward
        return bool(direct) and not direct & BACKWARD and direct <= self.reach.loop

    # ------------------------------------------------------------ literals

    def number(self, node: ir.Const) -> Number | int:
        """The value of a number literal: 0, 1 and -1 are themselves, any other is a static number with a key."""
        known = self.numbers.get(node)
        if known is None:
            value = node.value
            if value in _NO_LITERALS:
                return int(value)
            slot = node.slot
            key = ("literal", self.module.path, *slot) if slot is not None else ("literal", id(node))
            known = self.numbers[node] = Number(value if isinstance(value, int) else Fraction(str(value)), LITERAL, key)
        return known


class LoopRole:
    """`relevant`: feeds a backward or a loss. `backward`: gets to a backward. `outer`: another relevant loop is inside
    it, directly or through a call. `steps_itself`: an optimizer step stands in its body outside its inner loops.
    `draws`: each iteration has data of its own. `nested`: it stands in a loop that takes the optimizer step itself.
    `counters`: what its body adds 1 to, and where each is taken to start if that is not in sight."""

    __slots__ = ("backward", "counters", "draws", "inner_backward", "nested", "outer", "relevant", "steps_itself")

    def __init__(self, program: Program, loop: ir.For | ir.While) -> None:
        facts = loop.facts
        inner = [other for other in loops(loop.body) if program.is_relevant(other.facts)]
        self.relevant = program.is_relevant(facts)
        self.backward = program.reaches_backward(facts)
        self.inner_backward = any(program.reaches_backward(other.facts) for other in inner)
        calls_loop = not facts.calls.isdisjoint(program.reach.loop)
        # an inner loop over the terms of a loss does not make the loop that calls backward an epoch loop
        self.outer = calls_loop or (self.inner_backward if self.backward else bool(inner))
        if self.backward and inner and not self.inner_backward:
            self.outer = calls_loop and program.only_through_loops(loop)
        elif self.backward and calls_loop and not self.inner_backward:
            self.outer = program.only_through_loops(loop)
        self.steps_itself = self.outer and _direct_step(loop.body, program.steppers)
        target = loop.target.id if isinstance(loop, ir.For) and isinstance(loop.target, ir.Name) else ""
        self.draws = (
            target in facts.read
            or not facts.calls.isdisjoint(program.reach.draw)
            or any(map(roles.gives_batch, facts.calls))
        )
        self.nested = program.is_nested(loop)
        self.counters = list(_counters(loop.body)) if self.relevant else []

    def __repr__(self) -> str:
        return f"LoopRole({self.relevant=}, {self.backward=}, {self.outer=}, {self.steps_itself=})"


def _bound_criteria(block: ir.Block) -> Iterator[str]:
    """The names that hold a loss function: `mse = nn.MSELoss()`."""
    for statement in block:
        if isinstance(statement, ir.Assign) and isinstance(statement.value, ir.Call):
            made = roles.last(path_of(statement.value.func))
            names = (roles.last(path_of(target)) for target in statement.targets)
            yield from (name for name in names if name and made in CRITERIA)
        for inner in blocks(statement):
            yield from _bound_criteria(inner)


def _bytes(path: Path) -> bytes:
    try:
        return read(path) or b""
    except OSError:
        return b""


def is_model(cls: ir.Class) -> bool:
    """Whether a class statement names `nn.Module` or its kind as a base."""
    return any(roles.last(path_of(base)) in ("Module", "LightningModule") for base in cls.bases)


def loops(block: ir.Block) -> Iterator[ir.For | ir.While]:
    """The loops of a block, nested ones included, functions and classes defined in it left out."""
    for statement in block:
        if isinstance(statement, (ir.For, ir.While)):
            yield statement
        for inner in blocks(statement):
            yield from loops(inner)


def blocks(statement: ir.Stmt) -> Iterator[ir.Block]:
    """The blocks of a compound statement, functions and classes left out."""
    if isinstance(statement, (ir.If, ir.For, ir.While)):
        yield statement.body
        yield statement.orelse
    elif isinstance(statement, ir.With):
        yield statement.body
    elif isinstance(statement, ir.Try):
        yield statement.body
        yield from statement.handlers
        yield statement.orelse
        yield statement.final
    elif isinstance(statement, ir.Match):
        for case in statement.cases:
            yield case.body


def _counters(body: ir.Block) -> Iterator[tuple[ir.Expr, int]]:
    """What a body counts up by 1. A counter that a `%` takes as it is, before it is counted up, starts at 1: from 0 its
    first window would be a short one, and where it really starts is not in sight."""
    taken: set[str] = set()
    for statement in statements(body):
        if isinstance(statement, ir.Augment) and statement.op == "+":
            if isinstance(statement.value, ir.Const) and statement.value.value == 1:
                yield statement.target, int(item_path(statement.target) in taken)
        else:
            taken.update(_remainders(_expressions(statement)))


def is_uncalled(statement: ir.Stmt) -> bool:
    """Whether a statement names a method of training and does not call it."""
    return isinstance(statement, ir.Evaluate) and isinstance(statement.value, ir.Attr) and statement.value.name in NAMED


def statements(body: ir.Block) -> Iterator[ir.Stmt]:
    """Every statement of a block, at any depth."""
    for statement in body:
        yield statement
        for inner in blocks(statement):
            yield from statements(inner)


def _expressions(statement: ir.Stmt) -> ir.Expr | None:
    """What a statement tests or computes before its blocks run."""
    return getattr(statement, "test", None) or getattr(statement, "value", None)


def _remainders(node: ir.Expr | None) -> Iterator[str]:
    """What is taken modulo something in a condition, by its text."""
    if isinstance(node, ir.Binary) and node.op == "%":
        yield item_path(node.left)
    elif isinstance(node, ir.Compare):
        for part in (node.left, *node.rights):
            yield from _remainders(part)
    elif isinstance(node, ir.Logic):
        for part in node.values:
            yield from _remainders(part)
    elif isinstance(node, ir.Unary):
        yield from _remainders(node.operand)


def item_path(node: ir.Expr) -> str:
    """A name, attribute or constant item as text; an empty string for anything else."""
    if isinstance(node, ir.Index) and isinstance(node.index, ir.Const):
        return f"{item_path(node.value)}[{node.index.value}]"
    return path_of(node)


def passed_through(function: ir.Function) -> str | None:
    """The parameter whose items a generator hands on as they are: a loop over it with a progress bar or a log."""
    names = {parameter.name for parameter in function.parameters}
    for loop in loops(function.body):
        if not (isinstance(loop, ir.For) and isinstance(loop.target, ir.Name) and isinstance(loop.iterable, ir.Name)):
            continue
        if loop.iterable.id in names and any(_yields(statement, loop.target.id) for statement in loop.body):
            return loop.iterable.id
    return None


def _yields(statement: ir.Stmt, name: str) -> bool:
    value = statement.value if isinstance(statement, ir.Evaluate) else None
    return isinstance(value, ir.Yield) and isinstance(value.value, ir.Name) and value.value.id == name


def _direct_step(block: ir.Block, steppers: frozenset[str]) -> bool:
    """Whether an optimizer step, or a call of a function that takes one, stands in a block outside its loops."""
    for statement in block:
        if isinstance(statement, (ir.For, ir.While)):
            continue
        inner = list(blocks(statement))
        if inner:
            if any(_direct_step(other, steppers) for other in inner):
                return True
        elif isinstance(statement, ir.Evaluate) and isinstance(statement.value, ir.Call):
            func = statement.value.func
            if isinstance(func, ir.Attr) and func.name == "step" and not roles.is_scheduler(path_of(func.value)):
                return True
            if isinstance(func, (ir.Name, ir.Attr)) and path_of(func).removeprefix("self.") in steppers:
                return True
    return False


def path_of(node: ir.Expr) -> str:
    """The dotted path of a name or attribute, an empty string for anything else."""
    if isinstance(node, ir.Name):
        return node.id
    if isinstance(node, ir.Attr):
        inner = path_of(node.value)
        return f"{inner}.{node.name}" if inner else node.name
    return ""
