"""Built-in functions, library functions and calls that leave the project, each by its contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.contracts.frameworks import SCALER_CALLABLES
from losslint.contracts.metrics import PER_SAMPLE, SET_SCORES
from losslint.contracts.torch import BENDING, CLIPPING, CRITERIA, FUNCTIONAL, NO_GRAD, NONLINEAR, TOKEN_AVERAGING
from losslint.interpreter import arithmetic, frameworks, methods, roles
from losslint.interpreter.values import (
    AMP,
    BATCH,
    COUNT,
    DETACHED,
    FLOAT,
    GRAPH,
    LITERAL,
    PROCESSES,
    Bag,
    Chunks,
    Iteration,
    Linear,
    Loader,
    ModuleValue,
    Number,
    RangeValue,
    Scope,
    Tensor,
    Text,
    Thing,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

Handler = Callable[["Evaluator", list[Any], dict[str, Any], ir.Call], Any]

_ENVIRONMENT = frozenset(
    "is_available is_initialized is_bf16_supported device_count current_device get_rank get_device_name is_built".split()
)
"""What torch says of the machine and the processes: the same during the whole run."""

_PROGRESS = frozenset(
    "tqdm track progress_bar prefetch cycle auto tqdm_notebook trange_wrapper ProgressBar metric_log_every".split()
)


def missing(ev: Evaluator) -> Any:
    """The marker that `Evaluator.lookup` gives for a name that nothing defines."""
    from losslint.interpreter.evaluate import _MISSING

    return _MISSING


# ---------------------------------------------------------------- builtins


def call_builtin(
    ev: Evaluator, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call, scope: Scope
) -> Any:
    """A call of a name that the file does not define: a builtin, or something unknown."""
    handler = _BUILTINS.get(name)
    if handler is not None:
        return handler(ev, args, kwargs, node)
    return call_unknown(ev, ev.guess(name), args, kwargs, node)


def _range(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return RangeValue(tuple(args), node)


def _enumerate(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    given = kwargs.get("start", args[1] if len(args) > 1 else 0)
    known = arithmetic.number(ev, given)
    start = int(known.value) if known is not None else 0
    inner = args[0] if args else Unknown("enumerate")
    return Iteration(inner, lambda place, item: (start + place, item))


def _zip(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if args and all(isinstance(arg, (list, tuple)) for arg in args):
        return [tuple(items) for items in zip(*args)]
    lead = next((place for place, arg in enumerate(args) if isinstance(arg, (Loader, Chunks))), 0)

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
    stop = numbers[-1] if len(numbers) < 3 else None
    if stop is None or stop.value <= start:
        return Unknown("counter", varies=True)
    return start + place % (int(stop.value) - start)


def _len(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return methods.length_of(ev, args[0], node) if args else 0


def _float(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if not args:
        return 0
    value = args[0]
    if isinstance(value, (Linear, Tensor)):
        return methods.as_float(ev, value)
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
        others = [value for value, number in zip(values, known) if number is None or value not in (0, 1)]
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
        total: Any = args[1] if len(args) > 1 else 0
        for item in value:
            total = arithmetic.binary(ev, "+", total, item, node, node, node)
        if type(total) is Linear and len(value) > 1:
            return _remembered(ev, total, node, "+=")
        return total
    return value if isinstance(value, (Linear, Tensor)) else Unknown("sum", arithmetic.varies(value), arithmetic.tainted(value))


def _remembered(ev: Evaluator, form: Linear, node: ir.Call, verb: str) -> Linear:
    if any(step.verb == "append" for step in form.steps):
        # the sum was collected batch after batch: that line is where it came about
        return form
    steps = ev.world.remember(form.steps, (node, verb, None, 0, ""), form.weights)
    return Linear(form.weights, steps, form.state, form.vector, form.notes)


def _next(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return ev.tensor(node, traits=frozenset({"batch"}))


def _print(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    ev.report(node, args, "print")
    return None


def _first(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return args[0] if args else []


def _listed(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if not args:
        return []
    return list(args[0]) if isinstance(args[0], (list, tuple, set, dict)) else args[0]


def _dict(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
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
    value, wanted = (args + [None, None])[:2]
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
        from losslint.interpreter.calls import apply

        return [apply(ev, args[0], [item], {}, node) for item in args[1]]
    return args[1] if len(args) > 1 else Unknown("map")


def _nothing(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return None


_BUILTINS: dict[str, Handler] = {
    "range": _range,
    "xrange": _range,
    "enumerate": _enumerate,
    "zip": _zip,
    "len": _len,
    "float": _float,
    "int": _int,
    "max": _extreme(max, "max"),
    "min": _extreme(min, "min"),
    "sum": _sum,
    "next": _next,
    "print": _print,
    "abs": _first,
    "round": _first,
    "list": _listed,
    "tuple": _listed,
    "sorted": _first,
    "reversed": _first,
    "iter": _iter,
    "map": _map,
    "filter": lambda ev, args, kwargs, node: args[1] if len(args) > 1 else Unknown("filter"),
    "dict": _dict,
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
    "bool": _first,
    "exit": _nothing,
    "breakpoint": _nothing,
}


# ---------------------------------------------------------------- library functions


def call_library(ev: Evaluator, path: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A call of something outside the project, by its dotted path."""
    name = roles.last(path)
    if name in CRITERIA and name[0].isupper():
        return _criterion(name, kwargs, node)
    if name in FUNCTIONAL and not path.startswith("math."):
        return functional(ev, name, args, kwargs, node)
    handler = _LIBRARY.get(name)
    if handler is not None:
        return handler(ev, args, kwargs, node)
    root = path.split(".", 1)[0]
    if name == "backward" and (root == "torch" or path == "autograd.backward"):
        return _autograd_backward(ev, args, kwargs, node)
    if root == "sklearn" and name in SET_SCORES and ev.world.live:
        per_sample = kwargs.get("average") in PER_SAMPLE
        return ev.tensor(node, traits=frozenset() if per_sample else frozenset({"nonlinear"}), state=FLOAT)
    if name in CLIPPING:
        ev.world.clip(node)
        return Unknown("norm", varies=True)
    if ".lr_scheduler" in path or (name[:1].isupper() and roles.is_scheduler(name)) or _gives_scheduler(name):
        return Thing("scheduler", name, {})
    if name[:1].isupper() and (".optim" in path or roles.is_optimizer(name)) and "Wrapper" not in name:
        return Thing("optimizer", ev.optimizer(name, node), {})
    if name in SCALER_CALLABLES:
        return Thing("scaler_callable", name, {})
    if name == "from_pretrained" and root == "transformers" and "For" in path:
        return Thing("model", "transformers model", {"loss": "mean"})
    if name in ("dumps", "pformat", "yaml_dump"):
        return Text(tuple(args))
    if name == "dump" and root in ("json", "pickle", "yaml"):
        ev.report(node, args[:1], path)
        return None
    if roles.is_meter(name):
        return methods.make_meter(name)
    if name in _PROGRESS or name.lower() == "tqdm":
        return args[0] if args else kwargs.get("iterable", Thing("progress", name, {}))
    if root == "torch" and name in _ENVIRONMENT:
        return Unknown(f"{path}()")
    if root in ("math", "numpy", "np", "torch", "statistics", "jnp"):
        return _numeric(ev, name, args, kwargs, node)
    if root in ("wandb", "logging", "mlflow", "logger", "loguru", "neptune") and (roles.is_report(name) or name == "log"):
        ev.report(node, [*args, *kwargs.values()], path)
        return None
    if root in ("time", "random", "datetime"):
        return Unknown(f"{path}()", varies=True)
    if root == "os" or root == "sys":
        return Unknown(f"{path}()")
    if name in ("builtins.range",):
        return RangeValue(tuple(args), node)
    return call_unknown(ev, Unknown(path), args, kwargs, node)


