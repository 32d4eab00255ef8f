"""Arithmetic on numbers, unknown factors and forms. Unknown absorbs; a factor that is not explained becomes a prime."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.contracts.torch import CURVED
from losslint.interpreter import graph
from losslint.interpreter.values import (
    AMP,
    BATCH,
    COUNT,
    DETACHED,
    FLOAT,
    GRAPH,
    LITERAL,
    TOKENS,
    WINDOW,
    Atom,
    Cut,
    Exact,
    Key,
    Linear,
    Note,
    Number,
    Tensor,
    Text,
    Thing,
    Unknown,
)
from losslint.interpreter.world import Mutation, Retained, exact
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

RETAINED_AT = units.LOG + 1
"""Batches whose graphs an accumulator holds: more than it holds where it is emptied after each window."""
SPANS = "several batches"
LONGEST_LIST = 200
_HUGE_BITS = 400


# ---------------------------------------------------------------- what a value is


def tainted(value: Any) -> bool:
    """Whether a loss went into a value."""
    kind = type(value)
    if kind is Linear:
        return True
    if kind is Unknown:
        return bool(value.tainted)
    if kind is Tensor:
        return bool(value.evidence)
    if kind in (list, tuple):
        return any(tainted(item) for item in value)
    if isinstance(value, dict):
        return any(tainted(item) for item in value.values())
    return kind is Text and any(tainted(item) for item in value.parts)


def varies(value: Any) -> bool:
    """Whether a value may change from step to step."""
    kind = type(value)
    if kind in (Tensor, Linear):
        return True
    if kind is Unknown:
        return bool(value.varies)
    return kind in (list, tuple) and any(varies(item) for item in value)


def number(ev: Evaluator, value: Any) -> Number | None:
    """A value as a number, the window put in where it stands for the window; None where it is none."""
    kind = type(value)
    if kind is int or kind is Fraction:
        return Number(value, COUNT)
    if kind is Number:
        if value.key is not None:
            return ev.world.settings.overrides.get(value.key) or value
        return value  # type: ignore[no-any-return]
    if kind is Unknown and not value.varies and not value.tainted:
        return ev.world.settings.overrides.get(value.path)
    if kind is bool:
        return Number(int(value), COUNT)
    return None


def plain(value: Number | int) -> Exact:
    """A number as branches see it."""
    return value.value if isinstance(value, Number) else value


def static_key(value: Any) -> Key | None:
    """What names a number that does not change during the run."""
    kind = type(value)
    if kind is Number:
        return value.key  # type: ignore[no-any-return]
    if kind is Unknown and not value.varies and not value.tainted:
        return value.path  # type: ignore[no-any-return]
    return None


def linear(ev: Evaluator, value: Any) -> Linear | None:
    """A value as a form: a tensor that is not followed is one loss (or figure) of its batch."""
    kind = type(value)
    if kind is Linear:
        return value  # type: ignore[no-any-return]
    if kind is Tensor:
        world = ev.world
        assumption = "" if value.reduction else "opaque"
        site = world.site(value.node, None, value.reduction, value.evidence, assumption)
        if value.traits:
            site.traits |= value.traits
        weight: Exact = 1
        if value.reduction == "sum" and value.visit >= 0:
            weight = world.visits[value.visit].size
        weights: dict[Atom, Exact] = {(site, value.visit): weight}
        steps = world.remember((), (value.node, "loss", None, 0, ""), weights)
        notes = frozenset({assumption} if assumption else ()) | graph.cuts(value)
        return Linear(weights, steps, value.state, value.reduction == "none", notes)
    return None


def is_loss(form: Linear) -> bool:
    """Whether any part of a form is known or named to be a loss."""
    return any(site.evidence for site, _ in form.weights)


def scalar(ev: Evaluator, value: Any) -> Number | None:
    """A value as a factor: a number, or the prime that stands for a factor which is not explained."""
    known = number(ev, value)
    key = static_key(value)
    if key is not None:
        ev.world.used.add(key)
    if known is not None:
        if known.kinds == LITERAL and known.value != 1:
            return Number(known.value, LITERAL, known.key, coded=literal_code(ev, known.value))
        return known
    kind = type(value)
    if kind is Unknown and not value.tainted:
        return Number(1, TOKENS if value.varies else 0, value.path, coded=ev.world.factor(value.path, value.path))
    if kind is Tensor or kind is Linear:
        form = linear(ev, value)
        assert form is not None
        if is_loss(form):
            return None
        total: Exact = 0
        for (site, _), weight in form.weights.items():
            total += weight * ev.world.factor(("site", id(site.node)), "tokens")
        if total == 0:
            return None
        return Number(1, TOKENS, None, coded=exact(total))
    return None


def literal_code(ev: Evaluator, value: Exact) -> Exact:
    """What a literal contributes to a weight: its own prime, so that it cancels only against itself."""
    sign = -1 if value < 0 else 1
    return sign * ev.world.factor(("literal", abs(value)), f"{float(value):g}")


# ---------------------------------------------------------------- binary operators


def binary(
    ev: Evaluator, op: str, left: Any, right: Any, node: ir.Node, left_node: ir.Expr, right_node: ir.Expr
) -> Any:
    """`left op right`."""
    kind_left, kind_right = type(left), type(right)
    if kind_left is Linear or kind_right is Linear or kind_left is Tensor or kind_right is Tensor:
        return _with_tensor(ev, op, left, right, node, left_node, right_node)
    if kind_left is int and kind_right is int:
        return _exact_arithmetic(op, left, right)
    first, second = number(ev, left), number(ev, right)
    counted = op == "//" and first is not None and first.kinds == COUNT and ev.world.live
    if first is not None and (op == "%" or (counted and static_key(right) is not None)):
        return _cycle(ev, op, first, right, second, node)
    if first is not None and second is not None:
        return _numbers(ev, op, first, second)
    if kind_left is str or kind_right is str or kind_left is Text or kind_right is Text:
        parts = right if kind_right is tuple else (right,)
        return Text((left, *parts))
    if kind_left is list and op == "+":
        return (left + list(right))[:LONGEST_LIST] if isinstance(right, (list, tuple)) else left
    if kind_left is tuple and kind_right is tuple and op == "+":
        return (left + right)[:LONGEST_LIST]
    if kind_left is list and op == "*":
        return list(left)
    return _unknown(ev, op, left, right)


def _unknown(ev: Evaluator, op: str, left: Any, right: Any) -> Unknown:
    path = f"({_path(ev, left)} {op} {_path(ev, right)})"
    made = Unknown(path, varies(left) or varies(right), tainted(left) or tainted(right))
    made.kinds = kinds_of(ev, left) | kinds_of(ev, right)
    return made


def kinds_of(ev: Evaluator, value: Any) -> int:
    """What a number counts, or the numbers that went into an unknown value."""
    known = number(ev, value)
    return known.kinds if known is not None else getattr(value, "kinds", 0)


def _path(ev: Evaluator, value: Any) -> str:
    known = number(ev, value)
    if known is not None:
        # a value named by what it is made of must not change its name with the window
        return str(known.key) if known.key is not None else f"{known.kinds}:{known.value}"
    return str(getattr(value, "path", type(value).__name__))


def _exact_arithmetic(op: str, left: int, right: int) -> Any:
    if left.bit_length() + right.bit_length() > _HUGE_BITS:
        return Unknown("a huge number")
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    if op in ("/", "//", "%"):
        if right == 0:
            return Unknown("division by zero")
        if op == "/":
            return exact(Fraction(left, right))
        return left // right if op == "//" else left % right
    if op == "**" and 0 <= right < 20 and abs(left) < 1000:
        return left**right
    return Unknown(f"({left} {op} {right})")


def _numbers(ev: Evaluator, op: str, left: Number, right: Number) -> Any:
    kinds = left.kinds | right.kinds
    of = left.of or right.of
    if Fraction(left.coded).numerator.bit_length() + Fraction(right.coded).numerator.bit_length() > _HUGE_BITS:
        return Unknown("a huge number")
    if op in ("+", "-"):
        sign = 1 if op == "+" else -1
        value = exact(left.value + sign * right.value)
        # a count plus or minus one is still followed; literals are taken at face value in sums
        return Number(value, kinds & ~LITERAL | COUNT if kinds & ~LITERAL else kinds, None, of)
    if op == "*":
        if right.value == 1 or left.value == 1:
            return left if right.value == 1 else right
        return Number(
            exact(left.value * right.value), kinds, None, of, exact(_coded(ev, left, kinds) * _coded(ev, right, kinds))
        )
    if op in ("/", "//", "%") and right.value == 0:
        return Unknown("division by zero")
    if op == "/":
        coded = _coded(ev, right, kinds)
        if right.value == 1 and right.kinds in (LITERAL, COUNT, 0):
            return left
        if coded == 0:
            return Unknown("division by zero")
        key: Key | None = None
        return Number(
            exact(Fraction(left.value) / right.value), kinds, key, of, exact(Fraction(_coded(ev, left, kinds)) / coded)
        )
    if op == "//":
        if left.kinds == LITERAL and right.kinds == LITERAL:
            # both are constants of the run: the quotient is one too, and may be the window
            return Number(left.value // right.value, LITERAL, ("//", left.key, right.key), of)
        return Number(left.value // right.value, kinds & ~LITERAL, None, of)
    if op == "**" and 0 <= right.value < 20 and Fraction(right.value).denominator == 1 and -1000 < left.value < 1000:
        return Number(exact(Fraction(left.value) ** int(right.value)), kinds, None, of)
    return Unknown(f"({left.value} {op} {right.value})")


def _coded(ev: Evaluator, value: Number, kinds: int) -> Exact:
    """A literal beside a meaningful number is a factor that the loop does not explain."""
    if value.kinds == LITERAL and kinds != LITERAL and value.value not in (0, 1, -1):
        return literal_code(ev, value.value)
    return value.coded


def _cycle(ev: Evaluator, op: str, left: Number, right: Any, known: Number | None, node: ir.Node) -> Any:
    """A count modulo a number, or how often the number goes into it: what gates are made of."""
    key = static_key(right)
    if key is not None and left.kinds != LITERAL and (known is None or known.kinds == LITERAL):
        known = ev.log_window(key, node)
    if known is None or known.value == 0:
        return Unknown("remainder", varies=bool(ev.world.live))
    if key is not None:
        ev.world.candidates.setdefault(key, node)
    return left.value % known.value if op == "%" else left.value // known.value


# ---------------------------------------------------------------- forms


def _with_tensor(
    ev: Evaluator, op: str, left: Any, right: Any, node: ir.Node, left_node: ir.Expr, right_node: ir.Expr
) -> Any:
    if op in ("+", "-"):
        return _sum(ev, op, left, right, node)
    if op == "*":
        return _product(ev, left, right, node, left_node, right_node)
    if op == "/":
        return _quotient(ev, left, right, node, right_node)
    if op in ("%", "//", "@", "&", "|", "^", "<<", ">>"):
        traits = frozenset({"mask"}) if op in ("&", "|", "^") else spanning(left, right)
        return ev.tensor(node, traits=traits)
    exponent = number(ev, right)
    if op == "**" and exponent is not None and exponent.value == 1:
        return left
    root = exponent is not None and exponent.value == Fraction(1, 2)
    return nonlinear(ev, left if type(left) in (Linear, Tensor) else right, node, "sqrt" if root else "")


def spanning(*values: Any) -> frozenset[str]:
    """Whether a value is made of several batches (a contrastive loss over cached features is)."""
    for value in values:
        if type(value) is Tensor and SPANS in value.traits:
            return frozenset({SPANS})
    return frozenset()


def nonlinear(ev: Evaluator, value: Any, node: ir.Node, name: str = "") -> Any:
    """A nonlinear function of a value: another figure of the batch; of a loss, one whose mean means nothing."""
    form = value if type(value) is Linear else None
    lossy = (form is not None and is_loss(form)) or (type(value) is Tensor and value.evidence)
    if not lossy:
        return graph.derived(ev.tensor(node), value)
    visits = {visit for _, visit in form.weights} if form is not None else {value.visit}
    if len(visits) > 1:
        # a nonlinear function of the pass's mean (a perplexity of the mean loss) is what should be done
        return Unknown("nonlinear", varies=True, tainted=True)
    traits = frozenset({"nonlinear"}) if name in CURVED else frozenset({"function of a loss"})
    return Tensor(node, value.visit if form is None else next(iter(visits)), value.state, traits=traits)


def _sum(ev: Evaluator, op: str, left: Any, right: Any, node: ir.Node) -> Any:
    sign = 1 if op == "+" else -1
    if type(left) is Tensor and type(right) is Tensor and not (left.evidence or right.evidence):
        if left.reduction and right.reduction:
            made = ev.tensor(node, reduction=left.reduction, state=max(left.state, right.state))
            return graph.derived(made, left, right)
        if left.visit == right.visit or not ev.world.live:
            return graph.derived(ev.tensor(node, state=max(left.state, right.state)), left, right)
    first, second = linear(ev, left), linear(ev, right)
    if first is not None and second is not None:
        weights = dict(first.weights)
        for atom, weight in second.weights.items():
            weights[atom] = weights.get(atom, 0) + sign * weight
        steps = merged(first.steps, second.steps)
        if sign > 0 and (first.state == GRAPH) is not (second.state == GRAPH):
            ev.world.add_dead(node, *((first, second) if first.state == GRAPH else (second, first)))
        state = (
            max(first.state, second.state) if GRAPH in (first.state, second.state) else min(first.state, second.state)
        )
        state = ev.world.state_of_result(state)
        return Linear(weights, steps, state, first.vector or second.vector, first.notes | second.notes)
    form = first if first is not None else second
    assert form is not None
    other = right if first is not None else left
    if sign < 0 and first is None:
        form = ev.world.scaled(form, -1, (node, "-", None, 0, ""))
    if type(other) is Unknown and other.tainted:
        return Unknown("sum", varies=True, tainted=True)
    if number(ev, other) is None and not isinstance(other, (Unknown, type(None))):
        return Unknown("sum", varies=True, tainted=True)
    # a number, or another term of the loss: the weights of what is followed stay
    notes = form.notes
    if number(ev, other) is None and other is not None:
        notes = _joined(ev, form) | {"another term"}
    return Linear(form.weights, form.steps, ev.world.state_of_result(form.state), form.vector, notes)


def _joined(ev: Evaluator, form: Linear) -> frozenset[Note]:
    """What is still known of a form that meets a value out of sight: that value may well be in the graph, so that where
    the form left it says nothing about the result."""
    return form.notes if ev.world.no_grad else frozenset(note for note in form.notes if type(note) is not Cut)


def merged(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
    """Two provenances in one, oldest first, no line twice."""
    if not second:
        return first
    known = {step.node for step in first}
    fresh = tuple(step for step in second if step.node not in known)
    if not fresh:
        # the same lines again, one batch later: keep the younger of each
        return first
    return (*first, *fresh)[:24]


def _product(ev: Evaluator, left: Any, right: Any, node: ir.Node, left_node: ir.Expr, right_node: ir.Expr) -> Any:
    first, second = linear(ev, left), linear(ev, right)
    if first is not None and second is not None:
        lossy = (is_loss(first), is_loss(second))
        if lossy == (False, False) or lossy == (True, True):
            if lossy == (False, False):
                return graph.derived(ev.tensor(node, traits=spanning(left, right)), left, right)
            return nonlinear(ev, left, node)
        form, other, operand = (first, right, right_node) if lossy[0] else (second, left, left_node)
        if form.vector and type(other) is Tensor:
            notes = form.notes | ({"masked"} if "mask" in other.traits else {"weighted"})
            return Linear(form.weights, form.steps, form.state, True, notes)
        return _times(ev, form, scalar(ev, other), node, operand)
    if first is not None:
        form, other, operand = first, right, right_node
    else:
        assert second is not None
        form, other, operand = second, left, left_node
    # the weight of a term is a number, whatever it is called; what a detached tensor is multiplied with may be learnt
    if type(other) is Unknown and number(ev, other) is None and (form.state == DETACHED or "(" in other.path):
        form = Linear(form.weights, form.steps, form.state, form.vector, _joined(ev, form))
    return _times(ev, form, scalar(ev, other), node, operand)


def _times(ev: Evaluator, form: Linear, factor: Number | None, node: ir.Node, operand: ir.Node) -> Any:
    if factor is None:
        return Unknown("product", varies=True, tainted=True)
    if factor.coded == 1 and not factor.kinds & (WINDOW | BATCH):
        return form
    ev.world.note_scaling(node, form, factor.kinds, False)
    result = ev.world.scaled(form, factor.coded, (node, "*", operand, factor.kinds, factor.of))
    return _with_notes(result, factor, "*")


def _quotient(ev: Evaluator, left: Any, right: Any, node: ir.Node, right_node: ir.Expr) -> Any:
    form = linear(ev, left)
    divisor = linear(ev, right)
    if form is None:
        return nonlinear(ev, right, node) if divisor is not None else Unknown("quotient")
    if divisor is not None and (is_loss(divisor) or not is_loss(form)):
        if is_loss(form) and set(form.weights) == set(divisor.weights):
            return Unknown("ratio", varies=True)
        return nonlinear(ev, left, node) if is_loss(form) else ev.tensor(node)
    factor = scalar(ev, right)
    if factor is None or factor.coded == 0:
        return Unknown("quotient", varies=True, tainted=tainted(left))
    if factor.coded == 1 and not factor.kinds & (WINDOW | BATCH):
        return form
    ev.world.note_scaling(node, form, factor.kinds, True)
    if "masked" in form.notes and factor.kinds & TOKENS:
        for site, _ in form.weights:
            site.traits |= {"masked quotient"}
    result = ev.world.scaled(form, exact(1 / Fraction(factor.coded)), (node, "/", right_node, factor.kinds, factor.of))
    return _with_notes(result, factor, "/")


def _with_notes(form: Linear, factor: Number, verb: str) -> Linear:
    if type(factor.key) is str and not factor.kinds & (WINDOW | BATCH | AMP | LITERAL):
        form.notes = form.notes | {"unknown divisor" if verb == "/" else "unknown factor"}
    elif factor.kinds & TOKENS:
        form.notes = form.notes | {"counted divisor" if verb == "/" else "counted factor"}
    return form


def negated(ev: Evaluator, value: Any, node: ir.Node) -> Any:
    """`-value`."""
    known = number(ev, value)
    if known is not None:
        return Number(-known.value, known.kinds, None, known.of) if known.kinds & ~COUNT else exact(-known.value)
    if type(value) is Linear:
        return ev.world.scaled(value, -1, (node, "-", None, 0, ""))
    if type(value) is Tensor:
        return Tensor(node, value.visit, value.state, value.reduction, value.evidence, value.traits)
    return value


# ---------------------------------------------------------------- in place


def augmented(ev: Evaluator, node: ir.Augment, old: Any, value: Any) -> Any:
    """`target op= value`: on a tensor it changes the memory that every alias shares."""
    if type(old) is Unknown and not old.tainted and node.op in ("+", "-") and type(value) in (Linear, Tensor):
        # an accumulator whose start is not in sight: what it has gained is what counts
        old = 0
    if node.op == "-" and type(value) is int and ev.world.live:
        key, known = static_key(old), number(ev, old)
        if key is not None and (known is None or known.kinds == LITERAL):
            # a countdown from a number of the run: what is counted may be the window
            old = ev.log_window(key, node)
    if isinstance(old, Thing) and old.kind == "gradient":
        return rescaled_gradient(ev, old, node.op, value, node)
    result = binary(ev, node.op, old, value, node, node.target, node.value)
    if node.op == "+" and type(result) is Linear:
        return accumulated(ev, node, result, node.value, path_text(node.target))
    if type(old) is Linear and old.state != FLOAT and type(result) is Linear and node.op in ("/", "*"):
        return in_place(ev, node, old, result, node.op)
    return result


def rescaled_gradient(ev: Evaluator, gradient: Thing, op: str, value: Any, node: ir.Node) -> Thing:
    """`p.grad /= n`: what the gradients hold is scaled by hand."""
    factor = scalar(ev, value) if not varies(value) else None
    if op not in ("*", "/") or factor is None or factor.coded == 0:
        ev.world.doubt("gradients are written by hand", node)
    else:
        ev.world.scale_gradients(node, factor.coded if op == "*" else 1 / Fraction(factor.coded))
    return gradient


def accumulated(ev: Evaluator, node: ir.Node, result: Linear, operand: ir.Expr | None, name: str) -> Linear:
    """A sum that grew: its provenance says so, and graphs that it keeps alive are remembered."""
    visits = {visit for _, visit in result.weights}
    if result.state == GRAPH and len(visits) < 2:
        # the terms of one batch's loss
        return result
    ev.world.sums.add(name)
    result = Linear(
        result.weights,
        ev.world.remember(result.steps, (node, "+=", operand, 0, name), result.weights),
        result.state,
        result.vector,
        result.notes,
    )
    if result.state == GRAPH and len(visits) >= RETAINED_AT:
        ev.world.retained.append(Retained(ev.world.entry or node, frozenset(result.weights), name, result.steps))
    return result


def collected(ev: Evaluator, node: ir.Node, value: Linear, name: str) -> Linear:
    """A loss that is kept in a list. Batch after batch, the list is a sum that is added up later; a loss that is still
    in the graph keeps its memory, which it shares."""
    if value.state == GRAPH:
        return value.alias(GRAPH)
    if not ev.world.live:
        return value
    ev.world.sums.add(name)
    steps = ev.world.remember(value.steps, (node, "append", None, 0, name), value.weights)
    return Linear(value.weights, steps, value.state, value.vector, value.notes)


def in_place(ev: Evaluator, node: ir.Node, old: Linear, result: Linear, verb: str) -> Linear:
    """In-place arithmetic: the storage changes, and with it every alias."""
    if old.state == DETACHED and old.storage.in_graph:
        ev.world.mutations.append(Mutation(node, id(old.storage), verb))
    old.storage.weights = result.weights
    old.storage.steps = result.steps
    old.notes = result.notes
    return old


def path_text(node: ir.Expr) -> str:
    """A short name for a target."""
    if isinstance(node, ir.Name):
        return node.id
    if isinstance(node, ir.Attr):
        return f"{path_text(node.value)}.{node.name}"
    if isinstance(node, ir.Index):
        return f"{path_text(node.value)}[…]"
    if isinstance(node, ir.Call):
        return f"{path_text(node.func)}({'…' if node.arguments else ''})"
    return "…"


def total(ev: Evaluator, items: list[Any] | tuple[Any, ...], start: Any, node: ir.Expr) -> Any:
    """`sum(items, start)`: of losses, a sum whose provenance says where they were added up."""
    result = start
    for item in items:
        result = binary(ev, "+", result, item, node, node, node)
    if type(result) is not Linear or len(items) < 2 or any(step.verb == "append" for step in result.steps):
        # a sum that was collected batch after batch came about on that line
        return result
    steps = ev.world.remember(result.steps, (node, "+=", None, 0, ""), result.weights)
    return Linear(result.weights, steps, result.state, result.vector, result.notes)
