"""What a slice does to its process, to the server or to the machine costs that slice alone."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest

from losslint.findings import Outcome, Reason, Verdict
from losslint.runtime import jail, protocol
from losslint.runtime.pool import Job, Verifier, VerifierError
from losslint.runtime.protocol import Failure, Greeting, ProtocolError

pytest.importorskip("torch", reason="the verifier's server imports torch")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the verifier forks")

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl and /proc")

GOOD = "measured = 2.0"


def job(text: str) -> Job:
    return Job(fakes.finding(), text, Path("/nowhere/train.py"))


def verdicts(verifier: Verifier, *texts: str) -> list[Verdict]:
    """The verdicts in the order of the texts."""
    found = dict(verifier.verify([job(text) for text in texts]))
    return [found[index] for index in range(len(texts))]


def processes(scratch: str) -> list[str]:
    """The processes that were started with a scratch folder, forks of them included."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if scratch.encode() in entry.read_bytes():
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


@pytest.fixture(scope="module", params=["standin_judge", "standin_judge_bare"])
def verifier(request: pytest.FixtureRequest) -> Iterator[Verifier]:
    """With everything that this kernel offers, and with the audit hook and the limits alone."""
    with Verifier("cpu", timeout=30.0, jobs=1, judge=request.param) as verifier:
        scratch = verifier._scratch
        yield verifier
    assert not Path(scratch).exists()
    assert processes(scratch) == []


@pytest.fixture(scope="module")
def impatient() -> Iterator[Verifier]:
    """One whose slices have a second."""
    with Verifier("cpu", timeout=1.0, jobs=2, judge="standin_judge") as verifier:
        scratch = verifier._scratch
        yield verifier
    assert not Path(scratch).exists()
    assert processes(scratch) == []