def _gives_scheduler(name: str) -> bool:
    return (name.startswith("get_") and name.endswith(("_schedule", "_scheduler", "_warmup"))) or name == "get_scheduler"


def _criterion(name: str, kwargs: dict[str, Any], node: ir.Call) -> Thing:
    traits = _token_traits(name, kwargs, node)
    return Thing("criterion", name, {"reduction": _reduction(kwargs), "traits": traits, "known": True})


def _token_traits(name: str, kwargs: dict[str, Any], node: ir.Call) -> frozenset[str]:
    """What makes the number of targets in a mean uneven.

    A negative `ignore_index` that is handed through a parameter is a default that nobody asked for; written down at the
    loss, or a padding token, it says that some targets do not count.
    """
    if name not in TOKEN_AVERAGING:
        return frozenset()
    traits = {"class weights"} if kwargs.get("weight") is not None else set()
    value = kwargs.get("ignore_index")
    passed = any(a.keyword == "ignore_index" and isinstance(a.value, (ir.Name, ir.Attr)) for a in node.arguments)
    if value is not None and not (passed and isinstance(value, (Number, int)) and arithmetic.plain(value) < 0):
        traits.add("ignore_index")
    return frozenset(traits)


def _reduction(kwargs: dict[str, Any]) -> str | None:
    """The reduction that keyword arguments ask for; None where it is not known."""
    if "**" in kwargs:
        return None
    value = kwargs.get("reduction", "mean")
    if kwargs.get("size_average") is False:
        return "sum"
    if kwargs.get("reduce") is False:
        return "none"
    if value == "batchmean":
        return "mean"
    return value if value in ("mean", "sum", "none") else None


