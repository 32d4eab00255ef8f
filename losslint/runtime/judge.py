"""The verdict on a finding: its claim measured in the tiny world, beside what the algebra predicted.

Runs in the worker: imports torch. The entries are `verify`, `holds`, `portray` and `tried`.
"""

from __future__ import annotations

import ast
import contextlib
import io
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import CodeType, FrameType

import torch

from losslint.claims import Claim
from losslint.findings import Finding, Outcome, Reason, Verdict
from losslint.registry import rules
from losslint.runtime import bench as benches
from losslint.runtime import slicing
from losslint.runtime.answers import Answer, Question
from losslint.runtime.bench import Bench
from losslint.runtime.figures import is_named
from losslint.runtime.ledger import FigureRow, Portrait, Trial
from losslint.runtime.measures import GRADIENTS, MEASURES, reached
from losslint.runtime.neighbours import LINES, Neighbour, gather, led_over
from losslint.runtime.portrait import portrait
from losslint.runtime.slicing import Program

_SCRIPT = "<script>"


def verify(finding: Finding, text: str, path: Path, device: str = "cpu") -> Verdict:
    """The verdict on one finding of the file `path`, whose source is `text` (of a notebook: the joined cells).

    The file is run by itself, and where that does not confirm the finding, with the files of its project that it rests
    on. `device` is `cpu` or `cuda`. Runs the user's code in this process with everything else that it imports put out
    of reach, but without any protection: the caller isolates, limits time and memory, and turns a `BaseException` that
    escapes (the user's code may raise one) into a crash. Nothing that derives from `Exception` escapes.
    """
    claim = claim_of(finding.code)
    if claim is None:
        return _inconclusive(device, Reason.NOT_MEASURABLE, f"{finding.code} makes no claim that a run can measure")
    alone = _judge(_asked(claim, finding, text, path), device, forks=True)
    if alone.outcome is Outcome.CONFIRMED:
        return alone
    files = _project(path, text, [*led_over(finding, path).values()])
    if len(files) < 2:
        return alone
    together = _judge(_asked(claim, finding, text, path, files), device, forks=True)
    if together.outcome is Outcome.INCONCLUSIVE and alone.outcome is Outcome.INCONCLUSIVE:
        return alone
    return together


def holds(text: str, path: Path, code: str, device: str = "cpu") -> Verdict:
    """The claim of the rule `code` measured on a whole file in which nothing was found, and the files of its project
    that it uses: `refuted` where the loops were reached and the law held, `confirmed` where some loop breaks it, else
    `inconclusive`."""
    claim = claim_of(code)
    if claim is None:
        return _inconclusive(device, Reason.NOT_MEASURABLE, f"{code} makes no claim that a run can measure")
    files = _project(path, text, None)
    return _judge(
        _Case(claim, Question((), None), text, path, (), files if len(files) > 1 else ()), device, forks=False
    )


def portray(finding: Finding, text: str, path: Path, device: str = "cpu") -> Portrait | None:
    """What a picture or a script of the finding shows; None where nothing could be measured."""
    claim = claim_of(finding.code)
    if claim is None:
        return None
    case = _asked(claim, finding, text, path)
    decided = _decided(case, device, forks=True)
    if isinstance(decided, Verdict) or decided[0] is not Outcome.CONFIRMED:
        files = _project(path, text, [*led_over(finding, path).values()])
        other = _asked(claim, finding, text, path, files)
        together = _decided(other, device, forks=True) if len(files) > 1 else decided
        if isinstance(decided, Verdict) or (not isinstance(together, Verdict) and together[0] is Outcome.CONFIRMED):
            case, decided = other, together
    if isinstance(decided, Verdict):
        return None
    _, answer, bench, _ = decided
    return portrait(claim, answer, bench, case.question.lines)


