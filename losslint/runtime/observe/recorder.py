"""From what the hooks see to the ledger: terms, micro-batches, windows, steps."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch

from losslint.findings import Severity
from losslint.runtime.observe import criteria, graph, places, processes
from losslint.runtime.observe.facts import Fact, Place
from losslint.runtime.observe.records import Held, MicroBatch, Run, Step, Term
from losslint.runtime.observe.windows import Window

_FEWEST_RETAINED = 4


class StopObserving(BaseException):
    """Ends the user's script after the last step that is observed; `except Exception` does not catch it."""


class Recorder:
    """Takes what happens, in the order in which it happens, and keeps the ledger of it in `run`."""

    def __init__(self, limit: int | None) -> None:
        self.run = Run()
        self.limit = limit
        self.full = False
        self.swallowed: Callable[[], None] | None = None
        self.events: dict[tuple[str, Place | None], Fact] = {}
        self.windows: dict[int, Window] = {}
        self.models: set[torch.nn.Module] = set()
        self.fired: list[Term] = []
        self.depth = 0
        self.batch: int | None = None
        self.loader: int | None = None
        self.pending_scale: float | None = None
        self.shared: tuple[Any, int, int] | None = None
        self._terms: dict[int, Term] = {}
        self._alive: list[tuple[weakref.ref[graph.Mark], int]] = []
        self._counted = 0
        self._stopped = False

    # ---------------------------------------------------------------- facts that are complete at once

    def fact(
        self, name: str, code: str, severity: Severity, message: str, place: Place | None, factor: float | None = None
    ) -> None:
        """Note a fact; the same one at the same place is counted."""
        known = self.events.get((name, place))
        seen = 1 if known is None else known.seen + 1
        self.events[name, place] = Fact(name, code, severity, message, place, factor, seen, seen)

    def note(self, text: str) -> None:
        """Note once what the user should know of the limits of this run."""
        if text not in self.run.notes:
            self.run.notes.append(text)

    def breathe(self) -> None:
        """Stop the script where all steps have been seen."""
        if not self.full:
            return
        if self._stopped and self.swallowed is not None:
            self.swallowed()
        self._stopped = True
        raise StopObserving

    # ---------------------------------------------------------------- criteria

    def criterion(self, name: str, call: dict[str, Any], output: torch.Tensor) -> None:
        """A loss function returned `output`, which takes part in a graph."""
        reduction = criteria.reduction(call)
        value = float(output.detach().double().sum())
        term = Term(name, reduction, criteria.items(name, call), value, places.user_place(), places.site())
        self._counted += 1
        if output.grad_fn is None:
            return
        mark = graph.Mark(self._counted)
        metadata: Any = output.grad_fn.metadata
        metadata[graph.KEY] = mark
        self._terms[mark.number] = term
        self._alive.append((weakref.ref(mark), len(self.run.micro_batches)))
        output.register_hook(lambda gradient: self._arrived(term, gradient))  # type: ignore[no-untyped-call]

    def _arrived(self, term: Term, gradient: torch.Tensor) -> None:
        if self.depth:
            term.coefficient = float(gradient.detach().double().sum())
            self.fired.append(term)

    # ---------------------------------------------------------------- backward

    def backward_begins(self, roots: Any) -> None:
        self.depth += 1
        if self.depth > 1:
            return
        self.breathe()
        self.fired = []
        for window in self.windows.values():
            window.notice()
            window.notice_rescaling()
            window.remember()
        for root in roots if isinstance(roots, (list, tuple)) else (roots,):
            if isinstance(root, torch.Tensor) and root.grad_fn is not None:
                self._read_graph(root)

    def _read_graph(self, root: torch.Tensor) -> None:
        reached = graph.reached_from(root)
        for part in reached:
            term = self._terms.get(part.mark.number) if part.mark is not None else None
            if term is not None:
                term.divisors = part.divisors
                # the AMP scale is accounted for apart
                term.multipliers = tuple(value for value in part.multipliers if value != self.pending_scale)
        if any(part.mark is not None for part in reached):
            return
        # no criterion of torch's: the reductions that the user wrote by hand stand for it
        site, place = places.site(), places.user_place()
        for number, part in enumerate(reached):
            term = Term(
                f"{part.reduction} by hand",
                part.reduction,
                part.items,
                None,
                place,
                hash((site, number)),
                None,
                part.divisors,
                part.multipliers,
            )
            part.node.register_prehook(lambda gradients, term=term: self._arrived(term, gradients[0]))

    def backward_ended(self) -> None:
        self.depth -= 1
        if self.depth:
            return
        micro = MicroBatch(
            len(self.run.micro_batches),
            places.user_place(),
            self.fired,
            self.batch,
            self.pending_scale,
            places.callers(),
            self.loader,
        )
        self.fired, self.pending_scale = [], None
        self.run.micro_batches.append(micro)
        for window in self.windows.values():
            if window.contributed():
                window.held.append(Held(micro))
            window.remember()
        for term in micro.terms:
            if term.value is not None and not _finite(term.value):
                self.fact(
                    "non-finite-loss", "", Severity.ERROR, f"`{term.criterion}` returned {term.value}", term.place
                )

    # ---------------------------------------------------------------- optimizers

    def meet(self, optimizer: torch.optim.Optimizer) -> Window:
        """The window of an optimizer, which is new where it was not seen before."""
        window = self.windows.get(id(optimizer))
        if window is None:
            window = self.windows[id(optimizer)] = Window(optimizer, len(self.windows))
            window.remember()
        return window

    def zeroed(self, place: Place | None) -> None:
        for window in self.windows.values():
            window.notice(place)

    def step_begins(self, optimizer: torch.optim.Optimizer) -> None:
        """All gradients of a step are there."""
        window = self.meet(optimizer)
        window.notice()
        window.notice_rescaling()
        self._note_unused(window)
        scale = getattr(optimizer, "grad_scale", None)
        if scale is not None:
            for held in window.held:
                held.factor /= float(scale)
                held.unscaled += 1
        doubt = window.doubt or ("a hook on a parameter changes its gradient" if window.hooked() else "")
        if self.depth:
            doubt = "the optimizer steps inside `backward`"
        self.run.steps.append(
            Step(
                window.number,
                window.kind,
                window.steps,
                places.user_place(),
                [held for held in window.held if not held.consumed],
                [held for held in window.held if held.consumed],
                window.dropped,
                window.zeroed_at,
                doubt,
                self._checksum(window),
            )
        )
        window.dropped, window.doubt = [], ""

    def _checksum(self, window: Window) -> list[float] | None:
        if not processes.several():
            return None
        if self.shared is None:
            self.shared = (processes.store(), *processes.rank())
        return processes.checksum(window.parameters())

    def step_ended(self, optimizer: torch.optim.Optimizer) -> None:
        window = self.meet(optimizer)
        # replaced, not changed: the ledger's row keeps what was true at the step
        window.held = [Held(held.micro, held.factor, held.unscaled, True, held.leaked) for held in window.held]
        window.steps += 1
        window.remember()
        self._note_retained()
        if self.limit is not None and window.steps >= self.limit:
            self.full = True

    def step_skipped(self, optimizer: torch.optim.Optimizer) -> None:
        """A scaler left the step out, for gradients that are not finite."""
        window = self.meet(optimizer)
        for held in window.held:
            held.consumed = True

    def unscaled(self, optimizer: torch.optim.Optimizer, scale: float) -> None:
        window = self.meet(optimizer)
        for held in window.held:
            held.factor /= scale
            held.unscaled += 1
        window.remember()

    def touched(self) -> None:
        """Gradients were changed by something that is understood and does not count, such as clipping."""
        for window in self.windows.values():
            window.remember()

    def clipping(self, parameters: Iterable[torch.Tensor]) -> None:
        """Gradients are about to be clipped."""
        clipped = {id(parameter) for parameter in parameters}
        for window in self.windows.values():
            window.notice()
            window.notice_rescaling()
            if not any(id(parameter) in clipped for parameter in window.parameters()):
                continue
            fresh = [held for held in window.held if not held.consumed]
            scaled = [held for held in fresh if held.micro.scale is not None and not held.unscaled]
            if scaled and scaled[-1].micro.scale != 1:
                scale = scaled[-1].micro.scale
                self.fact(
                    "clip-before-unscale",
                    "LL303",
                    Severity.ERROR,
                    f"gradients are clipped while they still carry the AMP scale: their norm is {scale:g}× too large",
                    places.user_place(),
                    scale,
                )
            if not fresh and self.run.micro_batches:
                self.fact(
                    "misplaced-gradient-clipping",
                    "LL404",
                    Severity.WARNING,
                    "gradients are clipped when no backward has run since the last step or zeroing",
                    places.user_place(),
                )

    def pass_begins(self, loader: int) -> None:
        """A loader is iterated anew: what waits for a step from its last pass has leaked."""
        for window in self.windows.values():
            for held in window.held:
                held.leaked |= held.micro.loader == loader and not held.consumed

    # ---------------------------------------------------------------- the end

    def finish(self, ended: bool) -> Run:
        """The ledger, once the script is over; `ended` where it ran to its own end."""
        self.run.ended = ended
        for window in self.windows.values():
            window.notice()
            self.run.left += [held.micro for held in window.held if not held.consumed] + window.dropped
        self._judge_parameters()
        return self.run

    def _note_retained(self) -> None:
        used = len(self.run.micro_batches)
        # a micro-batch may have several criteria: it is alive while any of their graphs is
        alive = len({index for mark, index in self._alive if index < used and mark() is not None})
        if alive >= max(_FEWEST_RETAINED, 0.75 * used) and self.run.micro_batches[-1].terms:
            place = self.run.micro_batches[-1].terms[0].place
            self.fact(
                "graph-retained-by-accumulator",
                "LL210",
                Severity.WARNING,
                f"the graphs of {alive} of {used} micro-batches are still alive after the step: something keeps the "
                "loss itself, such as `total += loss` without `.item()` or `.detach()`",
                place,
            )

    def _note_unused(self, window: Window) -> None:
        unused = {id(p): p for p in window.parameters() if p.requires_grad and p.grad is None}
        if window.never_used is None:
            window.never_used = unused
        else:
            window.never_used = {key: p for key, p in window.never_used.items() if key in unused}

    def _judge_parameters(self) -> None:
        names = {id(p): name for model in list(self.models) for name, p in model.named_parameters()}
        owned = {id(p) for window in self.windows.values() for p in window.parameters()}
        orphans = [
            name
            for model in list(self.models)
            for name, p in model.named_parameters()
            if p.grad is not None and p.requires_grad and id(p) not in owned
        ]
        for window in self.windows.values():
            if not window.never_used or len(window.never_used) == sum(1 for _ in window.parameters()):
                continue
            unused = [names.get(key, "?") for key in window.never_used]
            stale = bool(orphans) and all(name == "?" for name in unused)
            place = next((step.place for step in self.run.steps if step.optimizer == window.number), None)
            if stale:
                self.fact(
                    "stale-optimizer-parameters",
                    "LL802",
                    Severity.ERROR,
                    f"{len(unused)} parameters that `{window.kind}` holds never got a gradient and belong to no model "
                    f"that ran, while {len(orphans)} parameters of the model ({_some(orphans)}) are in no optimizer",
                    place,
                )
            else:
                self.fact(
                    "parameters-without-gradient",
                    "",
                    Severity.INFO,
                    f"{len(unused)} parameters that `{window.kind}` holds never got a gradient: {_some(unused)}",
                    place,
                )
        if orphans and self.run.steps:
            self.fact(
                "parameters-not-in-optimizer",
                "",
                Severity.INFO,
                f"{len(orphans)} parameters get gradients and are in no optimizer: {_some(orphans)}",
                None,
            )


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:4])
    return f"{shown}, …" if len(names) > 4 else shown


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")