def functional(ev: Evaluator, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Linear:
    """`F.cross_entropy(…)` and its kind."""
    traits = _token_traits(name, kwargs, node) | arithmetic.spanning(*args)
    made = ev.loss(node, _reduction(kwargs), 3, "", traits)
    return methods.without_graph(made, [*args, *kwargs.values()])


def _numeric(ev: Evaluator, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A function of torch, numpy, math or statistics."""
    value = args[0] if args else next(iter(kwargs.values()), None)
    if name in NO_GRAD:
        return Thing("context", name, {"grad": False})
    if name in ("mean", "average", "fmean", "nanmean", "sum", "nansum"):
        if isinstance(value, (list, tuple)):
            total = _sum(ev, [value], {}, node)
            if "mean" in name or name == "average":
                return arithmetic.binary(ev, "/", total, len(value), node, node, node) if value else Unknown("mean")
            return total
        receiver_method = "sum" if "sum" in name else "mean"
        return methods.call_method(ev, value, receiver_method, args[1:], kwargs, node, node, None)
    if name in ("ceil", "floor", "trunc", "rint", "round"):
        return _rounded(ev, name, value)
    if name in ("tensor", "as_tensor", "array", "asarray", "Tensor", "FloatTensor", "float32", "float64", "from_numpy"):
        if isinstance(value, (list, tuple)) and any(isinstance(item, Linear) for item in value):
            return Bagged.of(value)
        if isinstance(value, Linear):
            return value.alias(min(value.state, DETACHED)) if value.state else value
        return value if arithmetic.number(ev, value) is not None else ev.tensor(node) if ev.world.live else Unknown(name)
    if name in ("stack", "cat", "hstack", "concatenate", "vstack"):
        if isinstance(value, (list, tuple)) and any(isinstance(item, Linear) for item in value):
            return Bagged.of(value)
        tensors = [item for item in value if isinstance(item, Tensor)] if isinstance(value, (list, tuple)) else []
        spans = len({tensor.visit for tensor in tensors}) > 1
        traits = frozenset({arithmetic.SPANS}) if spans else arithmetic.spanning(*tensors)
        return ev.tensor(node, traits=traits) if ev.world.live or tensors else Unknown(name)
    if name in ("zeros", "zeros_like", "zeros_tensor") and not (args and isinstance(args[0], Tensor)):
        return 0
    if name in ("isnan", "isinf", "isfinite", "allclose", "equal", "any", "all"):
        return Unknown(f"{name}()", varies=True, likely=name == "isfinite")
    if name in ("add", "sub", "mul", "div", "true_divide", "multiply", "divide", "subtract") and len(args) > 1:
        op = {"a": "+", "s": "-", "m": "*", "d": "/", "t": "/"}[name[0]]
        return arithmetic.binary(ev, op, args[0], args[1], node, node, node)
    if name in NONLINEAR or name in ("power", "nonlinear") or (name in BENDING and isinstance(value, Linear)):
        if isinstance(value, (Linear, Tensor)):
            return arithmetic.nonlinear(ev, value, node, name)
        return Unknown(f"{name}({getattr(value, 'path', '…')})", arithmetic.varies(value), arithmetic.tainted(value))
    if name == "set_grad_enabled":
        return Thing("context", name, {"grad": value if isinstance(value, bool) else None})
    if name == "enable_grad":
        return Thing("context", name, {"grad": True})
    if name in ("grad", "vjp", "jvp") and any(isinstance(arg, (Linear, Tensor)) for arg in args):
        return ev.tensor(node)
    if name in ("numel", "shape", "size"):
        return methods.length_of(ev, value, node)
    if name in ("compile", "jit", "script") and value is not None:
        return value
    if name in ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"):
        return value
    if arithmetic.varies([*args, *kwargs.values()]) or ev.world.live:
        if arithmetic.tainted(args) and not isinstance(value, Tensor):
            return Unknown(name, varies=True, tainted=True)
        return ev.tensor(node)
    made = Unknown(f"{name}({', '.join(methods.shown(arg) for arg in args[:3])})")
    if name in ("randn", "rand", "zeros", "ones", "arange", "empty") and isinstance(value, Number):
        ev.rows[made.path] = int(value.value)
    return made


class Bagged:
    """Stacking losses gives a vector of them: its mean is their mean."""

    @staticmethod
    def of(values: Any) -> list[Any]:
        """The stacked values as a list."""
        return list(values)


def _rounded(ev: Evaluator, name: str, value: Any) -> Any:
    known = arithmetic.number(ev, value)
    if known is None:
        return value if isinstance(value, Unknown) else Unknown(name)
    return Number(math.ceil(known.value) if name == "ceil" else math.floor(known.value), known.kinds, None, known.of)


# ---------------------------------------------------------------- named library objects


def _loader(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    dataset = args[0] if args else kwargs.get("dataset")
    loader = Loader(ev.unique("DataLoader"))
    loader.named = False
    loader.drop_last = kwargs.get("drop_last") is True
    loader.batch_size = kwargs.get("batch_size", args[1] if len(args) > 1 else None)
    by_default = len(args) < 2 and not kwargs.keys() & {"batch_size", "batch_sampler", "**"}
    loader.single = by_default or loader.batch_size == 1
    loader.sampled = getattr(kwargs.get("sampler"), "kind", "") == "subset sampler"
    key = arithmetic.static_key(loader.batch_size)
    if key is not None:
        ev.world.settings.overrides.setdefault(key, Number(units.BATCH, BATCH, key))
    loader.count = _batch_count(dataset, loader)
    loader.source = str(getattr(dataset, "path", ""))
    if loader.source:
        loader.path = f"DataLoader({loader.source})"
    ev.world.loaders.setdefault(loader.path, loader)
    if isinstance(dataset, Unknown):
        ev.stored.setdefault((dataset.path, "__len__"), loader)
    return loader


def _dataset(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Loader:
    made = Loader(ev.unique("dataset"), dataset=True)
    made.named = False
    first = args[0] if args else None
    made.rows = ev.rows.get(first.path) if isinstance(first, Unknown) else None
    return made


def _batch_count(dataset: Any, loader: Loader) -> int | None:
    """How many batches a loader gives, where both sizes are literals."""
    size = loader.batch_size
    if not isinstance(dataset, Loader) or dataset.rows is None or not isinstance(size, Number) or size.kinds != LITERAL:
        return None
    return dataset.rows // int(size.value) if loader.drop_last else math.ceil(dataset.rows / size.value)


def _subset(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Loader:
    made = _dataset(ev, args, kwargs, node)
    made.part_of = str(getattr(args[0] if args else kwargs.get("dataset"), "path", ""))
    return made


def _random_split(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    lengths = args[1] if len(args) > 1 else kwargs.get("lengths")
    count = len(lengths) if isinstance(lengths, (list, tuple)) else 2
    return tuple(_subset(ev, args, kwargs, node) for _ in range(count))


def _subset_sampler(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Thing:
    return Thing("subset sampler", ev.unique("sampler"), {})


def _scaler(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return Thing("scaler", "scaler", {"enabled": kwargs.get("enabled", True)})


def _accelerator(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return frameworks.make_accelerator(ev, kwargs, node)


def _plugin(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return Thing("plugin", "plugin", {"num_steps": kwargs.get("num_steps", args[0] if args else None)})


def _deepspeed(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    engine = frameworks.make_engine(ev, node)
    optimizer = Thing("optimizer", ev.optimizer("optimizer", node), {})
    return (engine, optimizer, Unknown("loader"), Thing("scheduler", "scheduler", {"framework": True}))


def _context(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return Thing("context", "context", {})


def _scale_loss(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    form = arithmetic.linear(ev, args[0]) if args else None
    if form is None:
        return args[0] if args else Unknown("scaled loss")
    scaled = ev.world.scaled(form, units.SCALE, (node, "scale", None, AMP, ""))
    scaled.notes |= {methods.APEX}
    return scaled


def _world_size(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return Number(units.PROCESSES, PROCESSES, "world_size")


def _all_reduce(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """In place: the sum over processes, each of which holds a mean of its own."""
    value = args[0] if args else None
    if isinstance(value, Linear):
        averaged = any(roles.last(getattr(arg, "path", "")) == "AVG" for arg in [*args[1:], *kwargs.values()])
        if not averaged:
            scaled = ev.world.scaled(value, units.PROCESSES, (node, "*", None, PROCESSES, ""))
            value.storage.weights, value.storage.steps = scaled.weights, scaled.steps
    return None


def _counter(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    bag = Bag()
    bag.default = args[0] if args else Unknown("0")
    return bag


def _deque(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return list(args[0]) if args and isinstance(args[0], (list, tuple)) else []


def _islice(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    value = args[0] if args else Unknown("islice")
    if isinstance(value, Unknown) and roles.is_loader(value.path):
        value = Loader(value.path, assumed=True)
    if isinstance(value, Loader) and len(args) == 2:
        part = Loader(value.path, value.dataset, value.assumed)
        part.drop_last, part.batch_size, part.limit = value.drop_last, value.batch_size, args[1]
        part.single = value.single
        return part
    return value


def _partial(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if args and isinstance(args[0], ModuleValue) and roles.last(args[0].path) == "tqdm":
        return args[0]
    return args[0] if args and not kwargs and len(args) == 1 else Unknown("partial")


def _trange(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return RangeValue(tuple(args), node)


def _autograd_backward(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """`torch.autograd.backward(losses)`; with gradients of the user's own the weights are not known."""
    losses = args[0] if args else kwargs.get("tensors")
    for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
        form = arithmetic.linear(ev, loss)
        if form is None:
            ev.world.doubt("backward on a value that was not followed", node)
        elif len(args) > 1 or kwargs.get("grad_tensors") is not None:
            ev.world.doubt("backward with a gradient of its own", node)
        else:
            ev.world.backward(node, form)
    return None


_LIBRARY: dict[str, Handler] = {
    "DataLoader": _loader,
    "TensorDataset": _dataset,
    "Subset": _subset,
    "random_split": _random_split,
    "SubsetRandomSampler": _subset_sampler,
    "GradScaler": _scaler,
    "ShardedGradScaler": _scaler,
    "Accelerator": _accelerator,
    "GradientAccumulationPlugin": _plugin,
    "Fabric": lambda ev, args, kwargs, node: Thing("fabric", "fabric", {}),
    "initialize": lambda ev, args, kwargs, node: _deepspeed(ev, args, kwargs, node)
    if "model_parameters" in kwargs or "config" in kwargs or "config_params" in kwargs or "args" in kwargs
    else (args[0], args[1]) if len(args) > 1 else Unknown("initialize()"),
    "autocast": _context,
    "scale_loss": _scale_loss,
    "get_world_size": _world_size,
    "all_reduce": _all_reduce,
    "defaultdict": _counter,
    "OrderedDict": _dict,
    "deque": _deque,
    "partial": _partial,
    "trange": _trange,
    "deepcopy": _first,
    "chain": _first,
    "islice": _islice,
    "enumerate": _enumerate,
    "range": _range,
    "print": _print,
    "SimpleNamespace": lambda ev, args, kwargs, node: Thing("namespace", ev.unique("namespace"), dict(kwargs)),
    "Namespace": lambda ev, args, kwargs, node: Thing("namespace", ev.unique("namespace"), dict(kwargs)),
    "nullcontext": _context,
    "parse_args": lambda ev, args, kwargs, node: Unknown("args"),
    "checkpoint": lambda ev, args, kwargs, node: ev.tensor(node),
}


# ---------------------------------------------------------------- unknown functions


def call_unknown(ev: Evaluator, callee: Unknown, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A call of something that is not in sight: what its name and its arguments suggest, at most."""
    name = roles.last(callee.path)
    everything = [*args, *kwargs.values()]
    if roles.is_optimizer(name) and name[:1].isupper():
        return Thing("optimizer", ev.optimizer(name, node), {})
    if args and isinstance(args[0], (Linear, Tensor)) and "scaler" in name.lower() and len(args) > 1:
        return frameworks.scaler_callable(ev, args, kwargs, node)
    if roles.is_criterion(name) and not arithmetic.tainted(everything) and (ev.world.live or arithmetic.varies(everything)):
        return methods.without_graph(ev.loss(node, None, 2, "opaque"), everything)
    return methods.unknown_call(ev, callee.path, name, args, kwargs, node)


__all__ = ["COUNT", "GRAPH", "Chunks", "call_builtin", "call_library", "call_unknown", "missing"]
