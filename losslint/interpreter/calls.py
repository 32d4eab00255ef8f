"""Calls: functions, methods and classes of the project are interpreted; everything else goes through contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint.contracts.frameworks import SCALER_CALLABLES
from losslint.interpreter import (
    arithmetic,
    builtin,
    frameworks,
    library,
    methods,
    models,
    opaque,
    roles,
    streams,
    taught,
    things,
    unknowns,
)
from losslint.interpreter.program import passed_through, path_of
from losslint.interpreter.values import (
    GRAPH,
    MISSING,
    RAISE,
    RETURN,
    Bag,
    ClassValue,
    Closure,
    Instance,
    Linear,
    Loader,
    Method,
    ModuleScope,
    ModuleValue,
    Scope,
    Tensor,
    Thing,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

_DEPTH = 14
_NO_GRAD = frozenset({"no_grad", "inference_mode"})
Arguments = tuple[list[Any], dict[str, Any]]


def call(ev: Evaluator, node: ir.Call, scope: Scope) -> Any:
    """Evaluates a call."""
    func = node.func
    if type(func) is ir.Attr:
        if type(func.value) is ir.Call and path_of(func.value.func) == "super":
            args, kwargs = arguments(ev, node, scope)
            return _super_call(ev, func.name, args, kwargs, node, scope)
        receiver = ev.eval(func.value, scope)
        args, kwargs = arguments(ev, node, scope)
        if ev.world.placed is not None:
            models.note_placed(ev.world.placed, receiver, [*args, *kwargs.values()])
        if ev.world.streams:
            streams.used(ev.world, func.name, [*args, *kwargs.values()], node)
        result = call_attribute(ev, receiver, func.name, args, kwargs, node, func.value)
        return streams.given(ev.world, func.name, result, node) if not args else result
    name = func.id if type(func) is ir.Name else ""
    callee = ev.lookup(name, scope) if name else ev.eval(func, scope)
    args, kwargs = arguments(ev, node, scope)
    if ev.world.placed is not None:
        models.note_placed(ev.world.placed, None, [*args, *kwargs.values()])
    if ev.world.streams and type(callee) not in (ClassValue, Closure):
        # what the program itself defines is followed: its body says whether it goes through what it is given
        streams.used(ev.world, name, [*args, *kwargs.values()], node)
    if callee is MISSING:
        result = builtin.call_builtin(ev, name, args, kwargs, node)
        return streams.materialised(ev.world, name, result) if ev.world.streams else result
    return apply(ev, callee, args, kwargs, node)


def arguments(ev: Evaluator, node: ir.Call, scope: Scope) -> Arguments:
    """Positional and keyword arguments; `*xs` and `**kw` are spread where their content is known."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for argument in node.arguments:
        value = ev.eval(argument.value, scope)
        if argument.star == "*":
            args.extend(value) if isinstance(value, (list, tuple)) else args.append(value)
        elif argument.star == "**":
            if isinstance(value, dict):
                kwargs.update({key: item for key, item in value.items() if isinstance(key, str)})
            else:
                if type(value) is Tensor:
                    ev.world.mappings.add(value.node)
                kwargs.setdefault("**", value)
        elif argument.keyword is not None:
            kwargs[argument.keyword] = value
        else:
            args.append(value)
    return args, kwargs


def call_attribute(
    ev: Evaluator,
    receiver: Any,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    node: ir.Call,
    receiver_node: ir.Expr,
) -> Any:
    """`receiver.name(…)`."""
    kind = type(receiver)
    if kind is Instance:
        if name in receiver.attributes:
            return apply(ev, receiver.attributes[name], args, kwargs, node, f"{receiver.path}.{name}")
        found = find_method(receiver.cls, name)
        if found is not None:
            function, owner = found
            return invoke(ev, Closure(function, owner.scope, receiver, owner), args, kwargs, node)
        if name in receiver.cls.attributes:
            return apply(ev, receiver.cls.attributes[name], args, kwargs, node)
        if name in ("parameters", "named_parameters", "state_dict"):
            return Unknown(f"{receiver.path}.{name}()")
        if name in ("train", "eval") and not find_method(receiver.cls, name):
            ev.world.mode(name, args, node, receiver.path)
            return receiver
        if name in ("to", "cuda", "cpu", "float", "half"):
            return receiver
        if name == "no_sync" and not args:
            return frameworks.without_sync(node)
        return unknowns.inherited_call(ev, receiver, name, args, kwargs, node)
    if kind is ModuleValue:
        return library.call_library(ev, f"{receiver.path}.{name}", args, kwargs, node)
    if kind is ClassValue:
        found = find_method(receiver, name)
        if found is not None:
            function, owner = found
            bound = receiver if _decorated(function, "classmethod") else None
            return invoke(ev, Closure(function, owner.scope, bound, owner), args, kwargs, node)
        return Unknown(f"{receiver.definition.name}.{name}()", varies=bool(ev.world.live))
    if kind is ModuleScope:
        callee = ev.lookup(name, receiver)
        if callee is MISSING:
            return library.call_library(ev, name, args, kwargs, node)
        return apply(ev, callee, args, kwargs, node)
    if kind is Unknown:
        stored = ev.stored.get((receiver.path, name))
        if stored is not None:
            return apply(ev, stored, args, kwargs, node)
    return methods.call_method(ev, receiver, name, args, kwargs, node, receiver_node)