CRASHES = {
    "exit": ("raise SystemExit(0)", "`SystemExit`"),
    "exit at once": ("import os; os._exit(0)", "exit code 0"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "error": ("1 / 0", "ZeroDivisionError"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "abort": ("import os; os.abort()", "SIGABRT"),
    "kill of the server": ("import os; os.kill(os.getppid(), 9)", "does not let a slice do this: os.kill"),
    "kill of its group": ("import os; os.killpg(0, 9)", "does not let a slice do this: os.killpg"),
    "fork": ("import os\nwhile True: os.fork()", "does not let a slice do this: os.fork"),
    "process": ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    "shell": ("import os; os.system('true')", "os.system"),
    "connection": ("import socket; socket.create_connection(('127.0.0.1', 9))", "socket.connect"),
    "closed descriptors": ("import os; os.closerange(0, 1000)", "exit code 1"),
    "descriptors in a loop": (
        "import os, time\nfor d in range(3, 1000):\n  try: os.close(d)\n  except OSError: pass\ntime.sleep(60)",
        "closed the pipe",
    ),
    "not a number": ("measured = float('nan')", "not a finite number"),
    "a text for a number": ("measured = '4.0'", "not of type float"),
}


@pytest.mark.parametrize(("text", "detail"), CRASHES.values(), ids=CRASHES)
def test_a_crash_costs_its_slice_alone(verifier: Verifier, text: str, detail: str) -> None:
    crashed, good = verdicts(verifier, text, GOOD)
    assert crashed.outcome is Outcome.INCONCLUSIVE
    assert crashed.reason is Reason.CRASH
    assert detail in crashed.detail
    assert crashed.measured is None
    assert good.measured == 2.0


@on_linux
@pytest.mark.parametrize("text", ["data = bytearray(20 << 30)", "import torch; data = torch.ones(5 << 30)"])
def test_memory_has_a_limit(verifier: Verifier, text: str) -> None:
    crashed, good = verdicts(verifier, text, GOOD)
    assert crashed.reason is Reason.CRASH
    assert "memory" in crashed.detail
    assert good.measured == 2.0


WRITES = {
    "open": "open({path!r}, 'w')",
    "append": "open({path!r}, 'a')",
    "os.open": "import os; os.open({path!r}, os.O_WRONLY | os.O_TRUNC)",
    "truncate": "import os; os.truncate({path!r}, 0)",
    "remove": "import os; os.remove({path!r})",
    "remove by folder": "import os; os.remove('kept', dir_fd=os.open({folder!r}, os.O_RDONLY))",
    "rename away": "import os; os.rename({path!r}, 'mine')",
    "rename over": "import os; open('mine', 'w').close(); os.replace('mine', {path!r})",
    "link": "import os; os.symlink({path!r}, 'mine'); open('mine', 'w')",
    "mkdir": "import os; os.mkdir({path!r} + '-2')",
    "rmtree": "import shutil; shutil.rmtree({folder!r})",
    "torch.save": "import torch; torch.save({{}}, {path!r})",
    "chmod": "import os; os.chmod({path!r}, 0)",
}


@pytest.mark.parametrize("text", WRITES.values(), ids=WRITES)
def test_nothing_is_written_outside_the_scratch_folder(verifier: Verifier, tmp_path: Path, text: str) -> None:
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    mode = kept.stat().st_mode
    crashed, good = verdicts(verifier, text.format(path=str(kept), folder=str(tmp_path)), GOOD)
    assert crashed.reason is Reason.CRASH
    assert kept.read_text() == "as it was"
    assert kept.stat().st_mode == mode
    assert os.listdir(tmp_path) == ["kept"]
    assert good.measured == 2.0


def test_the_scratch_folder_is_a_slice_s_own(verifier: Verifier) -> None:
    text = "import os, tempfile, pathlib\n" + (
        "pathlib.Path(tempfile.mkdtemp(), 'file').write_text('x')\n"
        "open(os.path.expanduser('~/.config'), 'w').close()\n"
        "open('checkpoint.pt', 'w').close()\nmeasured = float(len(os.listdir('.')))"
    )
    first, second = verdicts(verifier, text, text)
    assert first.outcome is Outcome.CONFIRMED
    assert first.measured == second.measured == 3.0


def test_a_slice_may_delete_its_scratch_folder(verifier: Verifier) -> None:
    text = "import os, shutil\nfor name in os.listdir('.'): shutil.rmtree(name)\nshutil.rmtree(os.getcwd(), True)"
    assert [verdict.outcome for verdict in verdicts(verifier, text, GOOD)] == [Outcome.CONFIRMED] * 2


FAKE = json.dumps(
    {"id": 0, "token": "0", "value": {"outcome": "confirmed", "measured": 99.0, "predicted": 4.0, "device": "cpu"}}
)


def test_a_slice_cannot_print_its_own_verdict(verifier: Verifier) -> None:
    text = f"""
import os, sys
fake = {FAKE!r}
print(fake, flush=True); print(fake, file=sys.stderr, flush=True)
for descriptor in range(200):
    for line in (fake + "\\n", "noise\\n" * 100, fake):
        try: os.write(descriptor, line.encode())
        except OSError: pass
sys.stdout = sys.stderr = None
os.write = lambda *_: 1 / 0
measured = 3.0
"""
    real, good = verdicts(verifier, text, GOOD)
    assert real.measured == 3.0
    assert good.measured == 2.0


def test_noise_without_end_is_cut_off(verifier: Verifier) -> None:
    text = """
import os
while True:
    for descriptor in range(3, 64):
        try: os.write(descriptor, b"x" * 65536)
        except OSError: pass
"""
    noisy, good = verdicts(verifier, text, GOOD)
    assert noisy.reason is Reason.CRASH
    assert "wrote without end" in noisy.detail
    assert good.measured == 2.0


HANGS = {
    "loop": "while True: pass",
    "bare except": "while True:\n  try:\n    while True: pass\n  except: pass",
    "ignored signals": "import signal\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
    "sleep": "import time; time.sleep(1000)",
    "a thread that keeps the process": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\ntime.sleep(1000)"
    ),
}


@pytest.mark.parametrize("text", HANGS.values(), ids=HANGS)
def test_a_hang_costs_its_slice_alone(impatient: Verifier, text: str) -> None:
    hung, good = verdicts(impatient, text, GOOD)
    assert hung.reason is Reason.TIMEOUT
    assert hung.detail == "no result after 1 s"
    assert good.measured == 2.0


@on_linux
def test_a_fork_bomb_is_cleared_away(impatient: Verifier) -> None:
    # past the audit hook, and kept small
    text = """
import ctypes, os, time
for _ in range(5):
    ctypes.pythonapi.fork()
    ctypes.pythonapi.setsid()
time.sleep(1000)
"""
    hung, good = verdicts(impatient, text, GOOD)
    assert hung.reason is Reason.TIMEOUT
    assert good.measured == 2.0
    assert len(processes(impatient._scratch)) <= 3


@on_linux
def test_a_grandchild_in_its_own_session_is_ended(impatient: Verifier) -> None:
    text = """
import ctypes, time
if ctypes.pythonapi.fork() == 0:
    ctypes.pythonapi.setsid()
    if ctypes.pythonapi.fork() == 0:
        ctypes.pythonapi.setsid()
    time.sleep(1000)
"""
    first, good = verdicts(impatient, text, GOOD)
    assert first.outcome is Outcome.CONFIRMED
    assert good.measured == 2.0
    verdicts(impatient, GOOD)
    assert len(processes(impatient._scratch)) <= 3


@on_linux
def test_the_death_of_the_server_costs_one_slice() -> None:
    # without Landlock nothing stops native code; two at a time, so that it is not clear which one did it
    text = "import ctypes, os, time; time.sleep(0.05); ctypes.pythonapi.kill(os.getppid(), 9); time.sleep(1000)"
    with Verifier("cpu", timeout=30.0, jobs=2, judge="standin_judge_bare") as verifier:
        scratch = verifier._scratch
        slow = "import time; time.sleep(0.5); measured = 2.0"
        first, killer, last = verdicts(verifier, slow, text, GOOD)
    assert (first.measured, last.measured) == (2.0, 2.0)
    assert killer.reason is Reason.CRASH
    assert killer.detail == "it ended the verifier's server"
    deadline = time.monotonic() + 10
    while processes(scratch) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes(scratch) == []


@on_linux
def test_the_server_ends_with_the_lint_process() -> None:
    with Verifier("cpu", timeout=30.0, jobs=1, judge="standin_judge") as verifier:
        assert verifier._server is not None
        process = verifier._server.process
        list(verifier.verify([job(GOOD)]))
        os.close(verifier._server.requests)
        verifier._server.requests = os.dup(0)
        assert process.wait(10) == 0


def test_several_at_a_time_keep_their_verdicts(impatient: Verifier) -> None:
    found = verdicts(impatient, *(f"measured = {number}.0" for number in range(20)))
    assert [verdict.measured for verdict in found] == [float(number) for number in range(20)]


def test_the_level_is_told(verifier: Verifier) -> None:
    greeting = verifier.greeting
    assert greeting.device == "cpu"
    assert "an audit hook" in greeting.isolation
    assert "sandbox" not in greeting.isolation
    if verifier.judge == "standin_judge_bare":
        assert "no Landlock" in greeting.isolation


def test_a_judge_that_cannot_be_imported_is_told() -> None:
    with pytest.raises(VerifierError, match="No module named 'absent_judge'"), Verifier("cpu", judge="absent_judge"):
        pass


def test_cuda_that_is_not_there_is_told() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(VerifierError, match=r"torch \S+ finds no CUDA device"), Verifier("cuda", judge="standin_judge"):
        pass


def test_orphans_are_reaped_where_there_are_none() -> None:
    assert jail.kill_orphans(frozenset(jail._children())) == 0


# ---------------------------------------------------------------- the protocol


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b"[" * 100_000], ids=lambda line: str(line[:8])
)
def test_lines_that_are_no_messages(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse(line)


VERDICT = protocol.encode(Verdict(Outcome.CONFIRMED, 4.0, 4.0, "k = 4", "cpu", assumes=("one process",)))


def test_a_verdict_makes_the_round_trip() -> None:
    assert protocol.encode(protocol.decode_verdict(json.loads(json.dumps(VERDICT)))) == VERDICT


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "proven"},
        {"outcome": "inconclusive"},
        {"reason": "crash"},
        {"reason": 1},
        {"measured": "4"},
        {"measured": True},
        {"measured": float("inf")},
        {"measured": 10**400},
        {"assumes": "one process"},
        {"assumes": [1]},
        {"assumes": ["x"] * 1_000_000},
        {"detail": "x" * 1_000_000},
        {"detail": None},
        {"more": 1},
    ],
    ids=str,
)
def test_verdicts_that_are_none(change: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_verdict({**VERDICT, **change})


def test_a_verdict_without_a_field_is_none() -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_verdict({"outcome": "confirmed"})


@pytest.mark.parametrize("value", [Failure(Reason.CRASH, "x"), Greeting("2", "cpu", "cpu", ("float32",), "none", 2)])
def test_the_other_messages_make_the_round_trip(value: Failure | Greeting) -> None:
    assert protocol.decode(type(value), json.loads(json.dumps(protocol.encode(value)))) == value


def test_the_signal_of_an_interrupt_does_not_reach_the_server(impatient: Verifier) -> None:
    assert impatient._server is not None
    os.killpg(impatient._server.process.pid, signal.SIGINT)
    assert verdicts(impatient, GOOD)[0].measured == 2.0
