"""The analysing process, seen from the server: started when first asked, ended when it hangs, started again."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

import losslint
from losslint.server.analysis import HEADER, Findings, Question
from losslint.sightings import NamedUnit

LONGEST = 60.0
"""Seconds that an answer may take: an analysis is bounded, and what takes longer hangs."""


class AnalysisError(Exception):
    """The analysing process died over a question or was ended; the next question starts another one."""


class Analyst:
    """Asks the analysing process, one question after the other."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._process: Process | None = None
        self._lock = asyncio.Lock()

    async def findings(self, question: Question) -> Findings:
        """What is wrong in the open files. Raises `AnalysisError`."""
        found: Findings = await self._ask(question)
        return found

    async def units(self, question: Question) -> tuple[NamedUnit, ...]:
        """The units of the losses that the open files name. Raises `AnalysisError`."""
        found: tuple[NamedUnit, ...] = await self._ask(question)
        return found

    def end(self) -> None:
        """End the process; a question that waits for it gets an error."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        self._process = None

    async def _ask(self, question: Question) -> Any:
        # a question that nobody waits for any more has been sent already: its answer must be read before the next
        return await asyncio.shield(asyncio.ensure_future(self._exchange(question)))

    async def _exchange(self, question: Question) -> Any:
        async with self._lock:
            process = await self._started()
            try:
                return await asyncio.wait_for(_exchange(process, question), LONGEST)
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                code = await process.wait()
                self._process = None
                raise AnalysisError(f"the analysing process ended ({_words(code)})") from error
            except (TimeoutError, asyncio.TimeoutError) as error:
                self.end()
                raise AnalysisError(f"the analysis took longer than {LONGEST:.0f} s and was ended") from error
            except Exception as error:
                # an answer that cannot be read: what would follow it could not be either
                self.end()
                raise AnalysisError(f"the analysing process cannot be understood ({error})") from error

    async def _started(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            # modules are looked for in the working directory first: it must be losslint's, never the user's
            home = Path(losslint.__file__).resolve().parent.parent
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "losslint.server", os.getcwd()), cwd=home, stdin=PIPE, stdout=PIPE
            )
            self._log(f"analysing process {self._process.pid} started")
        return self._process


async def _exchange(process: Process, question: Question) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    data = pickle.dumps(question)
    process.stdin.write(HEADER.pack(len(data)) + data)
    await process.stdin.drain()
    (size,) = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
    return pickle.loads(await process.stdout.readexactly(size))


def _words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
