"""The lint process's side of the verifier: starts the server, hands it findings, and reads what comes back.

Nothing here imports torch. What a slice does to its own process or to the server costs that slice alone.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import losslint
from losslint.findings import Finding, Outcome, Reason, Verdict
from losslint.notebooks import Notebook
from losslint.runtime.ledger import Portrait, Trial
from losslint.runtime.protocol import (
    Failure,
    Greeting,
    ProtocolError,
    decode,
    decode_verdict,
    dump,
    encode,
    parse,
)

Value = TypeVar("Value")

JUDGE = "losslint.runtime.judge"
"""The module that judges; its functions take a finding, the text and path of its file, and a device."""
SECONDS_OF_GRACE = 90.0
"""How long past a slice's time the server may be silent before it is taken for dead."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); import losslint.runtime.server as s; s.main(sys.argv[1])"
)
_PASSED_ON = (
    "PATH PYTHONHOME VIRTUAL_ENV LD_LIBRARY_PATH DYLD_LIBRARY_PATH SYSTEMROOT LANG LC_ALL LC_CTYPE CUDA_HOME "
    "CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES HIP_VISIBLE_DEVICES"
).split()
"""What the server's environment takes from the user's; tokens and keys are none of it."""
_READ = 1 << 16


class VerifierError(Exception):
    """The verifier cannot work here; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Job:
    """A finding, and the text and the absolute path of the file that it lies in.

    `notebook` is set where the text was joined from one; the finding then counts the lines of the text.
    """

    finding: Finding
    text: str
    path: Path
    notebook: Notebook | None = None


@dataclass(slots=True)
class Verifier:
    """A server that stays up while the context is open; `device` is `auto`, `cuda` or `cpu`, `timeout` in seconds.

    `jobs` is how many slices run at a time, 0 for what fits the device.
    `judge` names the module whose `verify` and `portray` the server calls. Entering starts the server, which takes
    seconds, and raises `VerifierError` where that does not work.
    """

    device: str = "auto"
    timeout: float = 10.0
    jobs: int = 0
    judge: str = JUDGE
    _greeting: Greeting | None = None
    _scratch: str = ""
    _server: _Server | None = None

    def __enter__(self) -> Verifier:
        if not hasattr(os, "fork"):
            raise VerifierError("verifying needs a system that can fork processes, which this one cannot")
        if find_spec("torch") is None:
            raise VerifierError("verifying needs torch: `pip install 'losslint[verify]'`")
        self._scratch = tempfile.mkdtemp(prefix="losslint-")
        try:
            self._server = self._start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._remove()

    @property
    def greeting(self) -> Greeting:
        """What the server said of torch, the device and the isolation."""
        assert self._greeting is not None
        return self._greeting

    def verify(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Verdict]]:
        """The verdict on each job by its index, in the order in which they are reached."""
        for index, result in self._results("verify", jobs, decode_verdict):
            yield index, self._inconclusive(result) if isinstance(result, Failure) else result

    def portray(self, job: Job) -> Portrait | Failure | None:
        """What a picture or a script of one finding shows; None where nothing could be measured."""
        ((_, portrait),) = self._results("portray", [job], _portrait)
        return portrait

    def try_script(self, job: Job) -> Trial | Failure:
        """What the script of a finding does, which is the job's text."""
        ((_, trial),) = self._results("tried", [job], lambda value: decode(Trial, value))
        return trial

    def _inconclusive(self, failure: Failure) -> Verdict:
        return Verdict(
            Outcome.INCONCLUSIVE, None, None, "", self.greeting.device, reason=failure.reason, detail=failure.detail
        )

    def _results(
        self, kind: str, jobs: Sequence[Job], read: Callable[[object], Value]
    ) -> Iterator[tuple[int, Value | Failure]]:
        waiting = deque(range(len(jobs)))
        sent: set[int] = set()
        suspects: set[int] = set()
        while waiting or sent:
            server = self._running()
            # what was under way when a server died is run again, one by one: that shows which of it was to blame
            at_once = 1 if suspects else self.greeting.jobs
            try:
                while waiting and len(sent) < at_once:
                    server.send({"id": waiting[0], "kind": kind, **_request(jobs[waiting[0]])})
                    sent.add(waiting.popleft())
                message = server.receive(self.timeout + SECONDS_OF_GRACE)
            except _ServerLostError:
                server.stop()
                self._server = None
                if len(sent) == 1:
                    (index,) = sent
                    suspects.discard(index)
                    yield index, Failure(Reason.CRASH, "it ended the verifier's server")
                else:
                    suspects |= sent
                    waiting.extendleft(sorted(sent, reverse=True))
                sent.clear()
                continue
            index = message["id"]
            sent.discard(index)
            suspects.discard(index)
            yield index, _result(message, read)

    def _running(self) -> _Server:
        if self._server is None:
            self._server = self._start()
        return self._server

    def _start(self) -> _Server:
        server = _Server.start(self.judge, self.device, self.jobs, self.timeout, self._scratch)
        self._greeting = server.greeting
        return server

    def _remove(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)


