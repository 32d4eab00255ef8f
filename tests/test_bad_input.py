"""What is no proper source file: one clear message each, the other files are still checked, the right exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from losslint.check import Wishes, check
from losslint.cli import main
from losslint.config import Configs
from losslint.deepstack import with_deep_stack
from losslint.discovery import discover
from losslint.project import depth_of_brackets

TRAIN = """\
def train(model, loader, optimizer, criterion, accum_steps):
    for step, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        loss.backward()
        if (step + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
"""
FOUND = "4:9: LL102 warning"
CHECKOUT = str(Path(__file__).resolve().parents[1])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one sound file, whose finding must survive everything."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sound.py").write_text(TRAIN)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], code: int) -> tuple[list[str], list[str]]:
    """The lines about other files than `sound.py`, on standard output and standard error."""
    assert main(["--output-format", "concise"]) == code
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if ".py:" in line]
    assert any(line.startswith(f"sound.py:{FOUND}") for line in lines)
    return [line for line in lines if not line.startswith("sound.py")], said.err.splitlines()


def lint(path: str) -> list[tuple[str, int, int]]:
    configs = Configs()
    found = check(discover([path], configs), configs, Wishes()).findings
    return [(finding.code, finding.range.start_line, finding.range.start_column) for finding in found]


# ---------------------------------------------------------------- bytes


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"\xef\xbb\xbf" + TRAIN.encode(), (4, 9)),
        (b"# -*- coding: latin-1 -*-\n# \xe9\n" + TRAIN.encode(), (6, 9)),
        (TRAIN.replace("\n", "\r\n").encode(), (4, 9)),
        (TRAIN.replace("\n", "\r").encode(), (4, 9)),
        (TRAIN.replace("    ", "\t").encode(), (4, 3)),
        (b"\f\n" + TRAIN.encode(), (5, 9)),
        (TRAIN.replace("        loss =", "\f        loss =").encode(), (4, 9)),
        (TRAIN.replace("loss.backward()", "s = '😀é'; loss.backward()").encode(), (4, 19)),
    ],
    ids=["bom", "latin-1", "crlf", "cr", "tabs", "form feed", "form feed above", "wide"],
)
def test_lines_and_columns_are_those_of_the_file(folder: Path, data: bytes, place: tuple[int, int]) -> None:
    (folder / "train.py").write_bytes(data)
    assert lint("train.py") == [("LL102", *place)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (TRAIN.encode("utf-16"), "1:1: LL001 error: the file is UTF-16 or UTF-32, which Python does not read"),
        (TRAIN.encode("utf-32"), "1:1: LL001 error: the file is UTF-16 or UTF-32, which Python does not read"),
        (TRAIN.encode() + b"\0", "8:1: LL001 error: source code cannot contain NUL bytes"),
        (TRAIN.encode() + b"x = '\xff'", "8:6: LL001 error: invalid utf-8 text: invalid start byte"),
        (TRAIN.encode() + b"y = (", "8:5: LL001 error: '(' was never closed"),
        (TRAIN.encode() + b"y = " + b"(" * 3000 + b")" * 3000, "1:1: LL001 error: more than 200 brackets are open"),
        (
            TRAIN.encode() + b"".join(b" " * i + b"if x:\n" for i in range(1000)) + b" " * 1000 + b"pass\n",
            "108:1: LL001 error: too many levels of indentation",
        ),
    ],
    ids=["utf-16", "utf-32", "nul", "bytes", "unclosed", "brackets", "indentation"],
)
def test_what_python_does_not_read_is_one_finding(
    folder: Path, capsys: pytest.CaptureFixture[str], data: bytes, message: str
) -> None:
    (folder / "bad.py").write_bytes(data)
    (line,), complaints = shown(capsys, 1)
    assert line.startswith(f"bad.py:{message}")
    assert complaints == []


# ---------------------------------------------------------------- size and depth


@pytest.mark.parametrize(
    "deep",
    [
        "y = " + " + ".join(["x"] * 400),
        "y = x" + ".a" * 400,
        "y = " + "not " * 400 + "x",
        "y = " + "[" * 150 + "]" * 150,
        "if x == 0:\n    pass\n" + "".join(f"elif x == {i}:\n    loss = {i}\n" for i in range(400)),
    ],
    ids=["sum", "attributes", "not", "brackets", "elif"],
)
def test_deep_code_does_not_hide_what_stands_beside_it(folder: Path, deep: str) -> None:
    (folder / "deep.py").write_text(f"{TRAIN}{deep}\n")
    limit = sys.getrecursionlimit()
    assert lint("deep.py") == [("LL102", 4, 9)]
    assert sys.getrecursionlimit() == limit


def test_code_that_no_stack_is_deep_enough_for_costs_one_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "deep.py").write_text(f"{TRAIN}y = x{'.a' * 400}\n")
    monkeypatch.setattr("losslint.deepstack.MAX_DEPTH", sys.getrecursionlimit())
    lines, complaints = shown(capsys, 2)
    assert lines == []
    assert complaints == ["error: deep.py: not checked: its code is nested too deeply"]


def test_a_deep_stack_hands_on_results_and_errors() -> None:
    def depth(left: int) -> int:
        return 0 if left == 0 else 1 + depth(left - 1)

    assert with_deep_stack(lambda: depth(20_000)) == 20_000
    with pytest.raises(ZeroDivisionError):
        with_deep_stack(lambda: 1 // 0)


def test_depth_of_brackets() -> None:
    assert depth_of_brackets("f(a[b], {c: (d)})", 5) == 3
    assert depth_of_brackets("':(' ')' x", 5) == 1
    assert depth_of_brackets("x", 5) == 0
    assert depth_of_brackets("(" * 50 + ")" * 50, 5) == 6


# ---------------------------------------------------------------- what is no file


def test_what_has_the_name_of_a_file_and_is_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "folder.py").mkdir()
    (folder / "folder.py" / "inner.py").write_text(TRAIN)
    os.symlink("/dev/zero", folder / "device.py")
    os.symlink("circle.py", folder / "circle.py")
    os.symlink("..", folder / "folder.py" / "up.py")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.py")
    if hasattr(socket, "AF_UNIX"):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.py")
    (line,), complaints = shown(capsys, 1)
    assert line.startswith(f"folder.py/inner.py:{FOUND}")
    assert complaints == []
    assert main(["device.py", "circle.py"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: device.py: not a regular file",
        "error: circle.py: too many levels of symbolic links",
    ]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_what_may_not_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "secret.py").write_text(TRAIN)
    (folder / "secret.py").chmod(0)
    (folder / "closed").mkdir(mode=0)
    lines, complaints = shown(capsys, 2)
    assert lines == []
    assert sorted(complaints) == ["error: closed: permission denied", "error: secret.py: permission denied"]


def test_what_may_not_be_read_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for root, to whom nothing is forbidden."""
    (folder / "secret.py").write_text(TRAIN)
    real = open

    def refuse(path: object, *arguments: object, **options: object) -> object:
        if str(path).endswith("secret.py"):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", refuse)
    lines, complaints = shown(capsys, 2)
    assert (lines, complaints) == ([], ["error: secret.py: permission denied"])


def test_a_folder_that_goes_away_during_the_walk(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "going").mkdir()
    scandir = os.scandir

    def gone(path: str) -> object:
        if str(path).endswith("going"):
            (folder / "going").rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", gone)
    lines, complaints = shown(capsys, 2)
    assert (lines, complaints) == ([], ["error: going: no such file or directory"])


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[tool.losslint\n", "pyproject.toml:1:"),
        (b"[tool.losslint]\nselect = [\n", "pyproject.toml:"),
        (b"[tool.losslint]\nignore = ['\xff']\n", "pyproject.toml:"),
    ],
)
def test_a_configuration_that_cannot_be_read(
    folder: Path, capsys: pytest.CaptureFixture[str], data: bytes, message: str
) -> None:
    (folder / "pyproject.toml").write_bytes(data)
    assert main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1
    assert "LL003" in said


