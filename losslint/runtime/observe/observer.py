"""The Python API: `with Observer(steps=8) as observer: train()`."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from losslint.runtime.observe import hooks, judge
from losslint.runtime.observe.facts import Fact
from losslint.runtime.observe.gather import gather
from losslint.runtime.observe.patches import Patches
from losslint.runtime.observe.recorder import Recorder, StopObserving
from losslint.runtime.observe.records import Run


class Observer:
    """Watches the training that runs inside the `with` block, and ends it after `steps` optimizer steps.

    Once the block is left, `facts` holds what was wrong, `ledger` one object for each optimizer step with the weight
    of every criterion term in it, `notes` what could not be judged. `steps=None` lets the block run to its end.
    Training is ended by an exception that `except Exception` does not catch; the block swallows it. Everything that
    was hooked is put back, whichever way the block is left. Raises `ValueError` where `steps` is below 1.
    """

    def __init__(self, steps: int | None = 8) -> None:
        if steps is not None and steps < 1:
            raise ValueError(f"`steps` must be at least 1, not {steps}")
        self.recorder = Recorder(steps)
        self.run = Run()
        self.facts: Sequence[Fact] = ()
        self._patches: Patches | None = None

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """One object for each optimizer step, in the order in which they were taken."""
        return [step.to_object() for step in self.run.steps]

    @property
    def notes(self) -> Sequence[str]:
        """What could not be judged, and why."""
        return self.run.notes

    def __enter__(self) -> Observer:
        self._patches = hooks.install(self.recorder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.close(ended=kind is None or (isinstance(error, SystemExit) and not error.code))
        return isinstance(error, StopObserving)

    def close(self, ended: bool) -> None:
        """Take all hooks out and judge what was seen; `ended` where the training came to its own end."""
        if self._patches is None:
            return
        self._patches.restore()
        self._patches = None
        self.run = self.recorder.finish(ended)
        found = judge.facts(self.run, list(self.recorder.events.values()))
        self.facts = sorted(gather(self.recorder, found), key=lambda fact: -fact.severity)
        # the script may have let go of its models
        self.recorder.models.clear()
        self.recorder.windows.clear()