class _ServerLostError(Exception):
    """The server has ended, or hangs."""


@dataclass(slots=True)
class _Server:
    """The server's process, and this process's ends of the pipes to it."""

    process: subprocess.Popen[bytes]
    requests: int
    results: int
    log: Path
    greeting: Greeting = field(init=False)
    received: bytes = b""
    runners: set[int] = field(default_factory=set)

    @classmethod
    def start(cls, judge: str, device: str, jobs: int, timeout: float, scratch: str) -> _Server:
        """Start a server and wait for its greeting; raises `VerifierError`."""
        theirs_in, requests = os.pipe()
        results, theirs_out = os.pipe()
        settings = {
            "judge": judge,
            "device": device,
            "jobs": jobs,
            "timeout": timeout,
            "scratch": scratch,
            "requests": theirs_in,
            "results": theirs_out,
        }
        log = Path(scratch, "server.log")
        with open(log, "wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(settings), json.dumps(_search_path())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=scratch,
                env=_environment(scratch),
                pass_fds=(theirs_in, theirs_out),
                start_new_session=True,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        server = cls(process, requests, results, log)
        try:
            message = server.receive(None)
            if "error" in message:
                raise VerifierError(str(message["error"]))
            server.greeting = decode(Greeting, message["greeting"])
        except (_ServerLostError, ProtocolError) as error:
            lines = log.read_text(errors="replace").split("\n")
            said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
            server.stop()
            raise VerifierError(f"the verifier's server does not start: {said}") from error
        except BaseException:
            server.stop()
            raise
        return server

    def send(self, message: dict[str, Any]) -> None:
        """Send a request; raises `_ServerLostError`."""
        data = dump(message)
        try:
            while data:
                data = data[os.write(self.requests, data) :]
        except OSError as error:
            raise _ServerLostError from error

    def receive(self, patience: float | None) -> dict[str, Any]:
        """The next message; raises `_ServerLostError` where none comes within `patience` seconds."""
        deadline = None if patience is None else time.monotonic() + patience
        while b"\n" not in self.received:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.results], [], [], left)
            data = os.read(self.results, _READ) if ready else b""
            if not data:
                raise _ServerLostError
            self.received += data
        line, _, self.received = self.received.partition(b"\n")
        message = parse(line)
        if "runners" in message:
            self.runners = set(message["runners"])
            return self.receive(patience)
        return message

    def stop(self) -> None:
        """Have the server end what it started, and itself."""
        os.close(self.requests)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.results)
        if self.process.returncode:
            # it had no time to end them, and not every system does it in its place
            for runner in self.runners:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(runner, signal.SIGKILL)


def _request(job: Job) -> dict[str, Any]:
    return {"finding": encode(job.finding), "text": job.text, "path": os.fspath(job.path)}


def _result(message: dict[str, Any], read: Callable[[object], Value]) -> Value | Failure:
    try:
        if "failure" in message:
            return decode(Failure, message["failure"])
        return read(message.get("value"))
    except ProtocolError as error:
        return Failure(Reason.CRASH, f"its result cannot be read: {error}")


def _portrait(value: object) -> Portrait | None:
    return None if value is None else decode(Portrait, value)


def _search_path() -> list[str]:
    """Where the server finds modules: not in the current folder, where a `torch.py` of the user's may lie."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(losslint.__file__)))
    here = os.getcwd()
    return [*(path for path in map(os.path.abspath, filter(None, sys.path)) if path != here), own]


def _environment(scratch: str) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    folders = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME"), scratch)
    return {
        **passed_on,
        **folders,
        "PYTHONWARNINGS": "ignore",
        # a matrix product that is the same in every run
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "HF_HUB_OFFLINE": "1",
        "TORCHDYNAMO_DISABLE": "1",
        "WANDB_MODE": "disabled",
    }