def tried(finding: Finding, text: str, path: Path, device: str = "cpu") -> Trial:
    """What the script `text` of a finding does when it is run in this process, which it changes for good."""
    told = io.StringIO()
    called: set[int] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename == _SCRIPT:
            called.add(frame.f_code.co_firstlineno)

    error = ""
    lines: tuple[int, ...] = ()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(told):
            warnings.simplefilter("ignore")
            code = compile(text, _SCRIPT, "exec")
            sys.setprofile(note)
            exec(code, {"__name__": "__main__"})
    except Exception as broke:
        error = f"{type(broke).__name__}: {broke}"[:200]
        frames = traceback.extract_tb(broke.__traceback__)
        lines = tuple(frame.lineno or 0 for frame in frames if frame.filename == _SCRIPT)
    finally:
        sys.setprofile(None)
    return Trial(told.getvalue(), tuple(sorted(called)), error, lines)


def claim_of(code: str) -> Claim | None:
    """What a rule claims of a run."""
    return next((rule.claim for rule in rules() if rule.code == code), None)


@dataclass(frozen=True, slots=True)
class _Case:
    """What is asked, of which text; `names` are those of the window. `files` are the text's own and the others of its
    project that a run uses; none where it is run by itself."""

    claim: Claim
    question: Question
    text: str
    path: Path
    names: tuple[str, ...]
    files: Sequence[Neighbour] = ()


def _asked(claim: Claim, finding: Finding, text: str, path: Path, files: Sequence[Neighbour] = ()) -> _Case:
    """The question that a finding puts."""
    factor = finding.factor
    unit = factor.unit if factor is not None else None
    words = factor.text if factor is not None else ""
    others = led_over(finding, path)
    places = {file.path: number for number, file in enumerate(files)}
    numbers = {finding.path: 0} | {name: places[other] for name, other in others.items() if other in places}
    marks = benches.marks_of(finding, numbers)
    bodies = [file.tree.body for file in files] or [_body(text)]
    names = slicing.made(ast.Module([statement for body in bodies for statement in body], []), marks)
    question = Question(benches.lines_of(marks), unit, words, marks, names, not others.keys() <= numbers.keys())
    texts = "\n".join(file.text for file in files) or text
    return _Case(claim, question, text, path, benches.window_names(finding, texts), files)


def _body(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError):
        return []


def _project(path: Path, text: str, others: Sequence[Path] | None) -> Sequence[Neighbour]:
    """The file and the others that a run of it may use."""
    try:
        return gather(path, text, others)
    except (SyntaxError, ValueError, RecursionError):
        return ()


def _judge(case: _Case, device: str, *, forks: bool) -> Verdict:
    decided = _decided(case, device, forks=forks)
    return decided if isinstance(decided, Verdict) else _verdict(*decided, device=device)


_Decision = tuple[Outcome, Answer, Bench, Reason | None]


def _decided(case: _Case, device: str, *, forks: bool) -> _Decision | Verdict:
    """The outcome with the answer and the bench that gave it; a verdict where no bench got anywhere.

    A finding is confirmed where its law is broken by its factor under some decision of the conditions that are not
    known, and refuted only where the law held under all that were tried."""
    claim, question = case.claim, case.question
    try:
        program, code = benches.prepare(case.text, case.path, question.lines, case.names, case.files)
    except (SyntaxError, ValueError, RecursionError) as error:
        return _inconclusive(device, Reason.CRASH, f"{type(error).__name__}: {error}")
    measure = MEASURES[claim]
    first: tuple[Answer, Bench] | None = None
    broken: tuple[Answer, Bench] | None = None
    for bench in benches.benches(program, code, torch.device(device), lambda one: reached(claim, one)):
        for one in chain([bench], bench.forks()) if forks else [bench]:
            answer = measure(one, question)
            right = question.unit is not None and question.unit.is_one
            if answer.reason is None and answer.matches and (answer.broken or right):
                return Outcome.CONFIRMED, answer, one, None
            if answer.reason is None and answer.broken:
                broken = broken or (answer, one)
            if first is None or (first[0].reason is not None and answer.reason is None):
                first = (answer, one)
        if forks and first is not None and first[0].reason is None:
            break
    if first is None:
        return _unreached(program, code, device)
    answer, bench = broken or first
    if answer.reason is not None:
        return Outcome.INCONCLUSIVE, answer, bench, None
    if broken is not None:
        return Outcome.INCONCLUSIVE, answer, bench, Reason.UNMODELLED_SCALING
    if bench.base.doubts if claim.name.startswith("FIGURE") else bench.base.taints:
        return Outcome.INCONCLUSIVE, answer, bench, Reason.STUB_GAP
    unseen = _unseen(claim, question, answer, bench) if question.lines else ""
    if unseen:
        return Outcome.INCONCLUSIVE, replace(answer, detail=unseen), bench, Reason.NOT_REACHED
    return Outcome.REFUTED, answer, bench, None


