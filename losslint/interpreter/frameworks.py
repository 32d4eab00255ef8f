"""The frameworks' contracts, applied: who divides the loss, and when a step is real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from losslint import units
from losslint.contracts.frameworks import ACCELERATE, DEEPSPEED, FABRIC, TIMM, UPDATE_KEYWORDS
from losslint.interpreter import arithmetic, figures, roles
from losslint.interpreter.program import path_of
from losslint.interpreter.values import Key, Linear, Loader, Number, Thing, Unknown
from losslint.lowering import ir

if TYPE_CHECKING:
    from losslint.interpreter.evaluate import Evaluator


def window_of(ev: Evaluator, value: Any, node: ir.Node) -> tuple[Key | None, int]:
    """The window that a framework was told, and how long it is in this world."""
    if value is None:
        return None, 1
    key = arithmetic.static_key(value)
    if key is None:
        known = arithmetic.number(ev, value)
        return None, int(known.value) if known is not None else 1
    if isinstance(value, Number) and value.value == 1:
        return None, 1
    ev.world.candidates.setdefault(key, node)
    ev.world.told.add(key)
    override = ev.world.settings.overrides.get(key)
    return key, int(override.value) if override is not None else 1


def make_accelerator(ev: Evaluator, kwargs: dict[str, Any], node: ir.Call) -> Thing:
    """`Accelerator(gradient_accumulation_steps=k)`."""
    steps = kwargs.get(ACCELERATE.window_argument)
    plugin = kwargs.get("gradient_accumulation_plugin")
    if steps is None and isinstance(plugin, Thing):
        steps = plugin.data.get("num_steps")
    unknown = "**" in kwargs or (plugin is not None and steps is None)
    _, window = window_of(ev, steps, node)
    data: dict[str, Any] = {
        "window": window,
        "told": steps is not None,
        "unknown": unknown,
        "micro": 0,
        "sync": True,
        "loaders": set(),
    }
    data["num_processes"] = Number(units.PROCESSES, 1 << 6, "num_processes")
    return Thing("accelerator", "accelerator", data)


def accelerator_method(
    ev: Evaluator, thing: Thing, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    """A method of `Accelerator`."""
    world = ev.world
    if name in ACCELERATE.backward and args:
        form = arithmetic.linear(ev, args[0])
        if thing.data.get("unknown"):
            world.doubt("the accelerator's window is not in sight", node)
        if form is not None:
            told = thing.data.get("told")
            divisor = thing.data.get("window", 1) if ACCELERATE.backward_divides else 1
            world.backward(node, form, divisor, ACCELERATE.name if told else "")
        else:
            world.doubt("backward on a value that was not followed", node)
        return None
    if name == "prepare":
        for value in args:
            if isinstance(value, Thing):
                value.data["prepared"] = thing
            elif isinstance(value, Loader):
                thing.data["loaders"].add(value.path)
                value.sampler = None
        written = [argument.value for argument in node.arguments] if len(node.arguments) == len(args) else []
        names = [path_of(argument) for argument in written] or [""] * len(args)
        prepared = [_prepared(value, name, thing) for value, name in zip(args, names, strict=True)]
        return prepared[0] if len(prepared) == 1 else tuple(prepared)
    if name == "accumulate":
        return Thing("context", "accumulate", {"accumulate": thing})
    if name in ("gather", "gather_for_metrics", "unwrap_model", "pad_across_processes", "reduce", "prepare_model"):
        value = args[0] if args else Unknown(name)
        if isinstance(value, Linear):
            return value.alias(min(value.state, 1))
        return value
    if name in ACCELERATE.clip:
        return Unknown("norm", varies=True)
    if name in ("log", "print"):
        figures.report(ev, node, [*args, *kwargs.values()], name)
        return None
    if name == "no_sync":
        return without_sync(node)
    if name in ("autocast", "main_process_first", "local_main_process_first", "join_uneven_inputs"):
        return Thing("context", name, {})
    return Unknown(f"accelerator.{name}()", varies=bool(world.live))


def _prepared(value: Any, name: str, accelerator: Thing) -> Any:
    """What `prepare` hands back: an optimizer or a scheduler that is not in sight is known by its name."""
    if type(value) is not Unknown:
        return value
    if roles.is_optimizer(value.path) or roles.is_optimizer(name):
        return Thing("optimizer", value.path, {"prepared": accelerator})
    if roles.is_scheduler(value.path) or roles.is_scheduler(name):
        return Thing("scheduler", value.path, {"prepared": accelerator})
    return value


def enter_accumulate(ev: Evaluator, thing: Thing) -> None:
    """`with accelerator.accumulate(model):` — the last micro-batch of a window, or of a loader that the accelerator
    knows, synchronises. `sync_gradients` keeps its value for the statements after the block."""
    data = thing.data["accumulate"].data
    world = ev.world
    at_end = False
    if ACCELERATE.last_window_steps and world.current >= 0:
        visit = world.visits[world.current]
        # a loader that is not made in sight is taken to be prepared out of sight too
        prepared = visit.loader in data["loaders"] or visit.loader not in world.loaders
        at_end = prepared and visit.place == world.settings.batches - 1
    data["micro"] = 0 if at_end else data["micro"] + 1
    data["sync"] = data["micro"] % data["window"] == 0


def without_sync(node: ir.Call, wanted: Any = True) -> Thing:
    """`with model.no_sync():` — a backward in it exchanges no gradients with other processes. `wanted` is False where
    the block is switched off, and anything but a bool where that is not known."""
    return Thing("context", "no_sync", {"unsynced": node} if wanted is True else {})


def is_gated(owner: Any, method: str) -> bool:
    """Whether a method of a prepared object does nothing now: inside a window that is not full."""
    if not isinstance(owner, Thing) or f"{owner.kind}.{method}" not in ACCELERATE.gated:
        return False
    accelerator = owner.data.get("prepared")
    return isinstance(accelerator, Thing) and not accelerator.data["sync"]


def engine_name(ev: Evaluator, name: str, kwargs: dict[str, Any]) -> str:
    """The framework that an object out of sight belongs to, where its name and the imports of the module say so."""
    divides = kwargs.get(DEEPSPEED.undivided) is not False
    named = roles.is_engine(name) and DEEPSPEED.package in ev.program.imported
    return DEEPSPEED.name if divides and named else ""


def make_engine(ev: Evaluator, node: ir.Call) -> Thing:
    """What `deepspeed.initialize` gives: an engine whose window stands in its configuration."""
    key = "gradient_accumulation_steps"
    ev.world.candidates.setdefault(key, node)
    known = ev.world.settings.overrides.get(key)
    return Thing(
        "engine", ev.optimizer("engine", node), {"window": int(known.value) if known is not None else 1, "micro": 0}
    )


def engine_method(
    ev: Evaluator, thing: Thing, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call
) -> Any:
    """A method of a DeepSpeed engine: backward divides by the window, step is real once per window."""
    world = ev.world
    if name in DEEPSPEED.backward and args:
        form = arithmetic.linear(ev, args[0])
        divides = DEEPSPEED.backward_divides and kwargs.get(DEEPSPEED.undivided) is not False
        divide = thing.data["window"] if divides else 1
        if form is not None:
            world.backward(node, form, divide, DEEPSPEED.name if divides else "")
        return None
    if name == "step":
        thing.data["micro"] += 1
        if thing.data["micro"] % thing.data["window"] == 0:
            world.step(node, thing.path, False, DEEPSPEED.name)
            world.zero(node, thing.path, False)
        return None
    if name == "zero_grad":
        return None
    if name == "gradient_accumulation_steps":
        return Number(thing.data["window"], 1, "gradient_accumulation_steps")
    if name in ("train", "eval"):
        world.event(name, node, thing.path)
        return thing
    return ev.tensor(node)


def scaler_callable(ev: Evaluator, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """timm's `NativeScaler`: backward, unscale, clip, step and update in one call, the step only where it is wanted."""
    world = ev.world
    form = arithmetic.linear(ev, args[0]) if args else None
    if form is None:
        world.doubt("backward on a value that was not followed", node)
        return Unknown("norm", varies=True)
    world.backward(node, form)
    wanted = next((kwargs[keyword] for keyword in UPDATE_KEYWORDS if keyword in kwargs), True)
    if wanted is True or (wanted is not False and type(wanted) is not Unknown):
        optimizer = args[1] if len(args) > 1 else kwargs.get("optimizer")
        world.step(node, str(getattr(optimizer, "path", "optimizer")), False, TIMM.name)
    elif type(wanted) is Unknown:
        world.doubt("whether the scaler steps is not known", node)
    return Unknown("norm", varies=True)


def fabric_method(ev: Evaluator, name: str, args: list[Any], kwargs: dict[str, Any], node: ir.Call) -> Any:
    """A method of Lightning's `Fabric`, which divides nothing and gates nothing."""
    if name in FABRIC.backward and args:
        form = arithmetic.linear(ev, args[0])
        if form is not None:
            ev.world.backward(node, form)
        else:
            ev.world.doubt("backward on a value that was not followed", node)
        return None
    if name in ("setup", "setup_dataloaders", "setup_module", "setup_optimizers"):
        for value in args:
            if isinstance(value, Loader):
                value.sampler = None
        return args[0] if len(args) == 1 else tuple(args)
    if name in FABRIC.clip:
        return Unknown("norm", varies=True)
    if name == "no_backward_sync":
        return without_sync(node, kwargs.get("enabled", args[1] if len(args) > 1 else True))
    if name in ("autocast", "init_module", "rank_zero_first"):
        return Thing("context", name, {})
    if name in ("log", "log_dict", "print"):
        figures.report(ev, node, [*args, *kwargs.values()], name)
        return None
    if name == "all_reduce" and args:
        return args[0]
    return Unknown(f"fabric.{name}()", varies=bool(ev.world.live))
