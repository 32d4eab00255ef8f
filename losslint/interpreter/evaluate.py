"""Runs statements and expressions of the IR in a tiny world. What it means for values is beside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from losslint import units
from losslint.interpreter import arithmetic, attributes, binding, calls, conditions, graph, iteration, roles, streams
from losslint.interpreter.program import LoopRole, Program, is_uncalled
from losslint.interpreter.values import (
    BATCH,
    BREAK,
    CONTINUE,
    DETACHED,
    GRAPH,
    LOG,
    MISSING,
    NEXT,
    RAISE,
    RETURN,
    Closure,
    Imported,
    Instance,
    Key,
    Linear,
    ModuleScope,
    ModuleValue,
    Note,
    Number,
    Scope,
    Tensor,
    Text,
    Thing,
    Unknown,
    key_of,
)
from losslint.interpreter.world import Made, OutOfFuelError, Reset, World
from losslint.lowering import ir


class Evaluator:
    """One run of one program in one world."""

    def __init__(self, program: Program, world: World) -> None:
        self.program = program
        self.world = world
        self.scopes: dict[str, ModuleScope] = {}
        self.stored: dict[tuple[str, str], Any] = {}
        self.returned: Any = None
        self.stack: list[ir.Function] = []
        self.made = 0
        self.optimizers: dict[tuple[ir.Node | None, str], list[tuple[str, int]]] = {}
        self.rows: dict[str, int] = {}
        self.constructed: set[str] = set()
        self.depth = 0
        """How many models deep this run is: the `forward` of a model is a run of its own."""
        self.statements: dict[type, Callable[[Any, Scope], int]] = {
            ir.Evaluate: self._evaluate,
            ir.Assign: self._assign,
            ir.Augment: self._augment,
            ir.Declare: self._declare,
            ir.If: self._if,
            ir.For: self._for,
            ir.While: self._while,
            ir.With: self._with,
            ir.Try: self._try,
            ir.Match: self._match,
            ir.Return: self._return,
            ir.Break: lambda node, scope: BREAK,
            ir.Continue: lambda node, scope: CONTINUE,
            ir.Raise: lambda node, scope: RAISE,
            ir.Assert: lambda node, scope: NEXT,
            ir.Delete: self._delete,
            ir.Scope: self._scope,
            ir.Import: self._import,
            ir.ImportFrom: self._import_from,
            ir.Function: self._function,
            ir.Class: self._class,
        }
        self.expressions: dict[type, Callable[[Any, Scope], Any]] = {
            ir.Const: self._const,
            ir.Name: self._name,
            ir.Attr: self._attr,
            ir.Index: self._index,
            ir.Slice: self._slice,
            ir.Binary: self._binary,
            ir.Unary: self._unary,
            ir.Logic: partial(conditions.logic, self),
            ir.Compare: partial(conditions.compare, self),
            ir.Choice: self._choice,
            ir.Call: partial(calls.call, self),
            ir.Collection: self._collection,
            ir.Mapping: self._mapping,
            ir.Format: self._format,
            ir.Starred: lambda node, scope: self.eval(node.value, scope),
            ir.Comprehension: self._comprehension,
            ir.Lambda: lambda node, scope: Closure(node.function, scope),
            ir.Walrus: self._walrus,
            ir.Yield: self._yield,
            ir.Opaque: self._opaque,
        }

    # ------------------------------------------------------------ entry

    def module_scope(self, module: ir.Module) -> ModuleScope:
        """The names of a module of the project: its definitions, imports and simple assignments."""
        scope = self.scopes.get(module.path)
        if scope is None:
            scope = self.scopes[module.path] = ModuleScope(module)
            self.define(module.body, scope)
        return scope

    def definitions(self, module: ir.Module) -> Mapping[str, Any]:
        """The names of a module, as far as its own statements can be run: a notebook may train between two classes."""
        with contextlib.suppress(OutOfFuelError, RecursionError):
            self.module_scope(module)
        return self.scopes[module.path].names

    def define(self, block: ir.Block, scope: Scope) -> None:
        """Runs what a module does on import, its loops and expression statements left out."""
        for statement in block:
            kind = type(statement)
            if kind in (ir.Import, ir.ImportFrom, ir.Function, ir.Class, ir.Assign):
                self.world.tick()
                self.statements[kind](statement, scope)
            elif kind is ir.Try:
                self.define(statement.body, scope)  # type: ignore[union-attr]
            elif kind is ir.If and "__name__" not in statement.facts.read:  # type: ignore[union-attr]
                self.define(statement.body, scope)  # type: ignore[union-attr]
                self.define(statement.orelse, scope)  # type: ignore[union-attr]

    def run_module(self, module: ir.Module) -> None:
        """Runs a module as a script."""
        scope = self.scopes[module.path] = ModuleScope(module)
        scope.names["__name__"] = "__main__"
        self.block(module.body, scope)

    # ------------------------------------------------------------ statements

    def block(self, body: ir.Block, scope: Scope) -> int:
        """Runs statements until one of them leaves the block; says how it ended."""
        statements = self.statements
        tick = self.world.tick
        for statement in body:
            tick()
            signal = statements[type(statement)](statement, scope)
            if signal:
                return signal
        return NEXT

    def eval(self, node: ir.Expr, scope: Scope) -> Any:
        """The value of an expression."""
        return self.expressions[type(node)](node, scope)

    def _evaluate(self, node: ir.Evaluate, scope: Scope) -> int:
        value = node.value
        if type(value) is ir.Attr and is_uncalled(node):
            self.world.uncalled.setdefault(value, arithmetic.path_text(value.value))
        self.eval(value, scope)
        return NEXT

    def _assign(self, node: ir.Assign, scope: Scope) -> int:
        value = self.eval(node.value, scope)
        for target in node.targets:
            if isinstance(target, (ir.Name, ir.Attr)):
                name = arithmetic.path_text(target)
                if name in self.world.sums and _is_empty_sum(value):
                    self.world.resets.append(Reset(node, name, self.world.live > 0))
                elif type(value) is Linear:
                    value = self._grown(node, name, value, scope)
            binding.bind(self, target, value, scope, node.value)
        return NEXT

    def _grown(self, node: ir.Assign, name: str, value: Linear, scope: Scope) -> Linear:
        """`total = total + loss` is `total += loss`."""
        source = node.value
        if isinstance(source, ir.Binary) and source.op == "+":
            for held, operand in ((source.left, source.right), (source.right, source.left)):
                if isinstance(held, (ir.Name, ir.Attr)) and arithmetic.path_text(held) == name:
                    return arithmetic.accumulated(self, node, value, operand, name)
        return value

    def _augment(self, node: ir.Augment, scope: Scope) -> int:
        old = self.eval(node.target, scope)
        value = self.eval(node.value, scope)
        if type(old) is list and node.op == "+":
            if len(old) < arithmetic.LONGEST_LIST:
                old.extend(value if isinstance(value, (list, tuple)) else [value])
            return NEXT
        binding.bind(self, node.target, arithmetic.augmented(self, node, old, value), scope, None)
        return NEXT

    def _declare(self, node: ir.Declare, scope: Scope) -> int:
        return NEXT

    def _return(self, node: ir.Return, scope: Scope) -> int:
        self.returned = (self.eval(node.value, scope) if node.value is not None else None, node)
        return RETURN

    def _delete(self, node: ir.Delete, scope: Scope) -> int:
        for target in node.targets:
            if isinstance(target, ir.Name):
                scope.names.pop(target.id, None)
        return NEXT

    def _scope(self, node: ir.Scope, scope: Scope) -> int:
        if node.kind == "global":
            scope.globals.update(node.names)
        else:
            for name in node.names:
                outer = scope.outer
                while outer is not None and name not in outer.names:
                    outer = outer.outer
                if outer is not None:
                    scope.borrowed[name] = outer
        return NEXT

    def _import(self, node: ir.Import, scope: Scope) -> int:
        for dotted, bound, whole in node.names:
            if self._of_project(scope, dotted):
                scope.names[bound] = Imported(dotted if whole else dotted.split(".")[0], 0, None)
            else:
                scope.names[bound] = ModuleValue(dotted if whole else dotted.split(".")[0])
        return NEXT

    def _import_from(self, node: ir.ImportFrom, scope: Scope) -> int:
        for name, bound in node.names:
            if name == "*":
                self._star(node, scope)
            elif node.level or self._of_project(scope, node.module):
                scope.names[bound] = Imported(node.module, node.level, name)
            else:
                scope.names[bound] = ModuleValue(f"{node.module}.{name}")
        return NEXT

    def _of_project(self, scope: Scope, dotted: str) -> bool:
        module = scope.module
        return module is not None and self.program.is_of_project(module.ir, dotted)

    def _star(self, node: ir.ImportFrom, scope: Scope) -> None:
        module = scope.module
        target = self.program.project.module(module.ir, node.module, node.level) if module is not None else None
        if target is not None and target.path not in self.scopes:
            for name, value in self.module_scope(target).names.items():
                if not name.startswith("_"):
                    scope.names.setdefault(name, value)

    def _function(self, node: ir.Function, scope: Scope) -> int:
        scope.names[node.name] = Closure(node, scope)
        return NEXT

    def _class(self, node: ir.Class, scope: Scope) -> int:
        scope.names[node.name] = calls.make_class(self, node, scope)
        return NEXT

    # ------------------------------------------------------------ branches

    def _if(self, node: ir.If, scope: Scope) -> int:
        taken = conditions.branch(self, node, scope)
        guards = self.world.guards
        guards.append(node)
        try:
            return self.block(node.body if taken else node.orelse, scope)
        finally:
            guards.pop()

    def _match(self, node: ir.Match, scope: Scope) -> int:
        subject = self.eval(node.subject, scope)
        for case in node.cases:
            value = self.eval(case.value, scope) if case.value is not None else None
            if case.value is not None and isinstance(subject, str) and isinstance(value, str) and subject != value:
                continue
            for name in case.captures:
                scope.names[name] = Unknown(name, varies=bool(self.world.live))
            return self.block(case.body, scope)
        return NEXT

    def _try(self, node: ir.Try, scope: Scope) -> int:
        signal = self.block(node.body, scope)
        if signal == RAISE:
            # an explicit raise in the body: the first handler takes it
            signal = self.block(node.handlers[0], scope) if node.handlers else signal
        elif signal == NEXT:
            signal = self.block(node.orelse, scope)
        kept = self.returned
        final = self.block(node.final, scope)
        if final == NEXT:
            self.returned = kept
        return final or signal

    def _with(self, node: ir.With, scope: Scope) -> int:
        entered = []
        for item in node.items:
            value = self.eval(item.value, scope)
            if item.target is not None:
                binding.bind(self, item.target, calls.entered(value), scope, item.value)
            if isinstance(value, Thing):
                entered.append((value, calls.enter(self, value)))
        try:
            return self.block(node.body, scope)
        finally:
            for value, state in reversed(entered):
                calls.leave(self, value, state)

    # ------------------------------------------------------------ loops

    def _for(self, node: ir.For, scope: Scope) -> int:
        iterable = self.eval(node.iterable, scope)
        streams.walked(self.world, iterable, node.iterable)
        role = self.program.loop_role(node)
        self._start_counters(role, scope)
        items = iteration.items(self, iterable, node, role)
        inside = role.relevant and not role.outer
        self.world.inside += inside
        try:
            for item in items:
                binding.bind(self, node.target, item, scope, node.iterable)
                signal = self.block(node.body, scope)
                if signal == BREAK:
                    self.world.left_early.add(node)
                    return NEXT
                if signal > CONTINUE:
                    return signal
        finally:
            self.world.inside -= inside
            close = getattr(items, "close", None)
            if close is not None:
                close()
        return self.block(node.orelse, scope)

    def _while(self, node: ir.While, scope: Scope) -> int:
        role = self.program.loop_role(node)
        self._start_counters(role, scope)
        world = self.world
        visiting = role.relevant and not role.outer
        limit = (
            (iteration.STEPS if role.steps_itself else iteration.EPOCHS)
            if role.outer
            else units.BATCHES
            if visiting
            else 3
        )
        outer = world.current
        if visiting:
            if not world.live:
                world.passage += 1
            world.live += 1
        try:
            for place in range(limit + 1):
                test = self.eval(node.test, scope)
                truth = conditions.truth(test)
                if truth is False:
                    return self.block(node.orelse, scope)
                if place == limit:
                    world.endless = True
                    return NEXT
                if visiting:
                    world.enter_visit(place, "", node, True)
                signal = self.block(node.body, scope)
                if signal == BREAK:
                    return NEXT
                if signal > CONTINUE:
                    return signal
            return NEXT
        finally:
            if visiting:
                world.live -= 1
                if world.live:
                    world.current = outer

    def _start_counters(self, role: LoopRole, scope: Scope) -> None:
        """Counters whose start is not in sight (a checkpoint, another file) start here."""
        for target, start in role.counters:
            value = self.eval(target, scope)
            if type(value) is Unknown and not value.varies and not value.tainted:
                binding.bind(self, target, start, scope, None)

    # ------------------------------------------------------------ binding

    # ------------------------------------------------------------ names and attributes

    def lookup(self, name: str, scope: Scope) -> Any:
        """The value of a name, or `MISSING`."""
        where: Scope | None = scope
        while where is not None:
            value = where.names.get(name, MISSING)
            if value is not MISSING:
                if type(value) is Imported:
                    value = where.names[name] = self._resolve(value, where)
                return value
            where = where.outer
        module = scope.module
        if module is not None:
            value = module.names.get(name, MISSING)
            if type(value) is Imported:
                value = module.names[name] = self._resolve(value, module)
        else:
            value = MISSING
        return value

    def _resolve(self, name: Imported, scope: Scope) -> Any:
        module = scope.module
        if module is None:
            return ModuleValue(name.module)
        if name.name is None:
            target = self.program.project.module(module.ir, name.module, 0)
            return self.module_scope(target) if target is not None else ModuleValue(name.module)
        found = self.program.project.find(module.ir, name.module, name.level, name.name)
        dotted = f"{name.module}.{name.name}" if name.module else name.name
        if found is None:
            return ModuleValue(dotted)
        home, definition = found
        if definition is None:
            return self.module_scope(home)
        return self.module_scope(home).names.get(getattr(definition, "name", name.name), ModuleValue(dotted))

    def _const(self, node: ir.Const, scope: Scope) -> Any:
        value = node.value
        if type(value) in (int, float):
            if value != value or value in (float("inf"), float("-inf")):
                return Unknown(str(value))
            return self.program.number(node)
        return value

    def _name(self, node: ir.Name, scope: Scope) -> Any:
        value = self.lookup(node.id, scope)
        if value is MISSING:
            return self.guess(node.id)
        return value

    def guess(self, path: str) -> Any:
        """What a name that nothing defines stands for."""
        if roles.is_batch_size(path):
            return Number(units.BATCH, BATCH, path)
        return Unknown(path)

    def _attr(self, node: ir.Attr, scope: Scope) -> Any:
        return self.attribute(self.eval(node.value, scope), node.name, node)

    def apply(self, callee: Any, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
        """Calls a value."""
        return calls.apply(self, callee, args, kwargs, node)

    def attribute(self, receiver: Any, name: str, node: ir.Expr) -> Any:
        """`receiver.name`."""
        kind = type(receiver)
        if kind is Unknown:
            stored = self.stored.get((receiver.path, name), MISSING)
            if stored is not MISSING:
                return stored
            if name == "grad":
                return Thing("gradient", f"{receiver.path}.grad", {})
            if name == "loss" and self.world.live and not receiver.tainted:
                return self.tensor(node, evidence=1)
            if name == "is_last_batch" and self.world.current >= 0:
                # Lightning's trainer says so
                return self.world.visits[self.world.current].place == self.world.settings.batches - 1
            path = f"{receiver.path}.{name}"
            if receiver.varies or receiver.tainted:
                return Unknown(path, receiver.varies, receiver.tainted, likely=name == "requires_grad")
            return self.guess(path)
        if kind is Instance:
            return calls.instance_attribute(self, receiver, name)
        if kind is ModuleValue:
            return ModuleValue(f"{receiver.path}.{name}")
        if kind is ModuleScope:
            value = self.lookup(name, receiver)
            return Unknown(name) if value is MISSING else value
        return attributes.attribute(self, receiver, name, node)

    def _index(self, node: ir.Index, scope: Scope) -> Any:
        receiver = self.eval(node.value, scope)
        index = self.eval(node.index, scope)
        return attributes.item(self, receiver, index, node)

    def _slice(self, node: ir.Slice, scope: Scope) -> Any:
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                self.eval(part, scope)
        return slice(None)

    # ------------------------------------------------------------ operators

    def _binary(self, node: ir.Binary, scope: Scope) -> Any:
        left = self.eval(node.left, scope)
        right = self.eval(node.right, scope)
        return arithmetic.binary(self, node.op, left, right, node, node.left, node.right)

    def _unary(self, node: ir.Unary, scope: Scope) -> Any:
        value = self.eval(node.operand, scope)
        if node.op == "not":
            return conditions.negated(value)
        if node.op == "-":
            return arithmetic.negated(self, value, node)
        return value

    def _choice(self, node: ir.Choice, scope: Scope) -> Any:
        test = self.eval(node.test, scope)
        truth = conditions.truth(test)
        if truth is None:
            return conditions.choose(self, node, test, scope)
        return self.eval(node.body if truth else node.orelse, scope)

    # ------------------------------------------------------------ displays

    def _collection(self, node: ir.Collection, scope: Scope) -> Any:
        items: list[Any] = []
        for item in node.items:
            value = self.eval(item, scope)
            if isinstance(item, ir.Starred) and isinstance(value, (list, tuple)):
                items.extend(value)
            else:
                items.append(value)
        return tuple(items) if node.kind == "tuple" else items

    def _mapping(self, node: ir.Mapping, scope: Scope) -> Any:
        result: dict[Any, Any] = {}
        for key, value in node.items:
            content = self.eval(value, scope)
            if key is not None:
                result[key_of(self.eval(key, scope))] = content
            elif isinstance(content, dict):
                result.update(content)
        return result

    def _format(self, node: ir.Format, scope: Scope) -> Any:
        parts = [self.eval(value, scope) for value in node.values]
        return Text((node.literal, *parts))

    def _comprehension(self, node: ir.Comprehension, scope: Scope) -> Any:
        inner = Scope({}, scope, scope.module)
        results: list[Any] = []
        self._generate(node, 0, inner, results)
        if node.kind == "dict":
            return dict(results)
        return results

    def _generate(self, node: ir.Comprehension, depth: int, scope: Scope, results: list[Any]) -> None:
        if depth == len(node.generators):
            element = self.eval(node.element, scope)
            results.append((key_of(self.eval(node.key, scope)), element) if node.key is not None else element)
            return
        generator = node.generators[depth]
        iterable = self.eval(generator.iterable, scope)
        streams.walked(self.world, iterable, generator.iterable)
        for item in iteration.elements(self, iterable, node):
            self.world.tick()
            binding.bind(self, generator.target, item, scope, None)
            tests = [conditions.truth(self.eval(condition, scope)) for condition in generator.conditions]
            if False not in tests:
                self._generate(node, depth + 1, scope, results)

    def _walrus(self, node: ir.Walrus, scope: Scope) -> Any:
        value = self.eval(node.value, scope)
        binding.bind(self, node.target, value, scope, node.value)
        return value

    def _yield(self, node: ir.Yield, scope: Scope) -> Any:
        if node.value is not None:
            self.eval(node.value, scope)
        return Unknown("yield", varies=True)

    def _opaque(self, node: ir.Opaque, scope: Scope) -> Any:
        for part in node.parts:
            self.eval(part, scope)
        return Unknown("?", varies=bool(self.world.live))

    # ------------------------------------------------------------ what a person reads

    # ------------------------------------------------------------ making values

    def loss(
        self,
        node: ir.Node,
        reduction: str | None,
        evidence: int,
        assumption: str,
        traits: frozenset[str] = frozenset(),
    ) -> Linear:
        """The loss of the current batch, made here."""
        world = self.world
        visit = world.visit()
        site = world.site(node, None, reduction, evidence, assumption)
        site.traits |= traits
        weights: dict[Any, Any] = {(site, visit): world.visits[visit].size if reduction == "sum" else 1}
        state = DETACHED if world.no_grad else GRAPH
        if not world.unsynced:
            world.with_sync.add((site, visit))
        steps = world.remember((), (node, "loss", None, 0, ""), weights)
        notes: set[Note] = {assumption} if assumption else set()
        if world.no_grad:
            notes.add(world.cut(graph.NO_GRAD, node))
        return Linear(weights, steps, state, reduction == "none", frozenset(notes))

    def tensor(
        self,
        node: ir.Node,
        reduction: str | None = None,
        evidence: int = 0,
        traits: frozenset[str] = frozenset(),
        state: int | None = None,
    ) -> Tensor:
        """A tensor that comes from here, in the current batch."""
        if state is None:
            state = DETACHED if self.world.no_grad else GRAPH
        made = Tensor(node, self.world.visit(), state, reduction, evidence, traits)
        if self.world.no_grad:
            made.cut = self.world.cut(graph.NO_GRAD, node)
        return made

    def unique(self, path: str) -> str:
        """A path for an object made by a contract."""
        self.made += 1
        return f"{path}#{self.made}"

    def optimizer(self, kind: str, node: ir.Node | None) -> str:
        """The path of an optimizer made at `node`. One that is made again after its forerunner has stepped takes its
        place: a run over several seeds, folds or stages has one optimizer after the other, not several at once."""
        world = self.world
        made = self.optimizers.setdefault((node, kind), [])
        for place, (path, since) in enumerate(made):
            if any(step.optimizer == path and step.time > since for step in reversed(world.steps)):
                made[place] = (path, world.now())
                # it holds other parameters, or the same ones anew: what it did not make is not its own
                world.cleared[path] = len(world.contributions)
                return path
        made.append((self.unique(kind), world.now()))
        return made[-1][0]

    def make(self, kind: str, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Node | None) -> Thing:
        """An optimizer or a scheduler, remembered with what it was made with."""
        path = self.optimizer(name, node) if kind == "optimizer" else self.unique(name)
        if node is not None:
            world = self.world
            world.made[path] = Made(kind, name, node, tuple(args), kwargs, world.current, world.now())
        return Thing(kind, path, {})

    def log_window(self, key: Key, node: ir.Node) -> Number:
        """The modulus of a gate that is not known to be the window: a log window until a run proves otherwise."""
        self.world.candidates.setdefault(key, node)
        known = self.world.settings.overrides.get(key)
        if known is None:
            self.world.changed_late |= key in self.world.used
            known = self.world.settings.overrides[key] = Number(units.LOG, LOG, key)
        return known


def _is_empty_sum(value: Any) -> bool:
    return (type(value) is int and value == 0) or (type(value) is list and not value)
