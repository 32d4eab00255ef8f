"""The verifier's server: imports torch once, and forks the processes that run slices.

It never runs a slice itself. On the CPU each slice has a process of its own. On CUDA, where a start costs seconds, a
process takes many slices, and is replaced when one of them breaks it; it is forked before CUDA is initialised.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import importlib
import os
import select
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex
from typing import Any

from losslint.findings import Finding, Reason
from losslint.registry import rules
from losslint.runtime import jail
from losslint.runtime.protocol import (
    MAX_LINE,
    Failure,
    Greeting,
    ProtocolError,
    decode,
    dump,
    encode,
    parse,
)

MEMORY = 4 << 30
"""Bytes that a slice may take beyond what the server has; on CUDA, which reserves far more, there is no limit."""
MOST_JOBS = 4
SECONDS_TO_START = 60.0
"""How long the first runner may take to say what it found, and on CUDA the first slice of each on top of its time."""
HOMES = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME")
"""The variables that say where files are kept."""
_READ = 1 << 16


class _StartError(Exception):
    """No runner can be started."""


Judge = Callable[[Finding, str, Path, str], object]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server is told at its start. `device` is `auto`, `cuda` or `cpu`, `jobs` 0 where nobody says.

    The last two are file descriptors.
    """

    judge: str
    device: str
    jobs: int
    timeout: float
    scratch: str
    requests: int
    results: int


@dataclass(slots=True)
class _Task:
    """A request of the lint process under way: its token tells its result from what the slice may print."""

    request: Mapping[str, Any]
    deadline: float
    token: str = field(default_factory=token_hex)


@dataclass(slots=True)
class _Runner:
    """A forked process in a session of its own, this process's ends of its pipes, and what it is at."""

    process: int
    requests: int
    results: int
    scratch: Path
    task: _Task | None = None
    received: bytes = b""
    is_warm: bool = False