def _unseen(claim: Claim, question: Question, answer: Answer, bench: Bench) -> str:
    """Why a law that holds does not take the finding back: what was measured is not what the finding speaks of."""
    if question.elsewhere:
        return "part of what the finding rests on lies in other files, which are out of reach"
    own = question.lines[0]
    if own in bench.program.checked and own not in bench.base.passed:
        return "the line of the finding was not run"
    if claim.name.startswith("FIGURE") and not _is_its_own(answer.figure, question):
        return "no figure on the lines of the finding was read"
    if question.unit is not None and question.unit.window and claim in GRADIENTS:
        steps = benches.steady(bench.base)
        if not steps or len(steps[0].fresh) != bench.settings.shape.window:
            return "the loop's window is not the one of the world"
    return ""


def _is_its_own(figure: FigureRow | None, question: Question) -> bool:
    """Whether a figure is the one that a finding is about, and not one that its trail only leads over."""
    if figure is None:
        return False
    own = question.marks[0]
    if own.start_line <= figure.line <= own.end_line:
        return True
    return figure.line < LINES and is_named(figure, question)


def _verdict(outcome: Outcome, answer: Answer, bench: Bench, reason: Reason | None, *, device: str) -> Verdict:
    shape = bench.settings.shape
    inconclusive = outcome is Outcome.INCONCLUSIVE
    assumes = list(bench.base.assumes)
    if device == "cpu" and any(step.through_scaler for step in bench.base.steps):
        assumes.append("the CPU's GradScaler stands in for the CUDA one")
    for key, taken in bench.settings.forced:
        place = bench.program.places[key]
        assumes.append(f"`{place.text}` ({bench.program.line_name(place.line)}) is {str(taken).lower()}")
    detail = answer.detail
    if inconclusive and not detail:
        detail = f"measured {answer.measured:g}" if answer.measured is not None else "; ".join(bench.base.gaps[:2])
        if answer.predicted is not None and answer.measured is not None:
            detail += f", predicted {answer.predicted:g}"
    return Verdict(
        outcome,
        answer.measured,
        answer.predicted,
        f"{shape.batches} batches of {shape.batch_size}, windows of {shape.window}",
        device,
        (answer.reason or reason) if inconclusive else None,
        detail,
        tuple(assumes),
    )


def _unreached(program: Program, code: CodeType, device: str) -> Verdict:
    """Why no entry gets anywhere: what stopped the first ones."""
    details = []
    for entry in program.entries[:3]:
        bench = Bench(program, code, entry, torch.device(device))
        ledger = bench.base
        if ledger.closures:
            return _inconclusive(device, Reason.CLOSURE, "the optimizer's step runs a closure")
        if ledger.failure:
            details.append(f"{entry.name or 'module'}: {ledger.failure}")
        elif ledger.gaps:
            details.append(f"{entry.name or 'module'}: {ledger.gaps[0]}")
    reason = Reason.STUB_GAP if details else Reason.NOT_REACHED
    return _inconclusive(device, reason, "; ".join(details) or "the code does not get to what is claimed")


def _inconclusive(device: str, reason: Reason, detail: str) -> Verdict:
    return Verdict(Outcome.INCONCLUSIVE, None, None, "", device, reason, detail)