def test_a_folder_called_pyproject_toml_is_no_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pyproject.toml").mkdir()
    assert shown(capsys, 1) == ([], [])


# ---------------------------------------------------------------- the process


def run(folder: Path, shell: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": CHECKOUT, "LOSSLINT": f"{sys.executable} -m losslint"}
    return subprocess.run(
        ["bash", "-c", shell], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_reader_that_has_seen_enough(folder: Path) -> None:
    done = run(folder, "$LOSSLINT sound.py | head -n 1; echo ${PIPESTATUS[0]}")
    assert done.stdout.startswith("warning[LL102]")
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line(folder: Path) -> None:
    done = run(folder, "$LOSSLINT sound.py > /dev/full")
    assert (done.returncode, done.stderr) == (2, "error: cannot write standard output: no space left on device\n")


def test_closed_streams(folder: Path) -> None:
    assert run(folder, "$LOSSLINT sound.py 2>&-").returncode == 1
    assert run(folder, "$LOSSLINT absent.py 2>&-").returncode == 2
    assert run(folder, "$LOSSLINT sound.py >&-").returncode == 1


def test_an_interrupt_while_a_file_is_analysed(folder: Path) -> None:
    script = """
import os, signal, sys
from losslint import check, cli
def slow(job):
    os.kill(os.getpid(), signal.SIGINT)
check._look = slow
sys.exit(cli.main(["sound.py"]))
"""
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
