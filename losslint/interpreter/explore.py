"""Finds where to start, runs each start in its tiny worlds, and finds the accumulation window by running.

A start (`Root`) is a script, a function with a loop that nothing else in the file calls, or a class that accumulates a
loss. Each is run in forks of the conditions that do not change during a run; each fork is judged alone (`Loop`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from losslint import units
from losslint.contracts.frameworks import LIGHTNING, TRAINER, Framework
from losslint.interpreter import arithmetic, calls, figures, roles
from losslint.interpreter.evaluate import Evaluator
from losslint.interpreter.ledger import Loop, Window
from losslint.interpreter.program import BACKWARD, Program, loops, path_of, statements
from losslint.interpreter.values import BATCH, BATCH_TRAITS, WINDOW, ClassValue, Closure, Instance, Key, Linear, Number
from losslint.interpreter.world import OutOfFuelError, Settings, World
from losslint.lowering import ir

_MAX_FORKS = 6
_MAX_TESTS = 5
_FILE_FUEL = 36_000
_RUN_FUEL = 8_000
_LEAST_FUEL = 500
_TAIL_FUEL = 3_000
_TAIL_BATCHES = 7


@dataclass(frozen=True, slots=True)
class Root:
    """Where a run starts: `script`, `function`, `method`, `training_step`, `compute_loss`, `meter` or `step` (called
    once per batch from out of sight)."""

    kind: str
    function: ir.Function | None
    cls: str | None


class Explorer:
    """Runs one module of the project."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.fuel = _FILE_FUEL
        self.notes: list[str] = []
        self.entered: set[ir.Function] = set()
        self.constructed: set[str] = set()

    def explore(self) -> list[Loop]:
        """Every loop of the module, in every fork."""
        found: list[Loop] = []
        for root in self._roots():
            if root.function is not None and root.function in self.entered:
                continue
            if root.kind == "meter" and root.cls in self.constructed:
                continue
            if self.fuel <= 0:
                self.notes.append(
                    f"{self.program.module.path}: the budget of the file is spent, later functions are not run"
                )
                break
            found.extend(self._forks(root))
        return found

    # ------------------------------------------------------------ roots

    def _roots(self) -> Iterator[Root]:
        program = self.program
        body = [s for s in program.module.body if not isinstance(s, (ir.Function, ir.Class))]
        if any(self._leads_to_loop(statement) for statement in body):
            yield Root("script", None, None)
        functions = [f for f in program.module.functions if self._holds_loop(f) and not _goes_over_parts(f)]
        called: set[str] = set()
        for function in functions:
            called |= function.facts.calls - {function.name}
        first = [f for f in functions if f.name not in called]
        for function in [*first, *(f for f in functions if f.name in called)]:
            yield Root("method" if function.outer else "function", function, function.outer)
        for function in program.module.functions:
            if function.outer and function.name == "training_step" and self._is_lightning(function.outer):
                yield Root("training_step", function, function.outer)
            elif function.outer and function.name == "compute_loss" and _is_of_trainer(function):
                yield Root("compute_loss", function, function.outer)
        for cls in program.module.classes:
            if _meter_method(cls) is not None:
                yield Root("meter", None, cls.name)
        # what is called once per batch from out of sight: tried last, as the caller may be in this file
        trains = [f for f in program.module.functions if f.parameters and not f.facts.calls.isdisjoint(BACKWARD)]
        inner = {name for f in trains for name in f.facts.calls - {f.name}}
        for function in sorted(trains, key=lambda f: f.name in inner):
            if not self._holds_loop(function):
                yield Root("step", function, function.outer)

    def _is_lightning(self, name: str) -> bool:
        cls = next((cls for cls in self.program.module.classes if cls.name == name), None)
        return cls is not None and any("Lightning" in path_of(base) for base in cls.bases)

    def _leads_to_loop(self, statement: ir.Stmt) -> bool:
        program = self.program
        if any(program.is_relevant(loop.facts) for loop in loops((statement,))):
            return True
        facts = getattr(statement, "facts", None)
        called = facts.calls if facts is not None else _calls_of(statement)
        return not called.isdisjoint(program.reach.loop) or (
            not called.isdisjoint(self._loop_names) and bool(program.reach.loop)
        )

    @cached_property
    def _loop_names(self) -> set[str]:
        """The functions of the module that hold a loop themselves, and what a script calls its own."""
        return {f.name for f in self.program.module.functions if f.name == "main" or self._holds_loop(f)}

    def _holds_loop(self, function: ir.Function) -> bool:
        return any(self.program.is_relevant(loop.facts) for loop in loops(function.body))

    # ------------------------------------------------------------ forks

    def _forks(self, root: Root) -> Iterator[Loop]:
        queue: list[dict[Key, bool]] = [{}]
        seen: set[frozenset[tuple[Key, bool]]] = set()
        signatures: set[Any] = set()
        siblings: list[Loop] = []
        trains = False
        while queue and len(seen) < _MAX_FORKS and self.fuel > 0:
            decisions = queue.pop(0)
            scout = self.run(root, Settings(decisions=dict(decisions)))
            taken = dict(scout.settings.decisions)
            mark = frozenset(taken.items())
            if mark in seen:
                continue
            seen.add(mark)
            queue.extend({**taken, atom: not taken[atom]} for atom in scout.open_conditions)
            trains = trains or bool(scout.backwards)
            if not trains:
                # a loop that only reports has fewer ways to go wrong: two of them are run
                del queue[2 - len(seen) :]
            signature = _signature(scout)
            if signature in signatures or not (
                scout.backwards or scout.dead_backwards or scout.figures or scout.retained or scout.uncalled
            ):
                continue
            signatures.add(signature)
            loop = self._judgeable(root, scout, taken)
            loop.siblings = siblings
            siblings.append(loop)
            yield loop
        if queue and len(seen) >= _MAX_FORKS:
            self.notes.append(
                f"{self.program.module.path}: more than {_MAX_FORKS} forks of one loop, the rest is not run"
            )

    def _judgeable(self, root: Root, scout: World, decisions: dict[Key, bool]) -> Loop:
        overrides = dict(scout.settings.overrides)
        window, worlds = self._window(root, scout, decisions, overrides)
        if window is None:
            # a number that turned out to be a log window after a loss had been divided by it: once more, from the start
            worlds[1] = (
                scout
                if not scout.changed_late
                else self.run(root, Settings(overrides=overrides, decisions=dict(decisions)))
            )
        else:
            worlds[1] = self.run(root, self._settings(window.key, 1, overrides, decisions))
            worlds = dict(sorted(worlds.items()))

        def again(flip: ir.Node | None, tail: bool) -> World:
            length = 3 if window is not None else 1
            settings = self._settings(window.key if window is not None else None, length, overrides, decisions)
            settings.flip = flip
            if tail:
                settings.batches = _TAIL_BATCHES
                settings.short_tail = True
            # the end of a pass is walked once for each loop, also where the forks have spent the budget of the file
            return self.run(root, settings, _TAIL_FUEL if tail else _LEAST_FUEL)

        return Loop(self.program, root.kind, worlds, window, decisions, again)

    def _settings(
        self, key: Key | None, length: int, overrides: dict[Key, Number], decisions: dict[Key, bool]
    ) -> Settings:
        known = dict(overrides)
        if key is not None:
            known[key] = Number(length, WINDOW, key)
        return Settings(window=length, overrides=known, decisions=dict(decisions))

    # ------------------------------------------------------------ the window

    def _window(
        self, root: Root, scout: World, decisions: dict[Key, bool], overrides: dict[Key, Number]
    ) -> tuple[Window | None, dict[int, World]]:
        """The number that decides how many micro-batches reach one optimizer step: found by changing it. With it come
        the worlds that showed it."""
        if not scout.backwards:
            return None, {}
        usual = micro_batches_per_step(scout)
        frameworks = [key for key in scout.candidates if overrides.get(key) is None or key in scout.told]
        if usual == 1 and not frameworks:
            return None, {}
        candidates = list(scout.candidates)
        if usual is None or usual > 1 or not candidates:
            candidates += [key for key in scout.weak_candidates if key not in scout.candidates]
        for key in candidates[:_MAX_TESTS]:
            worlds: dict[int, World] = {}
            for length in units.WINDOWS[1:]:
                worlds[length] = self.run(root, self._settings(key, length, overrides, decisions))
                if micro_batches_per_step(worlds[length]) != length:
                    break
            else:
                return Window(key, scout.candidates.get(key) or scout.weak_candidates[key]), worlds
        return None, {}

    # ------------------------------------------------------------ one run

    def evaluator(self, world: World) -> Evaluator:
        """What runs the program in a world."""
        return Evaluator(self.program, world)

    def run(self, root: Root, settings: Settings, least: int = _LEAST_FUEL) -> World:
        """Runs a root in one world, for at least so many statements where it needs them; a run that hits a bound keeps
        what it has seen."""
        settings.fuel = min(_RUN_FUEL, max(self.fuel, least))
        world = World(settings)
        evaluator = self.evaluator(world)
        try:
            _start(evaluator, root, self.program)
        except OutOfFuelError:
            world.doubt("the run is longer than a tiny world may be", ir_root(self.program, root))
            self.notes.append(f"{self.program.module.path}: a run hit its bound of {settings.fuel} statements")
        except RecursionError:
            world.doubt("the code is nested too deeply", ir_root(self.program, root))
            self.notes.append(f"{self.program.module.path}: nested too deeply to be run")
        self.fuel -= settings.fuel - max(world.fuel, 0)
        self.entered |= world.entered
        self.constructed |= evaluator.constructed
        return world


