"""Functions and classes of libraries, each by its contract."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.contracts.frameworks import SCALER_CALLABLES
from losslint.contracts.metrics import PER_SAMPLE, SET_SCORES
from losslint.contracts.torch import (
    BENDING,
    CLIPPING,
    CRITERIA,
    FACTORIES,
    FUNCTIONAL,
    NO_GRAD,
    NONLINEAR,
    TOKEN_AVERAGING,
)
from losslint.interpreter import (
    arithmetic,
    builtin,
    figures,
    frameworks,
    graph,
    lengths,
    methods,
    models,
    opaque,
    outputs,
    roles,
    taught,
    tensors,
    things,
    unknowns,
)
from losslint.interpreter.values import (
    AMP,
    BATCH,
    CONSTANT,
    FLOAT,
    LITERAL,
    MISSING,
    PROCESSES,
    Bag,
    Linear,
    Loader,
    ModuleValue,
    Number,
    RangeValue,
    Tensor,
    Text,
    Thing,
    Unknown,
)
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator

_ENVIRONMENT = frozenset(
    (
        "is_available is_initialized is_bf16_supported is_built device_count current_device get_device_name get_rank"
    ).split()
)
"""What torch says of the machine and the processes: the same during the whole run."""


_NOT_LAYERS = frozenset(
    "Parameter Buffer UninitializedParameter DataParallel DistributedDataParallel FullyShardedDataParallel ModuleList"
    " ModuleDict ParameterList ParameterDict".split()
)
"""Classes in `torch.nn` that are no layer: called, they give nothing, or hand on the model that they were given."""


_PROGRESS = frozenset(
    "tqdm track progress_bar prefetch cycle auto tqdm_notebook trange_wrapper ProgressBar metric_log_every".split()
)


def call_library(ev: Evaluator, path: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A call of something outside the project, by its dotted path."""
    if ev.program.hints:
        made = taught.call(ev, path, args, kwargs, node)
        if made is not MISSING:
            return made
    name = roles.last(path)
    result = _called(ev, path, name, args, kwargs, node)
    return outputs.after(
        ev, name, args[0] if args else kwargs.get("input"), [*args[1:], *kwargs.values()], result, node
    )


