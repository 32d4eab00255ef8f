"""Compares what was predicted with what was measured: they agree, the static side names why it is silent, or one of
them is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from losslint.findings import Finding, Outcome, Severity
from losslint.fuzzing.families import Expectation, expectations
from losslint.fuzzing.generate import Program, generate
from losslint.fuzzing.measure import GAINS, SCALE, Factor, Measured, World, measure
from losslint.fuzzing.predict import Fork, Ledger, Prediction, predict
from losslint.registry import rules
from losslint.runtime import judge

GRADIENT = frozenset(
    "LL101 LL102 LL103 LL104 LL105 LL108 LL109 LL301 LL302 LL401 LL402 LL403 LL406 LL501 LL502 LL504 LL901"
    " LL903 LL904".split()
)
REPORT = frozenset("LL201 LL202 LL203 LL204 LL205 LL207 LL208 LL211 LL212".split())
_CATALOGUE = frozenset(rule.code for rule in rules())
_NOT_FOLLOWED = ("unclear", "no backward", "no optimizer step", "several optimizers", "whether the scaler")
_RAISES = frozenset("LL301 LL304 LL402 LL412 LL501 LL502 LL504".split())
"""Rules whose bugs make PyTorch itself raise an error."""
_TOLERANCE = 2e-4


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one seed. `wrong`: disagreements, one line each. `silent`: what was measured and not reported, with
    the reason that the static side names."""

    seed: int
    checks: int
    wrong: tuple[str, ...]
    silent: tuple[str, ...]


def compare(seed: int) -> Result:
    """Gives the program of a seed to both sides."""
    program = generate(seed)
    prediction = predict(program.text, SCALE)
    measured = measure(seed)
    judge = _Judge(program, prediction, measured)
    judge.judge()
    return Result(seed, judge.checks, tuple(judge.wrong), tuple(judge.silent))


