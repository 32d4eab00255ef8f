"""Forked workers: each is handed one piece of work after the other, and one that dies loses only its piece."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

Result = TypeVar("Result")


@dataclass(slots=True)
class _Worker:
    """A forked process, the parent's end of its pipe, and the piece of work it is at."""

    process: ForkProcess
    pipe: Connection[Any, Any]
    index: int


@dataclass(slots=True)
class Workers(Generic[Result]):
    """`work` is run in forked processes, which see everything the parent had imported and read.

    Its result must be picklable. `lost` gives the result for a piece whose worker died, from the process's exit code
    (negative: the signal).
    """

    number: int
    work: Callable[[int], Result]
    lost: Callable[[int, int], Result]

    def run(self, indices: Sequence[int]) -> Iterator[tuple[int, Result]]:
        """The result of each index, in the order in which they end; the first are begun first."""
        from multiprocessing.connection import wait

        waiting = list(reversed(indices))
        workers: list[_Worker] = []
        # what is written but not flushed would come out once per worker
        sys.stdout.flush()
        sys.stderr.flush()
        # pages that the collector does not touch stay shared
        gc.freeze()
        try:
            while waiting and len(workers) < self.number:
                self._start(waiting.pop(), workers)
            while workers:
                ready = wait([worker.pipe for worker in workers])
                for worker in [worker for worker in workers if worker.pipe in ready]:
                    index = worker.index
                    result = self._receive(worker, waiting, workers)
                    yield index, result
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.join()
                worker.pipe.close()
            gc.unfreeze()

    def _start(self, index: int, workers: list[_Worker]) -> None:
        from multiprocessing import get_context

        context = get_context("fork")
        ours, theirs = context.Pipe()
        inherited = [ours, *(worker.pipe for worker in workers)]
        process = context.Process(target=self._serve, args=(theirs, inherited), daemon=True)
        process.start()
        theirs.close()
        ours.send(index)
        workers.append(_Worker(process, ours, index))

    def _receive(self, worker: _Worker, waiting: list[int], workers: list[_Worker]) -> Result:
        """Take a worker's result and hand it the next piece; where it died, start another in its place."""
        try:
            result: Result = worker.pipe.recv()
        except (EOFError, OSError):
            workers.remove(worker)
            worker.process.join()
            worker.pipe.close()
            if waiting:
                self._start(waiting.pop(), workers)
            return self.lost(worker.index, worker.process.exitcode or 0)
        if waiting:
            worker.index = waiting.pop()
            # a worker that died in between is noticed when its result is waited for
            with suppress(OSError):
                worker.pipe.send(worker.index)
        else:
            workers.remove(worker)
            worker.pipe.close()
            worker.process.join()
        return result

    def _serve(self, pipe: Connection[Any, Any], inherited: list[Connection[Any, Any]]) -> None:
        """The worker's side: runs until the parent closes its end, or is gone."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for other in inherited:
            other.close()
        with suppress(EOFError, OSError):
            while True:
                pipe.send(self.work(pipe.recv()))