def apply(ev: Evaluator, callee: Any, args: list[Any], kwargs: dict[str, Any], node: ir.Call, path: str = "") -> Any:
    """Calls a value."""
    kind = type(callee)
    if kind is Closure:
        return invoke(ev, callee, args, kwargs, node)
    if kind is ClassValue:
        return construct(ev, callee, args, kwargs, node)
    if kind is ModuleValue:
        return library.call_library(ev, callee.path, args, kwargs, node)
    if kind is Instance:
        if callee.cls.definition.name in SCALER_CALLABLES:
            return frameworks.scaler_callable(ev, args, kwargs, node)
        found = find_method(callee.cls, "forward") or find_method(callee.cls, "__call__")
        if found is not None:
            function, owner = found
            return invoke(ev, Closure(function, owner.scope, callee, owner), args, kwargs, node)
        return ev.tensor(node)
    if kind is Thing:
        return things.call_thing(ev, callee, args, kwargs, node)
    if kind is Method:
        return methods.call_method(ev, callee.receiver, callee.name, args, kwargs, node, node.func)
    if kind is Tensor:
        return ev.tensor(node)
    if kind is Unknown:
        return unknowns.call_unknown(ev, callee, args, kwargs, node)
    return Unknown(path or "call", varies=bool(ev.world.live), tainted=arithmetic.tainted([*args, *kwargs.values()]))


# ---------------------------------------------------------------- functions


def invoke(ev: Evaluator, closure: Closure, args: list[Any], kwargs: dict[str, Any], node: ir.Call | None) -> Any:
    """Runs a function of the project."""
    function = closure.function
    if node is not None and ev.program.hints:
        made = taught.call(ev, taught.path_in(closure.scope, function), args, kwargs, node)
        if made is not MISSING:
            return made
    if len(ev.stack) >= _DEPTH or ev.stack.count(function) > 1:
        return Unknown(f"{function.name}()", varies=True, tainted=arithmetic.tainted(args))
    if node is not None and closure.receiver is None and ev.program.is_idle(function) and not arithmetic.tainted(args):
        return opaque.unknown_call(ev, function.name, function.name, args, kwargs, node)
    if _decorated(function, "contextmanager"):
        return Thing("context", function.name, {})
    passed = passed_through(function) if function.is_generator else None
    if function.is_generator and passed is None:
        path = function.name
        return Loader(path, assumed=True) if node is not None else Unknown(path)
    scope = Scope({}, closure.scope, closure.scope.module)
    if closure.receiver is not None and not _decorated(function, "staticmethod"):
        args = [closure.receiver, *args]
    bind_parameters(ev, function, args, kwargs, scope, closure.scope)
    if passed is not None:
        return scope.names[passed]
    scope.names["__class__"] = closure.owner
    world = ev.world
    no_grad = any(roles.last(path_of(d.func if isinstance(d, ir.Call) else d)) in _NO_GRAD for d in function.decorators)
    outer_no_grad = world.no_grad
    world.no_grad = 0 if _decorated(function, "enable_grad") else outer_no_grad + no_grad
    ev.stack.append(function)
    ev.world.entered.add(function)
    guards, world.guards = world.guards, list(world.guards)
    entry = world.entry
    if entry is None and world.live and node is not None and any(map(_is_figure, [*args, *kwargs.values()])):
        world.entry = node
    passage = world.passage
    try:
        world.tick()
        ev.returned = None
        ended = ev.block(function.body, scope)
        returned = ev.returned
        ev.returned = None
        if ended == RAISE:
            # a method that only raises stands for one of a subclass that is not in sight
            return Unknown(f"{function.name}()", varies=True)
        if ended != RETURN or returned is None:
            return None
        value, statement = returned
        return _handed_back(ev, value, statement) if world.passage > passage else value
    finally:
        world.guards = guards
        world.entry = entry
        world.no_grad = outer_no_grad
        ev.stack.pop()