def main(text: str) -> None:
    """Serve until the lint process closes its end, or is gone; `text` holds the settings, as JSON."""
    settings = decode(Settings, parse(text.encode()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        import torch

        judge = importlib.import_module(settings.judge)
    except Exception as error:
        _send(settings.results, {"error": f"torch cannot be imported: {type(error).__name__}: {error}"})
        return
    # what every judgement needs is there before the first process is forked
    rules()
    torch.set_num_threads(1)
    jail.adopt_orphans()
    # pages that the collector does not touch stay shared
    gc.freeze()
    try:
        server = _greeted(settings, judge)
        server.serve()
        server.close()
    except _StartError as error:
        _send(settings.results, {"error": str(error)})


def _greeted(settings: Settings, judge: Any) -> _Server:
    """A server for the device that was asked for, or for the one that there is; it has said so."""
    wanted = settings.device
    if wanted == "auto":
        wanted = "cuda" if _may_have_cuda() else "cpu"
    server = _Server(settings, judge, wanted)
    greeting = server.greet()
    if greeting.device != wanted:
        server.close()
        if settings.device == "cuda":
            raise _StartError(f"torch {greeting.torch} finds no CUDA device")
        server = _Server(settings, judge, greeting.device)
        greeting = server.greet()
    _send(settings.results, {"greeting": encode(greeting)})
    return server


def _may_have_cuda() -> bool:
    """Whether this build of torch has CUDA; asking for the devices themselves would initialise it."""
    import torch

    return bool(torch.version.cuda or torch.version.hip)


@dataclass(slots=True)
class _Server:
    """Hands requests to runners, and what they answer to the lint process."""

    settings: Settings
    judge: Any
    device: str
    runners: list[_Runner] = field(default_factory=list)
    waiting: deque[Mapping[str, Any]] = field(default_factory=deque)
    started: int = 0

    @property
    def keeps_runners(self) -> bool:
        """Whether a process takes more than one slice."""
        return self.device == "cuda"

    @property
    def jobs(self) -> int:
        """How many slices run at a time: where nobody says, one on a GPU, and on the CPU what there are cores for."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.settings.jobs or (1 if self.device == "cuda" else min(cores, MOST_JOBS))

    def greet(self) -> Greeting:
        """What is to be said of the device and the isolation, as a first runner finds them."""
        runner = self._start()
        self._assign(runner, {"kind": "greet"})
        message = None
        while message is None:
            ready, _, _ = select.select([runner.results], [], [], SECONDS_TO_START)
            message = self._receive(runner) if ready else _failure(Reason.TIMEOUT, "it did not start in time")
        if "value" not in message:
            self._end(runner)
            raise _StartError(f"a process for slices cannot be started: {message['failure']['detail']}")
        runner.task = None
        return replace(decode(Greeting, message["value"]), jobs=self.jobs)

    def serve(self) -> None:
        """Answer requests until their pipe is closed."""
        requests = self.settings.requests
        pending = b""
        while True:
            self._dispatch()
            busy = [runner for runner in self.runners if runner.task is not None]
            patience = min((self._deadline(runner) for runner in busy), default=None)
            timeout = None if patience is None else max(0.0, patience - time.monotonic())
            ready, _, _ = select.select([requests, *(runner.results for runner in self.runners)], [], [], timeout)
            if requests in ready:
                data = os.read(requests, _READ)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                self.waiting.extend(map(parse, lines))
            for runner in [runner for runner in self.runners if runner.results in ready]:
                message = self._receive(runner)
                if message is not None:
                    self._answer(runner, message)
            for runner in [runner for runner in busy if runner.task is not None]:
                if self._deadline(runner) <= time.monotonic():
                    seconds = f"{self.settings.timeout:g} s"
                    self._answer(runner, _failure(Reason.TIMEOUT, f"no result after {seconds}"), broken=True)

    def close(self) -> None:
        """End every process that was started here."""
        for runner in list(self.runners):
            self._end(runner)

    def _deadline(self, runner: _Runner) -> float:
        assert runner.task is not None
        return runner.task.deadline + (0.0 if runner.is_warm or not self.keeps_runners else SECONDS_TO_START)

    def _dispatch(self) -> None:
        while self.waiting:
            idle = next((runner for runner in self.runners if runner.task is None), None)
            if idle is None:
                if len(self.runners) >= self.jobs:
                    return
                idle = self._start()
            self._assign(idle, self.waiting.popleft())

    def _assign(self, runner: _Runner, request: Mapping[str, Any]) -> None:
        task = _Task(request, time.monotonic() + self.settings.timeout)
        runner.task = task
        # a runner that has died in between is noticed when its result is waited for
        with contextlib.suppress(OSError):
            _send(runner.requests, {**request, "token": task.token})

    def _receive(self, runner: _Runner) -> Mapping[str, Any] | None:
        """The runner's result, once there is one. What else its pipe holds, a slice has written."""
        assert runner.task is not None or self.keeps_runners
        data = b""
        with contextlib.suppress(OSError):
            data = os.read(runner.results, _READ)
        if not data:
            return _failure(Reason.CRASH, _end_in_words(runner.process))
        *lines, runner.received = (runner.received + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ProtocolError):
                message = parse(line)
                if runner.task is not None and message.pop("token", None) == runner.task.token:
                    return message
        if len(runner.received) > MAX_LINE:
            return _failure(Reason.CRASH, "it wrote without end to where its result was expected")
        return None

    def _answer(self, runner: _Runner, message: Mapping[str, Any], broken: bool = False) -> None:
        """Pass the result of a runner's task on, and make sure that nothing of the slice is left."""
        task, runner.task = runner.task, None
        runner.is_warm = True
        if broken or "failure" in message or not self.keeps_runners:
            self._end(runner)
        else:
            self._kill_orphans()
        if task is not None:
            _send(self.settings.results, {"id": task.request["id"], **message})

    def _start(self) -> _Runner:
        self.started += 1
        scratch = Path(self.settings.scratch, str(self.started))
        scratch.mkdir(parents=True, exist_ok=True)
        requests, requests_in = os.pipe()
        results_out, results = os.pipe()
        server = os.getpid()
        process = os.fork()
        if process == 0:
            code = 1
            try:
                os.setsid()
                jail.die_with_parent(server)
                _close_all_but(requests, results)
                _Slices(self.judge, self.device, scratch, requests, results, self.settings.timeout).serve()
                code = 0
            finally:
                os._exit(code)
        os.close(requests)
        os.close(results)
        runner = _Runner(process, requests_in, results_out, scratch)
        self.runners.append(runner)
        self._name_runners()
        return runner

    def _end(self, runner: _Runner) -> None:
        self.runners.remove(runner)
        os.close(runner.requests)
        os.close(runner.results)
        jail.kill_group(runner.process)
        self._kill_orphans()
        shutil.rmtree(runner.scratch, ignore_errors=True)
        self._name_runners()

    def _name_runners(self) -> None:
        """Tell the lint process what it has to end, should this process not be there to do it."""
        _send(self.settings.results, {"runners": [runner.process for runner in self.runners]})

    def _kill_orphans(self) -> None:
        jail.kill_orphans(frozenset(runner.process for runner in self.runners))


class _Slices:
    """The runner's side. What a slice could change (a function of `os`, `sys.stdout`) is held here before it runs."""

    def __init__(self, judge: Any, device: str, scratch: Path, requests: int, results: int, timeout: float) -> None:
        self.judge = judge
        self.device = device
        self.requests = requests
        self.results = results
        self.timeout = timeout
        self.scratch = scratch
        self._write = os.write

    def serve(self) -> None:
        """Answer one request after the other, until the server closes its end."""
        cuda = self.device == "cuda"
        devices = (*glob.glob("/dev/nvidia*"), "/dev/kfd", "/dev/dri") if cuda else ()
        _save_through_python()
        # a process that takes many slices has no limits for one
        memory, seconds = (None, None) if cuda else (MEMORY, self.timeout)
        os.environ.update(dict.fromkeys(HOMES, str(self.scratch)))
        tempfile.tempdir = None
        level = jail.enter(self.scratch, memory, seconds, devices)
        with open(self.requests, "rb", closefd=False) as lines:
            for line in lines:
                request = parse(line)
                answer = self._greet(level) if request["kind"] == "greet" else self._run(request)
                self._reply({**answer, "token": request["token"]})

    def _greet(self, level: jail.Level) -> dict[str, Any]:
        import torch

        if self.device == "cuda" and torch.cuda.is_available():
            dtypes = ["float32", "float16", *(["bfloat16"] if torch.cuda.is_bf16_supported() else [])]
            hardware = torch.cuda.get_device_name(0)
            return _value(Greeting(torch.__version__, "cuda", hardware, tuple(dtypes), str(level), 1))
        return _value(Greeting(torch.__version__, "cpu", "cpu", ("float32", "bfloat16"), str(level), 1))

    def _run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        function: Judge = getattr(self.judge, request["kind"])
        try:
            finding = decode(Finding, request["finding"])
            return _value(function(finding, request["text"], Path(request["path"]), self.device))
        except MemoryError:
            return _failure(Reason.CRASH, "it ran out of memory")
        except SystemExit:
            return _failure(Reason.CRASH, "it ended the process (`SystemExit`)")
        except BaseException as error:
            return _failure(Reason.CRASH, f"{type(error).__name__}: {error}"[:500])

    def _reply(self, message: Mapping[str, Any]) -> None:
        # whatever a slice wrote here before ends with a line of its own
        data = b"\n" + dump(message)
        while data:
            data = data[self._write(self.results, data) :]


def _value(value: object) -> dict[str, Any]:
    return {"value": encode(value)}


def _failure(reason: Reason, detail: str) -> dict[str, Any]:
    return {"failure": encode(Failure(reason, detail))}


def _end_in_words(process: int) -> str:
    """How a process that has closed its pipe ended; it is left for whoever ends its group."""
    for _ in range(100):
        # the pipe of a process that ends is closed before it has ended
        ended = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if ended is not None:
            break
        time.sleep(0.005)
    else:
        return "it closed the pipe of its result"
    if ended.si_code == os.CLD_EXITED:
        return f"it ended the process with exit code {ended.si_status}"
    if ended.si_status == signal.SIGXCPU:
        return "it took too much CPU time"
    return f"its process was killed by {signal.Signals(ended.si_status).name}"


def _send(descriptor: int, message: Mapping[str, Any]) -> None:
    data = dump(message)
    while data:
        data = data[os.write(descriptor, data) :]


def _close_all_but(*kept: int) -> None:
    """Close every file descriptor that is inherited but not needed, and give the standard ones to nobody."""
    with os.scandir("/dev/fd") as entries:
        inherited = [int(entry.name) for entry in entries]
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    for descriptor in {*inherited, nowhere} - {*kept, 0, 1, 2}:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _save_through_python() -> None:
    """Make `torch.save` open its file in Python, where the audit hook sees it; its own way is native code."""
    import torch

    save = torch.save

    def saved(obj: object, f: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(f, str | os.PathLike):
            with open(f, "wb") as file:
                save(obj, file, *arguments, **options)
        else:
            save(obj, f, *arguments, **options)

    torch.save = saved
