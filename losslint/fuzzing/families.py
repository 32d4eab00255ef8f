"""What a rule of a family must say of a program, by what was measured: order, graph, mode, precision and schedules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from losslint.findings import Severity
from losslint.fuzzing.measure import Factor, Measured, Schedule
from losslint.fuzzing.spec import Spec

_LAMBDAS = ("factor", "absolute")
_TOLERANCE = 2e-4
_MISMATCHES = {
    ("batch", "epoch"): "LL412",
    ("step", "epoch"): "LL412",
    ("epoch", "batch"): "LL412",
    ("epoch", "step"): "LL412",
    ("step", "batch"): "LL413",
    ("batch", "step"): "LL411",
    ("batch", ""): "LL411",
}


@dataclass(frozen=True, slots=True)
class Expectation:
    """A rule has to report with at least a severity where `measured`, and has to keep silent where not. `instead`:
    rules that may speak in its place; `reason`: why the rule cannot know; `excused`: a doubt about the
    loop lets it keep silent."""

    code: str
    measured: bool
    severity: Severity
    what: str
    instead: frozenset[str] = frozenset()
    reason: str = ""
    excused: bool = True


def expectations(spec: Spec, measured: Sequence[Measured], found: frozenset[str]) -> Iterator[Expectation]:
    """What is expected of the rules; `found` are the codes that were reported."""
    yield from _gradients(spec, measured, found)
    yield from _graph(spec, measured)
    yield from _modes(spec, measured)
    yield from _schedules(spec, measured)


def _gradients(spec: Spec, measured: Sequence[Measured], found: frozenset[str]) -> Iterator[Expectation]:
    idle = any(one.idle for one in measured)
    # a window that is counted to is found by the steps
    counted = "the window is not known where nothing steps" if spec.gate in ("counter", "countdown") else ""
    yield Expectation("LL406", idle, Severity.ERROR, "an optimizer that never steps", reason=counted, excused=False)
    # of gradients that are never unscaled, the step is the bug
    if "LL302" not in found:
        clipped = any(one.scaled_clip for one in measured)
        yield Expectation("LL303", clipped, Severity.WARNING, "a clip of scaled gradients")
    empty = any(one.empty_clip for one in measured)
    yield Expectation("LL405", empty, Severity.ERROR, "a clip of no parameters")
    useless = [one.useless_clip for one in measured if one.useless_clip is not None]
    # gradients that nothing sets to zero are clipped for the steps that come after
    if useless and not empty and "LL401" not in found:
        steps = any(any(world.record.steps for world in one.worlds) for one in measured)
        # gradients that are gone before the step are gone before the clip
        instead = frozenset({"LL402", "LL403"})
        several = any(step.optimizer for one in measured for world in one.worlds for step in world.record.steps)
        reason = "whose gradients are clipped is not known" if several else ""
        yield Expectation("LL404", steps and all(useless), Severity.ERROR, "a clip that no step sees", instead, reason)


def _graph(spec: Spec, measured: Sequence[Measured]) -> Iterator[Expectation]:
    yield Expectation("LL210", any(one.retained > 2 for one in measured), Severity.WARNING, "retained graphs")
    lost = any(one.lost_share for one in measured)
    dead = any(one.dead for one in measured)
    others = frozenset({"LL502", "LL504"})
    if dead:
        reason, what = _out_of_sight(spec), "a backward that reaches nothing"
        if spec.scale == "inverse":
            reason = "what a loss out of the graph is multiplied with may be learnt"
        yield Expectation("LL501", dead, Severity.ERROR, what, others, reason, excused=False)
    yield Expectation("LL503", lost, Severity.WARNING, "a part of the loss that is in no gradient")


def _modes(spec: Spec, measured: Sequence[Measured]) -> Iterator[Expectation]:
    yield Expectation("LL701", any(one.stuck for one in measured), Severity.ERROR, "training outside of training mode")
    judged = any(one.judged_in_training for one in measured)
    yield Expectation("LL702", judged, Severity.WARNING, "validation in training mode", reason=_out_of_sight(spec))
    pairs = any(_differ(one.figures) for one in measured)
    instead = frozenset({"LL201", "LL202", "LL203", "LL204", "LL205"})
    scaled = spec.scale in ("by_batch", "by_batches") or spec.reduction in ("sum", "sum_divided")
    reason = "what the training loss is, hangs on how it is scaled" if scaled else ""
    yield Expectation("LL214", pairs, Severity.WARNING, "figures of two units in one line", instead, reason)


def _out_of_sight(spec: Spec) -> str:
    return "the criterion is not in sight" if spec.criterion == "parameter" else ""


def _differ(figures: Sequence[Factor]) -> bool:
    """Whether a line shows a training and a validation figure of one loss as different numbers."""
    return any(
        one.line == other.line and abs(one.value - other.value) > _TOLERANCE * abs(other.value)
        for one in figures
        for other in figures
        if one.judged and not other.judged
    )


def _schedules(spec: Spec, measured: Sequence[Measured]) -> Iterator[Expectation]:
    squared = spec.scheduler in _LAMBDAS and any(one.rate < 0.5 for one in measured)
    yield Expectation("LL415", squared, Severity.ERROR, "a squared learning rate")
    schedules = [one.schedule for one in measured if one.schedule is not None]
    if not any(schedule.steps == "batch" for schedule in schedules):
        # one that steps on every micro-batch has another bug, or none
        ahead = any(schedule.ahead for schedule in schedules)
        yield Expectation("LL414", ahead, Severity.WARNING, "a scheduler ahead of the optimizer")
    broken = {_mismatch(schedule) for schedule in schedules}
    for code in ("LL411", "LL412", "LL413"):
        # of a length that says nothing, nobody knows which of the two was meant
        severity = Severity.INFO if code == "LL411" else Severity.WARNING
        yield Expectation(code, code in broken, severity, "a schedule that does not end with the run")


def _mismatch(schedule: Schedule) -> str:
    return _MISMATCHES.get((schedule.steps, schedule.horizon), "")