def _handed_back(ev: Evaluator, value: Any, node: ir.Return) -> Any:
    """What a function returns that has run over batches: figures of the pass, and the line that hands them out."""
    if type(value) is Linear and value.state != GRAPH:
        steps = ev.world.remember(value.steps, (node, "return", None, 0, ""), value.weights)
        return Linear(value.weights, steps, value.state, value.vector, value.notes)
    if type(value) is tuple:
        return tuple(_handed_back(ev, part, node) for part in value)
    if type(value) is dict:
        return {key: _handed_back(ev, part, node) for key, part in value.items()}
    return value


def _is_figure(value: Any) -> bool:
    """Whether a value is a loss, or another figure of the batch."""
    return arithmetic.tainted(value) or (type(value) is Tensor and "nonlinear" in value.traits)


def bind_parameters(
    ev: Evaluator, function: ir.Function, args: list[Any], kwargs: dict[str, Any], scope: Scope, defaults: Scope
) -> None:
    """Arguments to names; what a call leaves out is its default, or unknown by its name."""
    names = scope.names
    queue = list(args)
    rest = dict(kwargs)
    unknown = rest.pop("**", None)
    for parameter in function.parameters:
        name = parameter.name
        if parameter.kind == "*":
            names[name] = tuple(queue)
            queue = []
        elif parameter.kind == "**":
            names[name] = rest
        elif parameter.kind == "positional" and queue:
            names[name] = queue.pop(0)
        elif name in rest:
            names[name] = rest.pop(name)
        elif parameter.default is not None and unknown is None:
            names[name] = ev.eval(parameter.default, defaults)
        else:
            names[name] = ev.guess(name)


def _decorated(function: ir.Function, name: str) -> bool:
    return any(roles.last(path_of(d.func if isinstance(d, ir.Call) else d)) == name for d in function.decorators)


# ---------------------------------------------------------------- classes


def make_class(ev: Evaluator, node: ir.Class, scope: Scope) -> ClassValue:
    """The value of a class statement."""
    bases = tuple(ev.eval(base, scope) for base in node.bases)
    value = ClassValue(node, scope, bases)
    for statement in node.body:
        if isinstance(statement, ir.Function):
            value.methods[statement.name] = statement
        elif isinstance(statement, ir.Assign):
            for target in statement.targets:
                if isinstance(target, ir.Name):
                    value.attributes[target.id] = ev.eval(statement.value, scope)
    return value


def find_method(cls: ClassValue, name: str, depth: int = 0) -> tuple[ir.Function, ClassValue] | None:
    """A method and the class that defines it, base classes searched in order."""
    function = cls.methods.get(name)
    if function is not None:
        return function, cls
    if depth < 8:
        for base in cls.bases:
            if isinstance(base, ClassValue):
                found = find_method(base, name, depth + 1)
                if found is not None:
                    return found
    return None


def _uncounted(args: list[Any], node: ir.Call | None) -> list[Any]:
    """What a model is made with, without numbers that may have been counted in a tiny world, such as the length of a
    list of classes: a number that is written down is one."""
    if node is None or len(node.arguments) < len(args):
        return args
    written = [argument.value for argument in node.arguments]
    pairs = zip(args, written, strict=False)
    return [Unknown("count") if type(arg) is int and not isinstance(expr, ir.Const) else arg for arg, expr in pairs]


def inherits(cls: ClassValue, *names: str, depth: int = 0) -> bool:
    """Whether a class has a library class of one of these names among its ancestors."""
    for base in cls.bases:
        if isinstance(base, ModuleValue) and roles.last(base.path) in names:
            return True
        if isinstance(base, Unknown) and roles.last(base.path) in names:
            return True
        if isinstance(base, ClassValue) and depth < 8 and inherits(base, *names, depth=depth + 1):
            return True
    return False


def construct(ev: Evaluator, cls: ClassValue, args: list[Any], kwargs: dict[str, Any], node: ir.Call | None) -> Any:
    """An object of a project class, its `__init__` interpreted."""
    name = cls.definition.name
    ev.constructed.add(name)
    if node is not None and ev.program.hints:
        made = taught.call(ev, taught.path_in(cls.scope, cls.definition), args, kwargs, node)
        if made is not MISSING:
            return made
    if inherits(cls, "Module") and not inherits(cls, "LightningModule") and not _computes_loss(ev, cls):
        return Thing("model", ev.unique(name), {"class": cls, "args": _uncounted(args, node), "kwargs": kwargs})
    if inherits(cls, "Dataset", "IterableDataset"):
        return Loader(name, dataset=True)
    if inherits(cls, "DataLoader"):
        return Loader(name)
    if inherits(cls, "Optimizer"):
        return ev.make("optimizer", name, args, kwargs, node)
    if inherits(cls, "_LRScheduler", "LRScheduler", "LambdaLR"):
        return ev.make("scheduler", name, args, kwargs, node)
    if inherits(cls, "dict", "defaultdict"):
        return Bag(kwargs)
    for kind, kinds in (("mean", ("_WeightedLoss", "_Loss")),):
        if inherits(cls, *kinds) and find_method(cls, "forward") is None:
            return Thing("criterion", name, {"reduction": kind})
    if len(ev.stack) >= _DEPTH:
        return Unknown(name)
    instance = Instance(cls, name)
    initialise(ev, instance, args, kwargs, node)
    return instance