def ir_root(program: Program, root: Root) -> Any:
    """The node that stands for a root."""
    return root.function if root.function is not None else program.module


def micro_batches_per_step(world: World) -> int | None:
    """How many batches reach an optimizer step, as a rule; None where there is no step."""
    counts: Counter[int] = Counter()
    since: dict[str, int] = {}
    for step in world.steps:
        start = since.get(step.optimizer, 0)
        visits = {b.visit for b in world.backwards if start < b.time < step.time}
        since[step.optimizer] = step.time
        if visits:
            counts[len(visits)] += 1
    if not counts:
        return None
    return max(counts, key=lambda length: (counts[length], length))


def _signature(world: World) -> Any:
    def form(weights: Any) -> Any:
        return tuple((id(site.node), visit, weight) for (site, visit), weight in weights.items())

    return (
        tuple((id(b.node), form(b.weights)) for b in world.backwards),
        tuple((id(s.node), s.optimizer, s.scaler, len(s.fresh), len(s.stale)) for s in world.steps),
        tuple((id(f.node), f.position, form(f.weights)) for f in world.figures),
        tuple((e.kind, id(e.node), e.what) for e in world.events),
        sum(loader.sampler is not None for loader in world.loaders.values()),
        tuple(id(z.node) for z in world.zeroings),
        tuple((id(b.node), form(b.weights)) for b in world.dead_backwards),
    )