def _called(ev: Evaluator, path: str, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    if name in CRITERIA and name[0].isupper():
        return _criterion(name, path, kwargs, node)
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
        return ev.make("scheduler", name, args, kwargs, node)
    if name[:1].isupper() and (".optim" in path or roles.is_optimizer(name)) and "Wrapper" not in name:
        return ev.make("optimizer", name, args, kwargs, node)
    if name in SCALER_CALLABLES:
        return Thing("scaler_callable", name, {})
    if root == "transformers" and (made := _transformers_model(path, name)) is not None:
        return made
    if name in ("dumps", "pformat", "yaml_dump"):
        return Text(tuple(args))
    if name == "dump" and root in ("json", "pickle", "yaml"):
        figures.report(ev, node, args[:1], path)
        return None
    if roles.is_meter(name):
        # torchmetrics updates its states without a graph
        return things.make_meter(name, detaches=root == "torchmetrics")
    if name in _PROGRESS or name.lower() == "tqdm":
        return args[0] if args else kwargs.get("iterable", Thing("progress", name, {}))
    if root == "torch" and name in _ENVIRONMENT:
        return Unknown(f"{path}()")
    if name[:1].isupper() and path.startswith("torch.nn.") and name not in _NOT_LAYERS:
        ev.world.layers[name] += 1
        return models.make_layer(name, args, kwargs, node)
    if root in ("math", "numpy", "np", "torch", "statistics", "jnp"):
        return _numeric(ev, name, args, kwargs, node)
    if root in ("wandb", "logging", "mlflow", "logger", "loguru", "neptune") and (
        roles.is_report(name) or name == "log"
    ):
        figures.report(ev, node, [*args, *kwargs.values()], path)
        return None
    if root in ("time", "random", "datetime"):
        return Unknown(f"{path}()", varies=True)
    if root == "os" or root == "sys":
        return Unknown(f"{path}()")
    if name in ("builtins.range",):
        return RangeValue(tuple(args), node)
    return unknowns.call_unknown(ev, Unknown(path), args, kwargs, node)


def _transformers_model(path: str, name: str) -> Thing | None:
    """A model of transformers with a head, pretrained or new; one whose head is causal shifts its labels."""
    cls = roles.last(path.rpartition(".")[0]) if name in ("from_pretrained", "from_config") else name
    shifts = cls.endswith(("ForCausalLM", "LMHeadModel"))
    if not shifts and not (name == "from_pretrained" and "For" in path):
        return None
    return Thing("model", "transformers model", {"loss": "mean", "shifts": shifts})


def _gives_scheduler(name: str) -> bool:
    return (
        name.startswith("get_") and name.endswith(("_schedule", "_scheduler", "_warmup"))
    ) or name == "get_scheduler"


def _criterion(name: str, path: str, kwargs: dict[str, Any], node: ir.Call) -> Thing:
    traits = _token_traits(name, kwargs, node)
    # another library's loss of the same name has a default of its own
    known = path == name or path.startswith(("torch.", "nn.")) or "reduction" in kwargs
    data = {"reduction": _reduction(kwargs) if known else None, "traits": traits, "known": True, "options": kwargs}
    return Thing("criterion", name, data)


def _token_traits(name: str, kwargs: dict[str, Any], node: ir.Call) -> frozenset[str]:
    """What makes the number of targets in a mean uneven.

    A negative `ignore_index` that is handed through a parameter is a default that nobody asked for; written down at the
    loss, or a padding token, it says that some targets do not count.
    """
    if name not in TOKEN_AVERAGING:
        return frozenset()
    traits = {"class weights"} if kwargs.get("weight") is not None else set()
    value = kwargs.get("ignore_index")
    if isinstance(value, Unknown) and not any(word in value.path.lower() for word in ("pad", "ignore")):
        # an index out of range, say: it marks single targets and not the padding of a batch
        value = None
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
    ev.world.loss_call(name, node, args, kwargs)
    made = ev.loss(node, _reduction(kwargs), 3, "", traits)
    return tensors.without_graph(made, [*args, *kwargs.values()], tensors.target_of(name, args, kwargs))


def _numeric(ev: Evaluator, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A function of torch, numpy, math or statistics."""
    value = args[0] if args else next(iter(kwargs.values()), None)
    if name in NO_GRAD:
        return Thing("context", name, {"grad": False})
    if kwargs.get("requires_grad") is True and not arithmetic.tainted([*args, *kwargs.values()]):
        # a parameter: the number with which it starts does not say what it is later
        return ev.tensor(node) if ev.world.live else Unknown(name)
    if name in ("mean", "average", "fmean", "nanmean", "sum", "nansum"):
        if isinstance(value, (list, tuple)):
            total = arithmetic.total(ev, value, 0, node)
            if "mean" in name or name == "average":
                return arithmetic.binary(ev, "/", total, len(value), node, node, node) if value else Unknown("mean")
            return total
        receiver_method = "sum" if "sum" in name else "mean"
        return methods.call_method(ev, value, receiver_method, args[1:], kwargs, node, node)
    if name in ("ceil", "floor", "trunc", "rint", "round"):
        return ev.tensor(node) if isinstance(value, Tensor) else _rounded(ev, name, value)
    if name in ("tensor", "as_tensor", "array", "asarray", "Tensor", "FloatTensor", "float32", "float64", "from_numpy"):
        while isinstance(value, (list, tuple)) and len(value) == 1 and isinstance(value[0], (list, tuple)):
            value = value[0]
        if isinstance(value, (list, tuple)) and any(isinstance(item, Linear) for item in value):
            return [graph.rewrapped(ev, item, node) for item in value]
        if isinstance(value, Linear):
            return graph.rewrapped(ev, value, node)
        return (
            value if arithmetic.number(ev, value) is not None else ev.tensor(node) if ev.world.live else Unknown(name)
        )
    if name == "Variable" and isinstance(value, Linear):
        return graph.rewrapped(ev, value, node)
    if name == "Variable" and isinstance(value, Tensor):
        # a wrapper of old, round the same tensor
        if kwargs.get("requires_grad") is True:
            graph.made_leaf(ev, value, node)
        return value
    if name in ("stack", "cat", "hstack", "concatenate", "vstack"):
        if isinstance(value, (list, tuple)) and any(isinstance(item, Linear) for item in value):
            return list(value)
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
        return lengths.length_of(ev, value, node)
    if name in ("compile", "jit", "script") and value is not None:
        return value
    if name in ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"):
        return value
    if arithmetic.varies([*args, *kwargs.values()]) or ev.world.live:
        if arithmetic.tainted(args) and not isinstance(value, Tensor):
            return Unknown(name, varies=True, tainted=True)
        constant = name in FACTORIES and kwargs.get("requires_grad") is not True
        return ev.tensor(node, traits=frozenset({CONSTANT}) if constant else frozenset())
    made = Unknown(f"{name}({', '.join(opaque.shown(arg) for arg in args[:3])})")
    if name in ("randn", "rand", "zeros", "ones", "arange", "empty") and isinstance(value, Number):
        ev.rows[made.path] = int(value.value)
    return made


def _rounded(ev: Evaluator, name: str, value: Any) -> Any:
    known = arithmetic.number(ev, value)
    if known is None:
        return value if isinstance(value, Unknown) else Unknown(name)
    return Number(math.ceil(known.value) if name == "ceil" else math.floor(known.value), known.kinds, None, known.of)


def _loader(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    dataset = args[0] if args else kwargs.get("dataset")
    loader = Loader(ev.unique("DataLoader"))
    loader.named = False
    loader.drop_last = kwargs.get("drop_last") is True
    loader.batch_size = kwargs.get("batch_size", args[1] if len(args) > 1 else None)
    by_default = len(args) < 2 and not kwargs.keys() & {"batch_size", "batch_sampler", "**"}
    loader.single = by_default or loader.batch_size == 1
    sampler = kwargs.get("sampler")
    loader.sampled = getattr(sampler, "kind", "") == "subset sampler"
    loader.sampler = sampler if getattr(sampler, "kind", "") == "distributed sampler" else None
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


def _distributed_sampler(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Thing:
    shuffle = kwargs.get("shuffle", args[3] if len(args) > 3 else "**" not in kwargs or Unknown("shuffle"))
    return Thing("distributed sampler", ev.unique("sampler"), {"shuffle": shuffle, "node": node})


def _scaler(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    enabled = kwargs.get("enabled", True)
    ev.world.switched |= type(enabled) is Unknown
    return Thing("scaler", "scaler", {"enabled": enabled})


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
    scaled.notes |= {tensors.APEX}
    return scaled


def _world_size(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    return Number(units.PROCESSES, PROCESSES, "world_size")


def _gradients_on(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> bool:
    return ev.world.no_grad == 0


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


def _count(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """`itertools.count(start)`: a range without an end."""
    return RangeValue((kwargs.get("start", args[0] if args else 0), None), node)


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


def _copied(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    ev.world.copied.update(value.path for value in args if isinstance(value, (Unknown, Thing)))
    return builtin.first(ev, args, kwargs, node)


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


_LIBRARY: dict[str, builtin.Handler] = {
    "DataLoader": _loader,
    "TensorDataset": _dataset,
    "Subset": _subset,
    "random_split": _random_split,
    "DistributedSampler": _distributed_sampler,
    "SubsetRandomSampler": _subset_sampler,
    "GradScaler": _scaler,
    "ShardedGradScaler": _scaler,
    "Accelerator": _accelerator,
    "GradientAccumulationPlugin": _plugin,
    "Fabric": lambda ev, args, kwargs, node: Thing("fabric", "fabric", {}),
    "initialize": lambda ev, args, kwargs, node: (
        _deepspeed(ev, args, kwargs, node)
        if "model_parameters" in kwargs or "config" in kwargs or "config_params" in kwargs or "args" in kwargs
        else (args[0], args[1])
        if len(args) > 1
        else Unknown("initialize()")
    ),
    "autocast": _context,
    "scale_loss": _scale_loss,
    "is_grad_enabled": _gradients_on,
    "get_world_size": _world_size,
    "all_reduce": _all_reduce,
    "defaultdict": _counter,
    "OrderedDict": builtin.dictionary,
    "deque": _deque,
    "partial": _partial,
    "trange": _trange,
    "deepcopy": _copied,
    "chain": builtin.first,
    "islice": _islice,
    "count": _count,
    "enumerate": builtin.enumerated,
    "range": builtin.range_of,
    "print": builtin.printed,
    "SimpleNamespace": lambda ev, args, kwargs, node: Thing("namespace", ev.unique("namespace"), dict(kwargs)),
    "Namespace": lambda ev, args, kwargs, node: Thing("namespace", ev.unique("namespace"), dict(kwargs)),
    "nullcontext": _context,
    "parse_args": lambda ev, args, kwargs, node: Unknown("args"),
    "checkpoint": lambda ev, args, kwargs, node: ev.tensor(node),
}