def initialise(
    ev: Evaluator, instance: Instance, args: list[Any], kwargs: dict[str, Any], node: ir.Call | None
) -> None:
    """Runs `__init__`, or fills the fields of a dataclass."""
    found = find_method(instance.cls, "__init__")
    if found is not None:
        function, owner = found
        invoke(ev, Closure(function, owner.scope, instance, owner), args, kwargs, node)
        return
    queue = list(args)
    for statement in instance.cls.definition.body:
        if isinstance(statement, ir.Declare) and isinstance(statement.target, ir.Name):
            name = statement.target.id
            value = queue.pop(0) if queue else kwargs.get(name, ev.guess(f"{instance.path}.{name}"))
            instance.attributes[name] = value
        elif isinstance(statement, ir.Assign) and isinstance(statement.targets[0], ir.Name):
            name = statement.targets[0].id
            if queue or name in kwargs:
                instance.attributes[name] = queue.pop(0) if queue else kwargs[name]


def _computes_loss(ev: Evaluator, cls: ClassValue) -> bool:
    """Whether calling an `nn.Module` of the project gives a loss that is worth following."""
    if roles.is_loss(cls.definition.name) or "oss" in cls.definition.name or "riterion" in cls.definition.name:
        return True
    forward = find_method(cls, "forward")
    return forward is not None and ev.program.is_relevant(forward[0].facts)


def instance_attribute(ev: Evaluator, receiver: Instance, name: str) -> Any:
    """`object.name` on a project object."""
    value = receiver.attributes.get(name, MISSING)
    if value is not MISSING:
        return value
    found = find_method(receiver.cls, name)
    if found is not None:
        function, owner = found
        bound = Closure(function, owner.scope, receiver, owner)
        if _decorated(function, "property") or _decorated(function, "cached_property"):
            return invoke(ev, bound, [], {}, None)
        return bound
    cls: Any = receiver.cls
    depth = 0
    while isinstance(cls, ClassValue) and depth < 8:
        if name in cls.attributes:
            return cls.attributes[name]
        cls = next((base for base in cls.bases if isinstance(base, ClassValue)), None)
        depth += 1
    if name == "__dict__":
        return receiver.attributes
    path = f"{receiver.path}.{name}"
    stored = ev.stored.get((receiver.path, name), MISSING)
    return stored if stored is not MISSING else ev.guess(path)


def _super_call(ev: Evaluator, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call, scope: Scope) -> Any:
    where: Scope | None = scope
    while where is not None and "__class__" not in where.names:
        where = where.outer
    owner = where.names.get("__class__") if where is not None else None
    receiver = where.names.get("self") if where is not None else None
    if isinstance(owner, ClassValue) and isinstance(receiver, Instance):
        for base in owner.bases:
            if isinstance(base, ClassValue):
                found = find_method(base, name)
                if found is not None:
                    function, home = found
                    return invoke(ev, Closure(function, home.scope, receiver, home), args, kwargs, node)
        if name == "__init__":
            return None
        return unknowns.inherited_call(ev, receiver, name, args, kwargs, node)
    return None if name == "__init__" else Unknown(f"super().{name}()", varies=bool(ev.world.live))


# ---------------------------------------------------------------- contexts


def enter(ev: Evaluator, thing: Thing) -> Any:
    """What a `with` block changes."""
    world = ev.world
    if thing.kind == "context":
        mode = thing.data.get("grad")
        if mode is False:
            world.no_grad += 1
        elif mode is True:
            saved, world.no_grad = world.no_grad, 0
            return saved
        elif thing.data.get("accumulate"):
            frameworks.enter_accumulate(ev, thing)
        elif thing.data.get("unsynced"):
            world.unsynced.append(thing.data["unsynced"])
    return None


def entered(value: Any) -> Any:
    """What `with value as name` binds."""
    if isinstance(value, Thing) and value.kind == "context":
        return Unknown(value.path)
    return value


def leave(ev: Evaluator, thing: Thing, state: Any) -> None:
    """Undoes `enter`."""
    if thing.kind == "context":
        mode = thing.data.get("grad")
        if mode is False:
            ev.world.no_grad -= 1
        elif mode is True:
            ev.world.no_grad = state
        elif thing.data.get("unsynced"):
            ev.world.unsynced.pop()