# ---------------------------------------------------------------- starting


def _start(ev: Evaluator, root: Root, program: Program) -> None:
    if root.kind == "script":
        ev.run_module(program.module)
        return
    scope = ev.module_scope(program.module)
    if root.kind == "meter":
        _run_meter(ev, scope.names.get(root.cls or ""))
        return
    function = root.function
    assert function is not None
    receiver: Instance | None = None
    owner: ClassValue | None = None
    if function.outer is not None:
        owner = scope.names.get(function.outer)
        if isinstance(owner, ClassValue):
            receiver = Instance(_most_derived(scope.names, owner), "self")
            constructor = calls.find_method(receiver.cls, "__init__")
            given = _unknown_arguments(ev, constructor[0], True) if constructor is not None else {}
            calls.initialise(ev, receiver, [], given, None)
        else:
            owner = None
    closure = Closure(function, owner.scope if owner is not None else scope, receiver, owner)
    if root.kind == "training_step":
        # a class inside a function is not among the module's: what its object holds is not known
        if receiver is not None:
            _run_training_step(ev, closure, receiver)
        return
    if root.kind == "compute_loss":
        _run_compute_loss(ev, closure)
        return
    if root.kind == "step":
        _run_step(ev, closure)
        return
    # a second epoch, where something can outlive the first: a plain function starts anew each time
    for _ in range(2 if receiver is not None else 1):
        ev.world.calls.append(ev.world.now())
        # the objects that the second call makes are those of the first: an optimizer made inside is one optimizer
        ev.made = 0
        arguments = _unknown_arguments(ev, function, receiver is not None)
        value = calls.invoke(ev, closure, [], arguments, None)
        if value is not None:
            figures.report(ev, _last_return(function), [value], "return")
        if ev.world.passage >= 2:
            break