@dataclass(slots=True)
class _Judge:
    program: Program
    prediction: Prediction
    measured: Sequence[Measured]
    checks: int = 0
    wrong: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    def judge(self) -> None:
        crashed = [one for one in self.measured if one.error]
        if crashed:
            self._crash(crashed[0].error)
            return
        if not self.prediction.forks:
            self.wrong.append("the static side found no loop")
            return
        for one in self.measured:
            self._ledger(one)
        self._gradient_law()
        self._report_law()
        self._tail()
        self._verdicts()
        found = frozenset(finding.code for finding in self.prediction.findings)
        for expected in expectations(self.program.spec, self.measured, found):
            if expected.measured and found & expected.instead:
                continue
            if expected.measured and expected.reason and expected.code not in found:
                self.checks += 1
                self.silent.append(expected.reason)
                continue
            self._expect(expected)

    # ------------------------------------------------------------ the verifier

    def _verdicts(self) -> None:
        """The verifier, which cuts its slice out of the program, must confirm each finding or say why it cannot."""
        for finding in self.prediction.findings:
            if finding.severity < Severity.WARNING or judge.claim_of(finding.code) is None:
                continue
            self.checks += 1
            verdict = judge.verify(finding, self.program.text, Path("program.py"))
            if verdict.outcome is Outcome.REFUTED:
                line = finding.range.start_line
                self.wrong.append(f"refuted: {finding.code} in line {line}, {verdict.measured} measured")
            elif verdict.reason is not None:
                self.silent.append(f"the verifier is inconclusive: {verdict.reason.value}")

    # ------------------------------------------------------------ findings

    def _found(self, codes: frozenset[str], severity: Severity = Severity.WARNING) -> list[Finding]:
        return [f for f in self.prediction.findings if f.code in codes and f.severity >= severity]

    def _expect(self, expected: Expectation) -> None:
        code, measured, what = expected.code, expected.measured, expected.what
        self.checks += 1
        found = bool(self._found(frozenset({code}), expected.severity))
        if found and not measured:
            self.wrong.append(f"false alarm: {code}, no {what} measured")
        if measured and not found:
            # how large a gradient is, is not in question here
            reasons = [reason for reason in self.prediction.silent if reason.startswith(_NOT_FOLLOWED)]
            if not expected.excused:
                reasons = []
            if code == "LL214":
                reasons += [reason for fork in self.prediction.forks for _, reason in fork.open_figures]
            self.silent += reasons[:1]
            self.wrong += [] if reasons else [f"miss: {what} ({code})"]

    def _missed(self, what: str, code: str = "") -> None:
        if code and code not in _CATALOGUE:
            self.silent.append(f"{code} is not written yet")
            return
        reasons = self.prediction.silent
        if reasons:
            self.silent.append(reasons[0])
        else:
            self.wrong.append(f"miss: {what}")

    def _crash(self, error: str) -> None:
        """PyTorch itself refuses the program: the static side has to say that the scaler is misused."""
        self.checks += 1
        # a scaler refuses to step where there are no gradients: a step that is off its phase leaves none to the last
        empty = frozenset({"LL402", "LL108", "LL109"}) if self._steps_on_nothing() else frozenset()
        if not self._found(_RAISES | empty):
            self._missed(f"PyTorch raises {error}", "LL402" if empty else "")

    def _steps_on_nothing(self) -> bool:
        ledgers = [ledger for fork in self.prediction.forks for ledger in fork.ledgers]
        return any(not any(step.weights) for ledger in ledgers for step in ledger.steps)

    # ------------------------------------------------------------ the ledgers

    def _ledger(self, measured: Measured) -> None:
        """Some fork must be what was measured, number by number."""
        self.checks += 1
        found = [list(_differences(fork, measured.worlds)) for fork in self.prediction.forks]
        best = min(found, key=len)
        if not best:
            return
        fork = self.prediction.forks[found.index(best)]
        if fork.silent:
            self.silent.append(fork.silent[0])
        elif not any(_is_of(fork, measured.flags) for fork in self.prediction.forks):
            self.silent.append("this combination of conditions is not tried: each is turned alone")
        else:
            self.wrong.append(f"ledger{_flags(measured)}: {best[0]}")

    # ------------------------------------------------------------ the laws

    def _gradient_law(self) -> None:
        self.checks += 1
        broken = [one for one in self.measured if one.uneven]
        found = self._found(GRADIENT)
        if found and not broken:
            self.wrong.append(f"false alarm: {_names(found)}, the gradient law holds")
        if broken and not found:
            if all(one.behind for one in broken):
                self.silent.append("each step sees the batch before its own, as a pipeline may want it")
                return
            empty = any(total == 0 for one in broken for steps in one.totals.values() for total in steps)
            self._missed(
                f"the gradient law is broken{_flags(broken[0])}: steps {_rounded(broken[0].totals)}",
                "LL402" if empty else "LL903" if self.program.spec.framework == "lightning" else "",
            )

    def _report_law(self) -> None:
        self.checks += 1
        found = self._found(REPORT)
        for one in self.measured:
            for figure in one.figures:
                if not _is_right(one, figure):
                    if not found:
                        self._missed_figure(figure)
                    return
        if any(one.wrong_in_tail for one in self.measured):
            # right only where everything divides evenly
            found = [finding for finding in found if finding.code != "LL205"]
        # figures of the first pass alone were measured; what the epoch decides about, the verifier looks at later ones
        if found and self.program.spec.branch != "epoch":
            self.wrong.append(f"false alarm: {_names(found)}, every figure is the mean")

    def _missed_figure(self, figure: Factor) -> None:
        reasons = [
            reason for fork in self.prediction.forks for line, reason in fork.open_figures if line == figure.line
        ]
        if reasons:
            self.silent.append(reasons[0])
        else:
            self._missed(f"the figure of line {figure.line} is {figure.by_window}, mean: {figure.is_mean}")

    def _tail(self) -> None:
        # gradients that are never zeroed are in every later step: in which one they came first, nobody can measure
        if self._found(GRADIENT) or any(one.uneven for one in self.measured) or self.program.spec.zero == "never":
            return
        left, short = any(one.left for one in self.measured), any(one.short for one in self.measured)
        reasons = [reason for fork in self.prediction.forks for reason in fork.open_tail]
        if reasons and (left or short):
            self.silent.append(reasons[0])
            return
        self._expect(Expectation("LL106", left, Severity.INFO, "leftover micro-batches"))
        # what a step should weigh, is asked of a short window and not of one that is left over
        weights = [reason for reason in self.prediction.silent if reason.startswith("the weight in a step")]
        if short and weights and not left:
            self.silent.append(weights[0])
        elif not left:
            self._expect(Expectation("LL107", short, Severity.INFO, "short last window"))


