"""Python's own functions, each by its contract."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from losslint.interpreter import arithmetic, figures, lengths, roles, tensors, unknowns
from losslint.interpreter.values import (
    BATCH_TRAITS,
    FLOAT,
    Chunks,
    Iteration,
    Linear,
    Loader,
    ModuleValue,
    Number,
    RangeValue,
    Tensor,
    Text,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

Handler = Callable[["Evaluator", list[Any], dict[str, Any], ir.Call], Any]


def call_builtin(ev: Evaluator, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A call of a name that the file does not define: a builtin, or something unknown."""
    handler = _HANDLERS.get(name)
    if handler is not None:
        return handler(ev, args, kwargs, node)
    return unknowns.call_unknown(ev, ev.guess(name), args, kwargs, node)


def range_of(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """`range(…)`."""
    return RangeValue(tuple(args), node)


def enumerated(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """`enumerate(…)`."""
    given = kwargs.get("start", args[1] if len(args) > 1 else 0)
    known = arithmetic.number(ev, given)
    start = int(known.value) if known is not None else 0
    inner = args[0] if args else Unknown("enumerate")
    return Iteration(inner, lambda place, item: (start + place, item))


def _zip(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if args and all(isinstance(arg, (list, tuple)) for arg in args):
        return [tuple(items) for items in zip(*args, strict=False)]
    walked = [place for place, arg in enumerate(args) if isinstance(arg, (Loader, Chunks))]
    lead = next(iter(walked or [place for place, arg in enumerate(args) if not isinstance(arg, RangeValue)]), 0)

    def wrap(place: int, item: Any) -> tuple[Any, ...]:
        others = [Tensor(node, ev.world.visit()) if ev.world.live else Unknown("zip", varies=True) for _ in args]
        return tuple(item if at == lead else _counted(ev, arg, place, others[at]) for at, arg in enumerate(args))

    return Iteration(args[lead] if args else Unknown("zip"), wrap)


def _counted(ev: Evaluator, value: Any, place: int, other: Any) -> Any:
    """What a range beside a loader gives in the same place; `cycle(range(…))` starts over."""
    if not isinstance(value, RangeValue):
        return other
    numbers = [arithmetic.number(ev, argument) for argument in value.arguments]
    start = int(numbers[0].value) if len(numbers) > 1 and numbers[0] is not None else 0
    if value.arguments[-1] is None:
        return start + place
    stop = numbers[-1] if len(numbers) < 3 else None
    if stop is None or stop.value <= start:
        return Unknown("counter", varies=True)
    return start + place % (int(stop.value) - start)


def _len(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return lengths.length_of(ev, args[0], node) if args else 0


def _float(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if not args:
        return 0
    value = args[0]
    if isinstance(value, (Linear, Tensor)):
        return tensors.as_float(ev, value, "float", node)
    return Unknown(f"float({value})") if isinstance(value, str) else value


def _int(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if not args:
        return 0
    known = arithmetic.number(ev, args[0])
    if known is None or Fraction(known.value).denominator == 1:
        if isinstance(args[0], Unknown) and not args[0].path.startswith("int("):
            return Unknown(args[0].path, args[0].varies, args[0].tainted)
        return args[0]
    return Number(int(known.value), known.kinds, None, known.of)


def _extreme(pick: Callable[..., Any], name: str) -> Handler:
    def handler(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
        values = list(args[0]) if len(args) == 1 and isinstance(args[0], (list, tuple)) else args
        known = [arithmetic.number(ev, value) for value in values]
        exact = [(number.value, place) for place, number in enumerate(known) if number is not None]
        if exact and len(exact) == len(values):
            return values[pick(exact)[1]]
        # `max(1, x)` and the like guard against a bad value of x: they stand for x
        others = [value for value, number in zip(values, known, strict=True) if number is None or value not in (0, 1)]
        if len(others) == 1 and len(values) == 2 and not arithmetic.tainted(others[0]):
            return others[0]
        path = ", ".join(str(getattr(value, "path", "…")) for value in values)
        return Unknown(f"{name}({path})", arithmetic.varies(values), arithmetic.tainted(values))

    return handler


def _sum(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if not args:
        return 0
    value = args[0]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return arithmetic.total(ev, value, args[1] if len(args) > 1 else 0, node)
    if isinstance(value, (Linear, Tensor)):
        return value
    return Unknown("sum", arithmetic.varies(value), arithmetic.tainted(value))


def _next(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return ev.tensor(node, traits=BATCH_TRAITS)


def printed(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """`print(…)`: its arguments are reported."""
    figures.report(ev, node, args, "print")
    return None


def first(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A function that gives back its first argument, as far as losses go."""
    return args[0] if args else []


def _listed(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if not args:
        return []
    return list(args[0]) if isinstance(args[0], (list, tuple, set, dict)) else args[0]


def dictionary(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """`dict(…)`."""
    base = dict(args[0]) if args and isinstance(args[0], dict) else {}
    return {**base, **kwargs}


def _str(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return args[0] if args and isinstance(args[0], str) else Text(tuple(args))


def _getattr(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if len(args) > 1 and isinstance(args[1], str):
        return ev.attribute(args[0], args[1], node)
    return Unknown("getattr", varies=False)


def _setattr(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if len(args) == 3 and isinstance(args[1], str) and hasattr(args[0], "attributes"):
        args[0].attributes[args[1]] = args[2]
    return None


def _isinstance(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    value, wanted = [*args, None, None][:2]
    name = roles.last(wanted.path) if isinstance(wanted, (ModuleValue, Unknown)) else ""
    if isinstance(value, (Linear, Tensor)):
        if getattr(value, "state", 1) == FLOAT:
            return name == "float" or (isinstance(wanted, tuple) and any(_names(item, "float") for item in wanted))
        return name == "Tensor" if name else Unknown("isinstance", varies=False)
    if isinstance(value, (int, Number)) and name in ("int", "float"):
        return name == "int"
    if isinstance(value, dict):
        return name in ("dict", "Mapping", "OrderedDict")
    if isinstance(value, (list, tuple)) and name in ("list", "tuple"):
        return isinstance(value, list) is (name == "list")
    path = str(getattr(value, "path", "value"))
    return Unknown(f"isinstance({path}, {name})", varies=False)


def _names(value: Any, name: str) -> bool:
    return isinstance(value, (Unknown, ModuleValue)) and roles.last(value.path) == name


def _hasattr(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    path = str(getattr(args[0], "path", "value")) if args else ""
    return Unknown(f"hasattr({path}, {args[1] if len(args) > 1 else ''})")


def _iter(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if args and isinstance(args[0], Unknown):
        return Loader(args[0].path, assumed=True)
    return args[0] if args else Unknown("iter")


def _map(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if len(args) == 2 and isinstance(args[1], (list, tuple)):
        return [ev.apply(args[0], [item], {}, node) for item in args[1]]
    return args[1] if len(args) > 1 else Unknown("map")


def _nothing(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return None


_HANDLERS: dict[str, Handler] = {
    "range": range_of,
    "xrange": range_of,
    "enumerate": enumerated,
    "zip": _zip,
    "len": _len,
    "float": _float,
    "int": _int,
    "max": _extreme(max, "max"),
    "min": _extreme(min, "min"),
    "sum": _sum,
    "next": _next,
    "print": printed,
    "abs": first,
    "round": first,
    "list": _listed,
    "tuple": _listed,
    "sorted": first,
    "reversed": first,
    "iter": _iter,
    "map": _map,
    "filter": lambda ev, args, kwargs, node: args[1] if len(args) > 1 else Unknown("filter"),
    "dict": dictionary,
    "str": _str,
    "repr": _str,
    "getattr": _getattr,
    "setattr": _setattr,
    "isinstance": _isinstance,
    "hasattr": _hasattr,
    "set": lambda ev, args, kwargs, node: [],
    "type": lambda ev, args, kwargs, node: Unknown("type"),
    "id": lambda ev, args, kwargs, node: Unknown("id"),
    "input": lambda ev, args, kwargs, node: Unknown("input"),
    "open": lambda ev, args, kwargs, node: Unknown("file"),
    "super": lambda ev, args, kwargs, node: Unknown("super"),
    "bool": first,
    "exit": _nothing,
    "breakpoint": _nothing,
}