def _unknown_arguments(ev: Evaluator, function: ir.Function, bound: bool) -> dict[str, Any]:
    """Every parameter unknown by its name; a default says only what the usual number is."""
    return {
        parameter.name: ev.guess(parameter.name)
        for parameter in function.parameters[1 if bound else 0 :]
        if parameter.kind in ("positional", "keyword") and not (parameter.name in ("self", "cls") and bound)
    }


def _most_derived(names: dict[str, Any], cls: ClassValue) -> ClassValue:
    """The last class of the file that derives from this one: what is really trained."""
    for value in reversed(list(names.values())):
        if isinstance(value, ClassValue) and value is not cls and _derives(value, cls):
            return value
    return cls


def _derives(cls: ClassValue, base: ClassValue) -> bool:
    return any(isinstance(b, ClassValue) and (b is base or _derives(b, base)) for b in cls.bases)


def _last_return(function: ir.Function) -> ir.Node:
    found: ir.Node = function
    for statement in statements(function.body):
        if isinstance(statement, ir.Return) and statement.value is not None:
            found = statement
    return found


def _goes_over_parts(function: ir.Function) -> bool:
    """Whether a function is a module's `forward`: its loops go over layers and terms of one batch's loss."""
    return function.outer is not None and function.name == "forward" and function.facts.calls.isdisjoint(BACKWARD)


def _calls_of(statement: ir.Stmt) -> frozenset[str]:
    value = getattr(statement, "value", None)
    if isinstance(value, ir.Call):
        func = value.func
        name = func.name if isinstance(func, ir.Attr) else func.id if isinstance(func, ir.Name) else ""
        return frozenset({name})
    return frozenset()


def _run_training_step(ev: Evaluator, closure: Closure, module: Instance) -> None:
    """A step method that a framework calls once per batch: two passes over the loader."""
    function = closure.function
    for _ in range(2):
        for place, _visit in enumerate(ev.world.batches("", function, True)):
            arguments: list[Any] = []
            for parameter in function.parameters[1:]:
                if parameter.kind != "positional":
                    continue
                counts = "idx" in parameter.name or parameter.name in ("i", "step", "iteration", "batch_nb")
                arguments.append(place if counts else ev.tensor(function, traits=BATCH_TRAITS))
            value = calls.invoke(ev, closure, arguments, {}, None)
            if isinstance(value, dict):
                value = value.get("loss")
            form = arithmetic.linear(ev, value)
            manual = module.attributes.get("automatic_optimization") is False
            if form is not None and not manual:
                _trained_by(ev, LIGHTNING, function, form)


def _trained_by(ev: Evaluator, framework: Framework, function: ir.Function, loss: Linear) -> None:
    """What a trainer does with a loss that it is handed. It knows its own window: seen from here, every batch is one
    step."""
    ev.world.backward(_last_return(function), loss, 1, framework.name)
    ev.world.step(function, "trainer", False, framework.name)
    ev.world.zero(function, "trainer", False)


def _is_of_trainer(function: ir.Function) -> bool:
    """Whether a method named `compute_loss` is the one that the `Trainer` of transformers calls for each batch."""
    return "return_outputs" in [parameter.name for parameter in function.parameters]