def _is_right(measured: Measured, figure: Factor) -> bool:
    """Whether a figure is the loss: its mean; or, of a loss that is a sum over the batch, the sum."""
    wanted = (1.0, 5.0) if measured.summed else (1.0,)
    return figure.is_mean and any(abs(figure.value - value) <= _TOLERANCE * value for value in wanted)


def _names(findings: Sequence[Finding]) -> str:
    return ", ".join(f"{finding.code} in line {finding.range.start_line}" for finding in findings)


def _flags(measured: Measured) -> str:
    return f" with {measured.flags}" if measured.flags else ""


def _rounded(totals: dict[int, tuple[float, ...]]) -> dict[int, list[float]]:
    return {window: [round(total, 4) for total in steps] for window, steps in totals.items()}


# ---------------------------------------------------------------- ledgers, number by number


def _differences(fork: Fork, worlds: Sequence[World]) -> Iterator[str]:
    for world in worlds:
        ledger = next((one for one in fork.ledgers if _same_world(one, world)), None)
        if ledger is None:
            continue
        where = f"k={world.window}, {world.shape.batches} batches"
        yield from (f"{where}: {text}" for text in _steps(ledger, world))
        yield from (f"{where}: {text}" for text in _figures(ledger, world))


def _is_of(fork: Fork, flags: dict[str, bool]) -> bool:
    """Whether nothing was decided in a fork that the flags of a run contradict."""
    return all(flags.get(name, so) == so for name, so in fork.decisions.items())


def _same_world(ledger: Ledger, world: World) -> bool:
    return (ledger.window, ledger.batches, ledger.last) == (world.window, world.shape.batches, world.shape.last)


def _steps(ledger: Ledger, world: World) -> Iterator[str]:
    measured = [step for step in world.record.steps if step.visit < world.shape.batches]
    if len(measured) != len(ledger.steps):
        predicted, real_visits = [step.visit for step in ledger.steps], [step.visit for step in measured]
        yield f"{len(predicted)} steps predicted after {predicted}, {real_visits} measured"
        return
    for mine, real in zip(ledger.steps, measured, strict=True):
        if mine.visit != real.visit or not _close(mine.weights, real.weights):
            yield (
                f"step after batch {real.visit}: predicted {mine.visit}, {_short(mine.weights)},"
                f" measured {_short(real.weights)}"
            )


def _figures(ledger: Ledger, world: World) -> Iterator[str]:
    batches = world.shape.batches
    gains = GAINS[:batches]
    lines = {shown.line for shown in world.shown if shown.visit < batches or shown.line == 0}
    for line in sorted(lines):
        measured = [
            number
            for shown in world.shown
            if shown.line == line
            for number in shown.numbers
            if shown.visit < batches or line == 0
        ]
        predicted = [
            sum(weight * gain for weight, gain in zip(figure.weights, gains, strict=True))
            for figure in ledger.figures
            if figure.line == line
        ]
        if not predicted:
            yield f"line {line} shows {_short(measured)}, no figure predicted"
        elif not _close(predicted[: len(measured)], measured[: len(predicted)]):
            yield f"line {line} shows {_short(measured)}, predicted {_short(predicted)}"
    for figure in ledger.figures:
        if figure.line not in lines and any(figure.weights):
            yield f"a figure is predicted in line {figure.line}, none was shown"
            return


def _close(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        abs(a - b) <= _TOLERANCE * max(abs(a), abs(b), 1e-3) for a, b in zip(one, other, strict=True)
    )


def _short(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"
