"""Questions about a loop that several rules ask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from losslint import units
from losslint.interpreter import graph, roles
from losslint.interpreter.program import path_of, statements
from losslint.interpreter.values import GRAPH, WINDOW, Cut, Output, Site, Step, Tensor, Unknown
from losslint.interpreter.world import Backward, DeadBackward, LossCall, OptimizerStep, Scaling, World, Zeroing
from losslint.lowering import ir
from losslint.lowering.walk import walk
from losslint.units import Unit

if TYPE_CHECKING:
    from losslint.interpreter.ledger import Loop
    from losslint.interpreter.reading import Reading

TIMES_WINDOW = Unit(window=1)
OVER_WINDOW = Unit(window=-1)

_ENOUGH_STEPS = 2
_FINITE = ("isfinite", "isnan", "isinf")


class Uneven(NamedTuple):
    """Micro-batches of one loss that reach the gradient with different weights: some divided by the window."""

    divided: Backward
    undivided: Backward
    divided_count: int
    backwards: int
    condition: ir.Node | None


def window_divisions(steps: Iterable[Step]) -> list[Step]:
    """The lines of a trail that divide by the window (or multiply by its inverse)."""
    return [step for step in steps if step.kinds & WINDOW and step.verb in ("/", "*")]


def sites_of(backward: Backward) -> list[Site]:
    """The losses in a backward."""
    return list(dict.fromkeys(site for site, _ in backward.weights))


def spans_batches(backward: Backward) -> bool:
    """Whether a loss is made of several batches at once, as a contrastive loss over cached features is."""
    return any("several batches" in site.traits for site in sites_of(backward))


def out_of_sight(backward: Backward) -> bool:
    """Whether a loss comes from a function that is not in sight: it may have been divided there."""
    return any("out of sight" in site.traits for site in sites_of(backward))


def all_summed(backward: Backward) -> bool:
    """Whether every loss in a backward is a sum over its batch: normalised elsewhere, by a total."""
    return all(site.reduction == "sum" for site in sites_of(backward))


def uneven(loop: Loop, world: World, condition: ir.Node | None = None) -> Uneven | None:
    """Whether one loss is divided by the window on some micro-batches only."""
    length = world.settings.window
    if length < 2:
        return None
    for pairs in loop.backward_weights(world).values():
        weights = {weight for _, weight in pairs}
        if len(weights) != 2:
            continue
        low, high = sorted(weights, key=abs)
        if low == 0 or high / low != length:
            continue
        small = [backward for backward, weight in pairs if weight == low]
        large = [backward for backward, weight in pairs if weight == high]
        if small[0].divided_by != large[0].divided_by:
            continue
        return Uneven(small[-1], large[-1], len(small), len(pairs), condition)
    return None


def flipped(loop: Loop) -> Uneven | None:
    """The same, where a condition that changes from step to step is taken the other way once."""
    if loop.window is None:
        return None
    for node in list(loop.high.varying)[:4]:
        world = loop.again(node, False)
        if world.flipped < 0 or world.unclear:
            continue
        found = uneven(loop, world, node)
        if found is not None and not _spares_bad_batch(loop.high.varying[node], found):
            return found
    return None


def _spares_bad_batch(test: str, found: Uneven) -> bool:
    """Whether only a loss that is not finite is left undivided: it is not finite either way."""
    return any(word in test for word in _FINITE) and found.divided_count * 2 > found.backwards


def undivided(loop: Loop) -> Iterator[Backward]:
    """The backwards, one a place, of losses whose weight in an optimizer step grows with the window."""
    if loop.window is None or not loop.gradients_known or loop.gradient_exponent != 1:
        return
    if flipped(loop) is not None or any(uneven(one, one.high) for one in (loop, *loop.siblings)):
        return
    unit = mean_weight(loop)
    if unit is not None and not unit.is_one and not unit.other:
        return
    if late_divisions(loop) or loop.nominal_batch or hooked(loop) or _normalised_by_hand(loop):
        return
    for backward in {backward.node: backward for backward in reversed(loop.high.backwards)}.values():
        if not (
            all_summed(backward) or out_of_sight(backward) or spans_batches(backward) or has_unknown_divisor(backward)
        ):
            yield backward


def _normalised_by_hand(loop: Loop) -> bool:
    """Whether the gradients are scaled by a factor that the loop does not explain: a total over the window, perhaps."""
    weights = loop.step_weight(loop.base) or {}
    read = [units.read(Fraction(weight)) for weight in weights.values()]
    return bool(loop.base.gradient_scalings) and any(unit is None or unit.other for unit in read)


def hooked(loop: Loop) -> bool:
    """Whether hooks are hung on tensors, parameters perhaps: they may divide each gradient as it comes."""
    return any("register_hook" in facts.calls for facts in loop.facts)


def late_divisions(loop: Loop) -> list[Scaling]:
    """Divisions by the window of a loss that has already been backpropagated in the same batch."""
    world = loop.high
    done: dict[tuple[ir.Node, int], int] = {}
    for backward in world.backwards:
        for site, visit in backward.weights:
            done.setdefault((site.node, visit), backward.time)
    return [
        scaling
        for scaling in world.scalings
        if scaling.kinds & WINDOW
        and scaling.divides
        and scaling.state == GRAPH
        and any(done.get((site.node, visit), scaling.time) < scaling.time for site, visit in scaling.atoms)
    ]


def raw_beside_scaled(reading: Reading, readings: Sequence[Reading]) -> bool:
    """Whether another figure of the same statement holds the divided loss."""
    return any(
        other is not reading
        and other.figure.node is reading.figure.node
        and other.unit is not None
        and other.unit.window == -1
        for other in readings
    )


def predictions(loop: Loop, function: str, *made_by: str) -> Iterator[tuple[LossCall, Output]]:
    """The calls of a loss function whose first argument was made by one of these functions, and how."""
    for call in loop.base.loss_calls.values():
        output = call.prediction.output if call.function == function and type(call.prediction) is Tensor else None
        if output is not None and output.function in made_by:
            yield call, output


def is_data(call: LossCall) -> bool:
    """Whether the first argument of a loss function is what a loader gives, or reads like a target and is made by
    nothing in sight."""
    value = call.prediction
    if type(value) is Tensor and (value.output is not None or value.evidence or "batch" in value.traits):
        return "batch" in value.traits and value.output is None
    if type(value) is Unknown and (value.tainted or roles.is_target(value.path)):
        return not value.tainted
    return type(value) in (Tensor, Unknown) and roles.is_target(_name(prediction_place(call)))


def prediction_place(call: LossCall) -> ir.Node:
    """Where a loss function is handed its first argument."""
    given = call.node.arguments if isinstance(call.node, ir.Call) else ()
    return given[0].value if given else call.node


def _name(node: ir.Node) -> str:
    """The name of what an expression is taken from: of `labels[train].view(-1)`, `labels`; of `batch["y"]`, `y`."""
    while True:
        if isinstance(node, ir.Index):
            if isinstance(node.index, ir.Const) and isinstance(node.index.value, str):
                return node.index.value
            node = node.value
        elif isinstance(node, ir.Call) and isinstance(node.func, ir.Attr):
            node = node.func.value
        else:
            return roles.last(path_of(node)) if isinstance(node, (ir.Name, ir.Attr)) else ""


def made_in(output: Output) -> str:
    """Words for the model that a value came from, where one is known."""
    if output.outside:
        return ""
    if output.model == "Sequential":
        return " at the end of the `nn.Sequential`"
    return f" at the end of `{output.model}.forward`" if output.model else ""


def mean_weight(loop: Loop) -> Unit | None:
    """The unit with which a mean loss enters an optimizer step at window 1; None where it is not a mean, or uneven."""
    world = loop.base
    weights = loop.step_weight(world)
    if not weights:
        return None
    read: set[Unit | None] = set()
    for step in world.steps:
        for contribution in step.fresh:
            if contribution.atom[0].reduction != "mean":
                return None
    for weight in weights.values():
        unit = units.read(Fraction(weight))
        # an AMP scale too much or too little is another law's business
        read.add(replace(unit, scale=0) if unit is not None else None)
    return read.pop() if len(read) == 1 else None


def has_unknown_divisor(backward: Backward) -> bool:
    """Whether something untracked divides the loss: it may be the window by another name."""
    return bool(backward.notes & {"unknown divisor", "counted divisor"})


class LostGradients(NamedTuple):
    """An optimizer whose steps see no gradient: the zeroing that throws them away, where they were made, and a step.
    `step_first`: in an iteration the step comes before backward."""

    zeroing: Zeroing
    backward: Backward
    step: OptimizerStep
    step_first: bool


def _may_run_elsewhere(loop: Loop, name: str) -> bool:
    """Whether a function of the file that did not run, and that the file speaks of, calls one of this name."""
    facts = loop.program.module.facts
    hidden = [f for f in loop.program.module.functions if f not in loop.base.entered and name in f.facts.calls]
    return any(function.name in facts.read or function.name in facts.calls for function in hidden)


def _every_backward_is_followed(loop: Loop) -> bool:
    """Whether no backward in the code that ran is of a value that the run lost sight of."""
    followed = {backward.node for fork in (loop, *loop.siblings) for backward in fork.base.backwards}
    blocks = [function.body for function in loop.base.entered]
    if loop.kind == "script":
        blocks.append(loop.program.module.body)
    return all(call in followed for block in blocks for call in backward_calls(block))


def backward_calls(block: ir.Block) -> Iterator[ir.Call]:
    """The calls of a `backward` in a block."""
    for statement in statements(block):
        for part in walk(statement):
            if isinstance(part, ir.Call) and isinstance(part.func, ir.Attr) and part.func.name == "backward":
                yield part


def steps_without_gradients(loop: Loop) -> Iterator[LostGradients]:
    """The optimizers none of whose steps sees a gradient, because gradients are set to zero before they are used."""
    world = loop.base
    if world.unclear or not world.backwards or any(step.framework for step in world.steps):
        return
    if _may_run_elsewhere(loop, "backward") or not _every_backward_is_followed(loop):
        return
    optimizers = {step.optimizer for step in world.steps}
    for optimizer in sorted(optimizers):
        steps = [step for step in world.steps if step.optimizer == optimizer]
        if len(steps) < _ENOUGH_STEPS or any(step.fresh or step.stale for step in steps):
            continue
        # what zeroes a whole model is taken at its word only where there is one optimizer
        own = [z for z in world.zeroings if z.optimizer == optimizer or (not z.optimizer and len(optimizers) == 1)]
        lost = [zeroing for zeroing in own if zeroing.lost]
        if not lost:
            continue
        zeroing = lost[0]
        backward = world.backwards[zeroing.lost[-1].backward]
        inside = [step for step in steps if step.visit == backward.visit]
        if inside:
            yield LostGradients(zeroing, backward, inside[0], inside[0].time < backward.time)


def dead_backwards(loop: Loop, kinds: Callable[[Cut], bool]) -> Iterator[tuple[DeadBackward, Cut]]:
    """The backwards of a loss that is in no graph on any way to them, with the place where it left the graph, where
    that is of one of these kinds."""
    alive = {backward.node for fork in (loop, *loop.siblings) for backward in fork.base.backwards}
    seen: set[ir.Node] = set()
    for dead in loop.base.dead_backwards:
        if dead.node in alive or dead.node in seen or not dead.cuts:
            continue
        seen.add(dead.node)
        cut = graph.first(dead.cuts)
        if kinds(cut):
            yield dead, cut


def is_of_losses(dead: DeadBackward) -> bool:
    """Whether what a backward is given is known to be made of losses."""
    return all(site.evidence for site, _ in dead.weights)


def words_of(cut: Cut) -> str:
    """What a message calls the line where a value leaves the graph."""
    if cut.kind == "comparison":
        return "a comparison"
    return f"`.{cut.kind}`" if cut.kind == "data" else f"`{cut.kind}()`"
