"""Which branch is taken: known conditions are followed, unknown ones fork the run or are taken once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.interpreter import arithmetic, roles
from losslint.interpreter.program import BACKWARD, path_of
from losslint.interpreter.values import (
    BATCH,
    COUNT,
    DETACHED,
    LITERAL,
    ClassValue,
    Closure,
    Instance,
    Iteration,
    Key,
    Linear,
    Loader,
    ModuleValue,
    Number,
    Scope,
    Tensor,
    Text,
    Thing,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

_OBJECTS = (Thing, Instance, Closure, Loader, ModuleValue, ClassValue, Iteration, Text)
_FLIP_AT = 3
_BAD_NUMBERS = frozenset({"isnan", "isinf"})


def truth(value: Any) -> bool | None:
    """Whether a value counts as true; None where that is not known."""
    kind = type(value)
    if kind is bool:
        return bool(value)
    if value is None:
        return False
    if kind is int:
        return bool(value)
    if kind is Number:
        return bool(value.value)
    if isinstance(value, (str, list, tuple, dict, set)):
        return bool(value)
    if isinstance(value, _OBJECTS):
        return True
    return None


def negated(value: Any) -> Any:
    """`not value`."""
    known = truth(value)
    if known is not None:
        return not known
    if type(value) is Unknown:
        atom, positive = condition_of(value)
        return Unknown(f"not {value.path}", value.varies, value.tainted, (atom, not positive), not value.likely)
    return Unknown("not", varies=True, tainted=False)


def condition_of(value: Unknown) -> tuple[Key, bool]:
    """The atom of a condition, and whether it stands for it or for its opposite."""
    return value.condition if value.condition is not None else (("some", value.path), True)


def logic(ev: Evaluator, node: ir.Logic, scope: Scope) -> Any:
    """`and` / `or`; an unknown part is decided only where the known ones leave it open."""
    absorbing = node.op == "or"
    open_parts: list[Any] = []
    value: Any = None
    for part in node.values:
        value = ev.eval(part, scope)
        known = truth(value)
        if known is absorbing:
            return value
        if known is None:
            open_parts.append(value)
    if not open_parts:
        return value
    if len(open_parts) == 1:
        return open_parts[0]
    paths = f" {node.op} ".join(str(getattr(part, "path", "?")) for part in open_parts)
    return Combined(paths, node.op, open_parts)


class Combined(Unknown):
    """Several unknown conditions joined by `and` / `or`: each is decided on its own."""

    __slots__ = ("op", "parts")

    def __init__(self, path: str, op: str, parts: list[Any]) -> None:
        super().__init__(path, any(arithmetic.varies(part) for part in parts))
        self.op = op
        self.parts = parts


def compare(ev: Evaluator, node: ir.Compare, scope: Scope) -> Any:
    """A comparison, chained or not."""
    left = ev.eval(node.left, scope)
    result: Any = True
    for op, right_node in zip(node.ops, node.rights, strict=True):
        right = ev.eval(right_node, scope)
        outcome = _pair(ev, op, left, right, node, type(right_node) is ir.Const or type(node.left) is ir.Const)
        if outcome is False:
            return False
        if outcome is not True:
            result = outcome
        left = right
    return result


def _pair(ev: Evaluator, op: str, left: Any, right: Any, node: ir.Compare, constant: bool) -> Any:
    if op in ("is", "is not"):
        return _identity(op, left, right)
    if op in ("in", "not in"):
        return _membership(ev, op, left, right)
    first, second = arithmetic.number(ev, left), arithmetic.number(ev, right)
    if first is not None and second is not None:
        return _numbers(ev, op, left, right, first, second, node)
    if isinstance(left, str) and isinstance(right, str):
        return (left == right) is (op == "==") if op in ("==", "!=") else Unknown("order")
    if isinstance(left, bool) and isinstance(right, bool) and op in ("==", "!="):
        return (left == right) is (op == "==")
    if type(left) in (Tensor, Linear) or type(right) in (Tensor, Linear):
        if type(left) in (Tensor, Linear) and left.state and not arithmetic.tainted(left):
            # a tensor against a number marks what counts; against another tensor it is a result
            both = type(right) in (Tensor, Linear)
            made = ev.tensor(node, traits=frozenset({"comparison"} if both else {"mask"}), state=DETACHED)
            made.cut = ev.world.cut("comparison", node)
            return made
        return Unknown("comparison", varies=True)
    counter = first if first is not None else second
    if counter is not None and counter.kinds & COUNT and ev.world.live and not constant:
        # a counter against a number that is not known: it may become true on some step, or be the window
        other = right if first is not None else left
        key = arithmetic.static_key(other)
        if key is not None and op in ("==", ">=", "<=", ">", "<", "!="):
            ev.world.weak_candidates.setdefault(key, node)
        likely = (op in ("<", "<=") and first is not None) or (op in (">", ">=") and first is None) or op == "!="
        return Unknown(f"{_text(left)} {op} {_text(right)}", varies=True, likely=likely)
    return _unknown(op, left, right)


def _unknown(op: str, left: Any, right: Any) -> Unknown:
    positive = op != "!="
    name, constant = (left, right) if type(left) is Unknown else (right, left)
    varying = arithmetic.varies(left) or arithmetic.varies(right)
    shown = "==" if op == "!=" else op
    atom: Key
    if shown == "==" and type(constant) in (str, bool, int):
        atom = ("eq", str(getattr(name, "path", "?")), constant)
        if type(constant) is bool:
            atom, positive = ("some", str(getattr(name, "path", "?"))), positive is constant
    else:
        atom = ("compare", shown, _text(left), _text(right))
    return Unknown(f"{_text(left)} {op} {_text(right)}", varying, False, (atom, positive), op == "!=")


def _text(value: Any) -> str:
    if type(value) is Number:
        return str(value.value)
    return str(getattr(value, "path", value if isinstance(value, (str, int, bool, type(None))) else "…"))


def _identity(op: str, left: Any, right: Any) -> Any:
    positive = op == "is"
    if left is None or right is None:
        other = left if right is None else right
        if type(other) is Unknown:
            atom, sign = condition_of(other)
            # `x is None` is the opposite of `x`
            return Unknown(f"{other.path} {op} None", other.varies, False, (atom, sign is not positive), not positive)
        return (other is None) is positive
    if type(left) is type(right) and type(left) in (bool, int, str):
        # members of an enumeration are its values here
        return (left == right) is positive
    return Unknown(f"{_text(left)} {op} {_text(right)}", arithmetic.varies(left), False)


def _membership(ev: Evaluator, op: str, left: Any, right: Any) -> Any:
    positive = op == "in"
    if isinstance(right, (list, tuple, set)) and all(isinstance(item, str) for item in right):
        if isinstance(left, str):
            return (left in right) is positive
        if type(left) is Unknown and not left.varies:
            atom = ("in", left.path, tuple(sorted(right)))
            return Unknown(f"{left.path} {op} {right}", False, False, (atom, positive))
    if isinstance(right, dict) and isinstance(left, str):
        if left in right:
            return positive
        if not any(isinstance(key, tuple) for key in right):
            return not positive
    if isinstance(right, (list, tuple)) and arithmetic.number(ev, left) is not None and ev.world.live:
        return Unknown(f"{_text(left)} {op} …", varies=True)
    return Unknown(
        f"{_text(left)} {op} {_text(right)}",
        arithmetic.varies(left) or arithmetic.varies(right),
        False,
        (("in", _text(left), _text(right)), positive),
    )


def _numbers(ev: Evaluator, op: str, left: Any, right: Any, first: Number, second: Number, node: ir.Compare) -> Any:
    outcome = _compare_values(op, first, second)
    literal, counter = (second, first) if second.kinds == LITERAL else (first, second)
    if literal.kinds == LITERAL and counter.kinds & COUNT and not counter.kinds & BATCH:
        value = arithmetic.static_key(right if literal is second else left)
        if value is not None and literal.value > 1 and op in ("==", ">=", ">"):
            ev.world.weak_candidates.setdefault(value, node)
        reach = 2 * units.BATCHES
        if not 0 <= literal.value <= (1 if op in ("==", "!=") else reach) and literal.value not in (0, 1, -1):
            # beyond the tiny world: true on some step of the real run
            return Unknown(f"{op} {float(literal.value):g}", varies=True, likely=outcome)
    return outcome


def _compare_values(op: str, first: Number, second: Number) -> bool:
    left, right = first.value, second.value
    if op == "==":
        return left == right
    if op == "!=":
        return left != right
    if op == "<":
        return left < right
    if op == "<=":
        return left <= right
    return left > right if op == ">" else left >= right


# ---------------------------------------------------------------- deciding


def branch(ev: Evaluator, node: ir.If, scope: Scope) -> bool:
    """Whether the body of an `if` is taken."""
    test = ev.eval(node.test, scope)
    if len(node.body) == 1 and isinstance(node.body[0], ir.Raise) and not node.orelse:
        # what checks its settings: a run that trains came past it, however small the numbers of this world are
        return False
    known = truth(test)
    if known is not None:
        return known
    if path_of(node.test) == "TYPE_CHECKING":
        return False
    relevant = is_relevant(ev, node, scope)
    if not relevant and not ev.world.settings.thorough and _shares_out(node.body) is not _shares_out(node.orelse):
        return _shares_out(node.body)
    return decide(ev, test, node, node, relevant)


def _shares_out(block: ir.Block) -> bool:
    """Whether a block makes the sampler of a run in several processes: such a run is the one that is looked at."""
    return any(
        isinstance(statement, ir.Assign)
        and isinstance(statement.value, ir.Call)
        and roles.last(path_of(statement.value.func)) == "DistributedSampler"
        for statement in block
    )


def choose(ev: Evaluator, node: ir.Choice, test: Any, scope: Scope) -> Any:
    """`a if test else b` with an unknown test: forked only where a loss or a number is at stake."""
    body = ev.eval(node.body, scope)
    orelse = ev.eval(node.orelse, scope)
    shared = next((value for value in (body, orelse) if getattr(value, "kind", "") == "distributed sampler"), None)
    if shared is not None:
        return shared
    relevant = any(
        type(value) in (Linear, Number) or isinstance(value, Thing) or arithmetic.tainted(value)
        for value in (body, orelse)
    ) and not (type(body) is type(orelse) is Thing)
    taken = decide(ev, test, node, None, relevant)
    chosen, other = (body, orelse) if taken else (orelse, body)
    return chosen if relevant or chosen is not None else other


def is_relevant(ev: Evaluator, node: ir.If, scope: Scope) -> bool:
    """Whether a branch holds something that a law depends on."""
    static = ev.program.relevance.get(node)
    if static is None:
        facts = node.facts
        own = any(_own_names(node))
        static = ev.program.has_events(facts) or own or ev.program.freezes(facts)
        ev.program.relevance[node] = static
    if static:
        return True
    if ev.world.live and not node.facts.jumps.isdisjoint(("continue", "break", "return")):
        return True
    names = scope.names
    return any(type(names.get(name)) in (Linear, Number) for name in node.facts.assigned)


def _own_names(node: ir.If) -> list[str]:
    return [name for name in node.facts.assigned if roles.is_loss(name)]


def decide(ev: Evaluator, test: Any, node: ir.Node, statement: ir.If | None, relevant: bool) -> bool:
    """Takes an unknown condition: the same one is always taken the same way."""
    if isinstance(test, Combined):
        parts = [decide(ev, part, node, statement, relevant) for part in test.parts]
        return any(parts) if test.op == "or" else all(parts)
    if ev.world.settings.thorough:
        return _static(ev, test if type(test) is Unknown else Unknown("tensor"), node, statement, True)
    if type(test) is not Unknown:
        return _varying(ev, Unknown("tensor", varies=True), node, statement, relevant)
    if statement is not None and _asks_the_scaler(test, statement):
        # unscaling where it has not been done yet: what the run itself keeps account of
        return True
    if test.varies or (ev.world.live and test.tainted):
        return _varying(ev, test, node, statement, relevant)
    return _static(ev, test, node, statement, relevant)


def _varying(ev: Evaluator, test: Unknown, node: ir.Node, statement: ir.If | None, relevant: bool) -> bool:
    """A condition that may change from step to step: as on an ordinary step, and the other way once."""
    likely = test.likely
    if statement is not None:
        likely = _ordinary(ev, test, statement)
    if not relevant:
        return likely
    world = ev.world
    world.varying.setdefault(node, test.path)
    if world.settings.flip is node and world.current >= _FLIP_AT and world.flipped in (-1, world.current):
        world.flipped = world.current
        return not likely
    return likely


def _ordinary(ev: Evaluator, test: Unknown, statement: ir.If) -> bool:
    """What a varying condition is on an ordinary step: the side that trains."""
    body, orelse = _trains(ev, statement.body), _trains(ev, statement.orelse)
    if body is not orelse:
        return body
    finite = _says_finite(statement.test)
    if finite is not None:
        return finite
    if test.likely:
        return True
    first = statement.body[-1] if statement.body else None
    leaves = isinstance(first, (ir.Continue, ir.Break, ir.Raise, ir.Return))
    last = statement.orelse[-1] if statement.orelse else None
    return isinstance(last, (ir.Continue, ir.Break, ir.Raise, ir.Return)) and not leaves


def _says_finite(test: ir.Expr) -> bool | None:
    """What a test of nothing but whether numbers are finite is on an ordinary step, where they are; else None."""
    if isinstance(test, ir.Unary) and test.op == "not":
        inner = _says_finite(test.operand)
        return None if inner is None else not inner
    if isinstance(test, ir.Call):
        name = roles.last(path_of(test.func))
        if name in _BAD_NUMBERS or name == "isfinite":
            return name == "isfinite"
        if name in ("all", "any", "item") and isinstance(test.func, ir.Attr):
            return _says_finite(test.func.value)
        return _says_finite(test.arguments[0].value) if name in ("all", "any", "bool") and test.arguments else None
    return None


def _trains(ev: Evaluator, block: ir.Block) -> bool:
    return any(_calls_backward(ev, statement) for statement in block)


def _calls_backward(ev: Evaluator, statement: ir.Stmt) -> bool:
    facts = getattr(statement, "facts", None)
    if facts is not None:
        return not facts.calls.isdisjoint(ev.program.reach.backward)
    value = getattr(statement, "value", None)
    if isinstance(value, ir.Call):
        func = value.func
        name = func.name if isinstance(func, ir.Attr) else func.id if isinstance(func, ir.Name) else ""
        return name in BACKWARD or name in ev.program.reach.backward
    return False


def _static(ev: Evaluator, test: Unknown, node: ir.Node, statement: ir.If | None, relevant: bool) -> bool:
    atom, positive = condition_of(test)
    world = ev.world
    decided = world.settings.decisions.get(atom)
    if decided is None:
        decided = _excluded(world.settings.decisions, atom)
    if decided is not None:
        if relevant:
            world.condition_nodes.setdefault(atom, node)
        return decided is positive
    taken = _default(test, atom)
    if statement is not None:
        body = statement.body[-1] if statement.body else None
        if _answers(ev, statement):
            if not statement.orelse and statement is not ev.stack[-1].body[-1]:
                # the last of several alternatives, one of which is meant to hold
                return True
        elif isinstance(body, (ir.Raise, ir.Return, ir.Continue, ir.Break)):
            taken = not positive
    if relevant:
        world.settings.decisions[atom] = taken
        world.open_conditions[atom] = taken
        world.condition_nodes.setdefault(atom, node)
    return taken is positive


def _answers(ev: Evaluator, statement: ir.If) -> bool:
    """Whether a branch gives the function's value and nothing stands after it that would give another one: not to take
    it is to leave the function with nothing."""
    end = statement.body[-1] if statement.body else None
    if not ev.stack or not isinstance(end, ir.Return) or end.value is None or _is_none(end.value):
        return False
    last = ev.stack[-1].body[-1]
    while isinstance(last, ir.If) and last is not statement and last.orelse:
        last = last.orelse[-1]
    return last is statement


def _is_none(node: ir.Expr) -> bool:
    return isinstance(node, ir.Const) and node.value is None


def _asks_the_scaler(test: Unknown, statement: ir.If) -> bool:
    """Whether a branch does nothing but unscale, and its condition compares some state (`stage is not UNSCALED`)."""
    compares = any(f" {op} " in test.path for op in ("is", "is not", "==", "!=")) and "None" not in test.path
    return statement.facts.calls == {"unscale_"} and compares


def _default(test: Unknown, atom: Key) -> bool:
    """Debugging, resuming and distribution are off in the first world, everything else is on."""
    kind = atom[0]
    if kind == "some":
        return not roles.is_debug(str(atom[1]))
    if kind in ("eq", "in"):
        return True
    return not roles.is_debug(test.path)


def _excluded(decisions: dict[Key, bool], atom: Key) -> bool | None:
    """`mode == "a"` and `mode == "b"` cannot both hold."""
    if atom[0] == "eq":
        for other, taken in decisions.items():
            if other[0] == "eq" and other[1] == atom[1] and other[2] != atom[2] and taken:
                return False
    return None
