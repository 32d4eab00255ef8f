"""Loss classes of the user: what their `forward` does, in every way that its own conditions allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from losslint.contracts.torch import FUNCTIONAL
from losslint.interpreter import calls, graph, models, roles
from losslint.interpreter.evaluate import Evaluator
from losslint.interpreter.program import Program, path_of, statements
from losslint.interpreter.values import GRAPH, ClassValue, Closure, Cut, Instance, Linear, Tensor
from losslint.interpreter.world import OutOfFuelError, Settings, World
from losslint.lowering import ir
from losslint.lowering.walk import walk

_FUEL = 2_000
_MAX_WAYS = 8
_PROBABILITIES = frozenset({"sigmoid", "softmax"})
_SAFE = frozenset({"clamp", "clamp_", "clip", "clamp_min", "nan_to_num", "maximum", "max", "finfo"})
_KEEPING = frozenset("gather view reshape squeeze flatten contiguous float permute transpose".split())


class Criterion(NamedTuple):
    """A loss class: an object of it as `__init__` leaves it, its class and its `forward`."""

    instance: Instance
    cls: ir.Class
    forward: ir.Function


class Run(NamedTuple):
    """One way through `forward`: what it gives, and the world in which it ran."""

    value: Any
    world: World


def written(program: Program) -> Iterator[Criterion]:
    """The loss classes of a module that have a `forward` of their own."""
    names = _evaluator(program).definitions(program.module)
    for value in list(names.values()):
        if type(value) is not ClassValue or value.definition not in program.module.classes:
            continue
        name, forward = value.definition.name, value.methods.get("forward")
        named = "loss" in name.lower() or "criterion" in name.lower()
        if named and forward is not None and calls.inherits(value, "Module", "_Loss", "_WeightedLoss"):
            instance = models.build(_evaluator(program), value, [], {})
            if instance is not None:
                yield Criterion(instance, value.definition, forward)


def runs(program: Program, criterion: Criterion) -> list[Run]:
    """Every way through `forward`; empty where one of them is longer than a tiny world may be."""
    ways: list[dict[Any, bool]] = [{}]
    found: list[Run] = []
    for taken in ways:
        world = World(Settings(decisions=dict(taken), fuel=_FUEL, thorough=True))
        try:
            value = _forward(Evaluator(program, world), criterion)
        except (OutOfFuelError, RecursionError):
            return []
        found.append(Run(value, world))
        if len(ways) < _MAX_WAYS:
            ways += [{**taken, atom: not way} for atom, way in world.open_conditions.items() if atom not in taken]
    return found


def _forward(ev: Evaluator, criterion: Criterion) -> Any:
    cls = ev.definitions(ev.program.module)[criterion.cls.name]
    instance = models.build(ev, cls, [], {})
    if instance is None:
        raise OutOfFuelError
    ev.world.live = 1
    ev.world.enter_visit(0, "", None)
    parameters = criterion.forward.parameters[1:]
    inputs = [
        Tensor(parameter, 0) for parameter in parameters if parameter.default is None and "*" not in parameter.kind
    ]
    return calls.invoke(ev, Closure(criterion.forward, cls.scope, instance, cls), inputs, {}, None)


def detached(ways: list[Run]) -> Cut | None:
    """Where the result of `forward` leaves the graph, if it does on every way."""
    found: list[Cut] = []
    for way in ways:
        # a list stands for the tensor that was made of its losses
        for value in way.value if type(way.value) is list and way.value else [way.value]:
            where = graph.cuts(value) if type(value) in (Linear, Tensor) and value.state != GRAPH else None
            by_hand = [cut for cut in where or () if cut.kind in graph.BY_HAND or cut.kind == graph.REWRAPPED]
            if not by_hand or "another term" in getattr(value, "notes", ()):
                return None
            found.append(graph.first(by_hand))
    return found[0] if found else None


def _evaluator(program: Program) -> Evaluator:
    return Evaluator(program, World(Settings(fuel=_FUEL)))


# ---------------------------------------------------------------- what is written in it


class Text:
    """The expressions of a `forward`, and what its names are bound to."""

    def __init__(self, forward: ir.Function) -> None:
        self.parameters = {parameter.name for parameter in forward.parameters[1:]}
        self.expressions = [part for statement in statements(forward.body) for part in walk(statement)]
        self.bound: dict[str, list[ir.Expr]] = {}
        for statement in statements(forward.body):
            if isinstance(statement, ir.Assign):
                for bound in statement.targets:
                    if isinstance(bound, ir.Name):
                        self.bound.setdefault(bound.id, []).append(statement.value)

    def factors(self, node: ir.Expr) -> Iterator[ir.Expr]:
        """The factors of a product."""
        if isinstance(node, ir.Binary) and node.op == "*":
            yield from self.factors(node.left)
            yield from self.factors(node.right)
        elif isinstance(node, ir.Unary) and node.op in "+-":
            yield from self.factors(node.operand)
        else:
            yield node

    def products(self) -> list[list[ir.Expr]]:
        """The products of the text, each as its factors; a product inside another one is a part of it."""
        whole = [part for part in self.expressions if isinstance(part, ir.Binary) and part.op == "*"]
        inner = {id(part) for one in whole for part in (one.left, one.right)}
        return [list(self.factors(one)) for one in whole if id(one) not in inner]

    def meaning(self, node: ir.Expr) -> ir.Expr:
        """What a name is bound to, where that is one thing only."""
        for _ in range(4):
            made = self.bound.get(node.id, []) if isinstance(node, ir.Name) else []
            if len(made) != 1 or (isinstance(node, ir.Name) and node.id in self.parameters):
                return node
            node = made[0]
        return node

    def side(self, node: ir.Expr) -> tuple[str, bool]:
        """A name, and whether it is taken as `1 - name`; an empty name for anything else."""
        made = self.meaning(node)
        if isinstance(made, ir.Binary) and made.op == "-" and isinstance(made.left, ir.Const) and made.left.value == 1:
            return path_of(made.right), True
        return path_of(node), False

    def log_of(self, node: ir.Expr) -> ir.Expr | None:
        """What a logarithm is taken of."""
        node = self.meaning(node)
        if not isinstance(node, ir.Call) or roles.last(path_of(node.func)) != "log":
            return None
        if node.arguments:
            return node.arguments[0].value
        return node.func.value if isinstance(node.func, ir.Attr) else None

    def is_probability(self, node: ir.Expr) -> bool:
        """Whether a value is what a sigmoid or a softmax gives, with nothing that keeps it off 0."""
        node = self.meaning(node)
        if isinstance(node, ir.Binary) and node.op == "-" and isinstance(node.left, ir.Const) and node.left.value == 1:
            return self.is_probability(node.right)
        if isinstance(node, ir.Call):
            name = roles.last(path_of(node.func))
            if name in _KEEPING and isinstance(node.func, ir.Attr):
                inner = node.func.value
                if name == "gather" and node.arguments and path_of(inner) == "torch":
                    inner = node.arguments[0].value
                return self.is_probability(inner)
            return name in _PROBABILITIES
        return False


def bare_logs(text: Text) -> Iterator[ir.Expr]:
    """Logarithms of a probability that can be 0: of a sigmoid or softmax, or of `p` and of `1 - p` both."""
    taken = [(part, inner) for part in text.expressions if isinstance(part, ir.Call) and (inner := text.log_of(part))]
    sides = {text.side(inner) for _, inner in taken}
    for part, inner in taken:
        name, complement = text.side(inner)
        both = name in text.parameters and (name, not complement) in sides and not text.bound.get(name)
        if both or text.is_probability(inner):
            yield part


def crossed(text: Text) -> Iterator[ir.Expr]:
    """`y * log(1 - p)` beside `(1 - y) * log(p)`: each label is given the logarithm of the other one."""
    pairs: dict[tuple[str, bool, str, bool], ir.Expr] = {}
    for factors in text.products():
        for place, factor in enumerate(factors):
            inner = text.log_of(factor)
            if inner is None:
                continue
            probability, opposite = text.side(_without_epsilon(inner))
            for other in (*factors[:place], *factors[place + 1 :]):
                label, complement = text.side(other)
                if label in text.parameters and probability:
                    pairs[(label, complement, probability, opposite)] = factor
    for (label, complement, probability, opposite), node in pairs.items():
        if not complement and opposite and (label, True, probability, False) in pairs:
            yield node


def _without_epsilon(node: ir.Expr) -> ir.Expr:
    """`p + eps` and `p.clamp(…)` as `p`."""
    if isinstance(node, ir.Binary) and node.op == "+":
        return node.left
    if isinstance(node, ir.Call) and isinstance(node.func, ir.Attr) and node.func.name in _SAFE:
        return node.arguments[0].value if path_of(node.func.value) == "torch" and node.arguments else node.func.value
    return node


def reduced(text: Text, forward: ir.Function) -> Iterator[tuple[ir.Call, str]]:
    """Losses that are reduced to one number before something is done to each sample: `weighted` or `focal`."""
    for part in text.expressions:
        if not isinstance(part, ir.Call) or roles.last(path_of(part.func)) not in FUNCTIONAL:
            continue
        if any(a.keyword in ("reduction", "reduce", "size_average", None) and a.star for a in part.arguments):
            continue
        given = next((a.value for a in part.arguments if a.keyword == "reduction"), None)
        if any(a.keyword in ("reduce", "size_average") for a in part.arguments):
            continue
        if given is not None and not (isinstance(given, ir.Const) and given.value == "mean"):
            continue
        names = [name for name, made in text.bound.items() if made[0] is part]
        if any(_is_exponential(other, names) for other in text.expressions):
            yield part, "focal"
        elif _weighted(text, part, names):
            yield part, "weighted"


def weighted_twice(text: Text) -> Iterator[ir.Call]:
    """Losses that know the weights of the classes, and are multiplied by weights that the targets pick."""
    for part in text.expressions:
        if isinstance(part, ir.Call) and roles.last(path_of(part.func)) in FUNCTIONAL:
            given = {argument.keyword: argument.value for argument in part.arguments}
            known = [given[name] for name in ("pos_weight", "weight") if name in given]
            none = all(isinstance(value, ir.Const) and value.value is None for value in known)
            names = [name for name, made in text.bound.items() if made[0] is part]
            if not none and _weighted(text, part, names):
                yield part


def _is_exponential(node: ir.Expr, names: list[str]) -> bool:
    """`exp(-loss)`: the probability of the target, sample by sample."""
    if not isinstance(node, ir.Call) or roles.last(path_of(node.func)) != "exp" or not node.arguments:
        return False
    inner = node.arguments[0].value
    return isinstance(inner, ir.Unary) and inner.op == "-" and path_of(inner.operand) in names


def _weighted(text: Text, call: ir.Call, names: list[str]) -> bool:
    """Whether a loss is multiplied by something that has an entry for every sample, and the mean is taken after."""
    for factors in text.products():
        own = [f for f in factors if f is call or path_of(f) in names]
        others = [f for f in factors if f not in own]
        if own and any(_per_sample(text, other) for other in others):
            return True
    return False


def _per_sample(text: Text, node: ir.Expr) -> bool:
    """Whether a value is picked by the targets: `weights[target]`, `where(target == 1, a, b)`, `weights.gather(…)`."""
    node = text.meaning(node)
    if isinstance(node, ir.Index):
        return path_of(node.index) in text.parameters
    if not isinstance(node, ir.Call):
        return False
    name = roles.last(path_of(node.func))
    picked = name in ("where", "gather", "index_select", "take")
    return picked and any(path_of(part) in text.parameters for a in node.arguments for part in walk(a.value))


def ignored_reduction(criterion: Criterion) -> ir.Function | None:
    """The `__init__` that takes a `reduction` which nothing reads afterwards."""
    methods = [statement for statement in criterion.cls.body if isinstance(statement, ir.Function)]
    init = next((method for method in methods if method.name == "__init__"), None)
    if init is None or all(parameter.name != "reduction" for parameter in init.parameters):
        return None
    others = [method for method in methods if method is not init]
    if any("reduction" in method.facts.read for method in others):
        return None
    uses = [
        statement
        for statement in statements(init.body)
        if any(isinstance(part, ir.Name) and part.id == "reduction" for part in walk(statement))
    ]
    kept = all(isinstance(use, ir.Assign) and all(_keeps(bound, value) for bound, value in _pairs(use)) for use in uses)
    return init if kept else None


def _keeps(bound: ir.Expr, value: ir.Expr) -> bool:
    """Whether a part of an assignment puts `reduction` under its own name, or has nothing to do with it."""
    if path_of(value) == "reduction":
        return path_of(bound) == "self.reduction"
    return all(not isinstance(part, ir.Name) or part.id != "reduction" for part in walk(value))


def _pairs(statement: ir.Assign) -> list[tuple[ir.Expr, ir.Expr]]:
    """What an assignment binds, part by part: `self.a, self.b = a, b` is two of them."""
    bound, value = statement.targets[0], statement.value
    if isinstance(bound, ir.Collection) and isinstance(value, ir.Collection) and len(bound.items) == len(value.items):
        return list(zip(bound.items, value.items, strict=True))
    return [(bound, value)]