def _run_compute_loss(ev: Evaluator, closure: Closure) -> None:
    """`compute_loss(model, inputs)`, called once per batch of two passes."""
    function = closure.function
    for _ in range(2):
        for _visit in ev.world.batches("", function, True):
            given = _unknown_arguments(ev, function, closure.receiver is not None)
            given |= {"inputs": ev.tensor(function, traits=BATCH_TRAITS), "return_outputs": False}
            form = arithmetic.linear(ev, calls.invoke(ev, closure, [], given, None))
            if form is not None:
                _trained_by(ev, TRAINER, function, form)


def _run_step(ev: Evaluator, closure: Closure) -> None:
    """A function that trains on one batch, called for each batch of two passes. Its caller may zero the gradients that
    a step has used."""
    function = closure.function
    world = ev.world
    parameters = function.parameters[1 if closure.receiver is not None else 0 :]
    for _ in range(2):
        for place, _visit in enumerate(world.batches("", function, True)):
            stepped = len(world.steps)
            arguments = {
                parameter.name: _step_argument(ev, parameter, place)
                for parameter in parameters
                if parameter.kind in ("positional", "keyword")
            }
            calls.invoke(ev, closure, [], arguments, None)
            if len(world.steps) > stepped:
                world.cleared_all = len(world.contributions)


def _step_argument(ev: Evaluator, parameter: ir.Parameter, place: int) -> Any:
    name = parameter.name
    if (roles.is_loss(name) and not roles.is_criterion(name)) or name == "loss":
        return ev.loss(parameter, None, 1, "opaque")
    if "idx" in name or name in ("i", "step", "iteration", "batch_nb"):
        return place
    if roles.is_batch(name):
        return ev.tensor(parameter, traits=BATCH_TRAITS)
    return ev.guess(name)


# ---------------------------------------------------------------- meters


def _meter_method(cls: ir.Class) -> ir.Function | None:
    """The method of a class that accumulates a loss it is given."""
    for statement in cls.body:
        if isinstance(statement, ir.Function) and statement.name != "__init__":
            losses = [p.name for p in statement.parameters if roles.is_loss(p.name)]
            adds_up = any(
                isinstance(inner, ir.Augment) and isinstance(inner.target, ir.Attr) and inner.op == "+"
                for inner in statements(statement.body)
            )
            if losses and adds_up and not statement.facts.calls & BACKWARD:
                return statement
    return None


def _run_meter(ev: Evaluator, cls: Any) -> None:
    """Feeds a meter one pass of batches and reads every figure that it offers."""
    if not isinstance(cls, ClassValue):
        return
    method = _meter_method(cls.definition)
    assert method is not None
    instance = Instance(cls, "self")
    calls.initialise(ev, instance, [], {}, None)
    update = Closure(method, cls.scope, instance, cls)
    for _place in ev.world.batches("", method, True):
        arguments: dict[str, Any] = {}
        for parameter in method.parameters[1:]:
            if parameter.kind not in ("positional", "keyword"):
                continue
            if roles.is_loss(parameter.name):
                arguments[parameter.name] = ev.loss(parameter, "mean", 1, "a mean is assumed")
            elif roles.is_batch_size(parameter.name) or parameter.name in ("n", "num", "size", "count"):
                arguments[parameter.name] = Number(ev.world.size, BATCH, None)
            elif parameter.default is not None:
                arguments[parameter.name] = ev.eval(parameter.default, cls.scope)
            else:
                arguments[parameter.name] = ev.tensor(parameter, traits=BATCH_TRAITS)
        calls.invoke(ev, update, [], arguments, None)
    for statement in cls.definition.body:
        if isinstance(statement, ir.Function) and statement is not method and len(statement.parameters) == 1:
            if statement.name in ("__init__", "reset", "__len__", "__str__", "__repr__"):
                continue
            value = calls.invoke(ev, Closure(statement, cls.scope, instance, cls), [], {}, None)
            if value is not None:
                figures.report(ev, _last_return(statement), [value], "return")
    for name, value in instance.attributes.items():
        if isinstance(value, Linear):
            figures.report(ev, method, [{name: value}], "held")
