"""`losslint check --fix`, `--unsafe-fixes` and `--diff`: what is written, what is said, and how it ends."""

from __future__ import annotations

import codecs
import json
import os
import stat
from pathlib import Path

import pytest

from losslint import engine
from losslint.cli import main
from losslint.fixes import session

SAFE = """\
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, optimizer, accum_steps=4):
    model.train()
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        loss.backward()  # the mean
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
"""
FIXED = SAFE.replace("loss.backward()", "(loss / accum_steps).backward()")
UNSAFE = """\
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        optimizer.step()
        loss.backward()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    # a new process knows no file
    engine.project_of.cache_clear()
    return main([*arguments, "--isolated"])


def test_findings_say_what_can_be_fixed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "a.py").write_text(SAFE)
    (project / "b.py").write_text(UNSAFE)
    assert run("--output-format", "concise") == 1
    first, second, *ending = capsys.readouterr().out.splitlines()
    assert first.startswith("a.py:11:9: LL102 error: [*] ")
    assert second.startswith("b.py:12:9: LL403 warning: the optimizer")
    assert ending[-1] == "[*] 1 fixable with `--fix` (1 more with `--unsafe-fixes`)"
    assert run("--output-format", "concise", "--unsafe-fixes") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "[*] 2 fixable with `--fix --unsafe-fixes`"
    assert run("b.py") == 1
    out = capsys.readouterr().out
    assert "= unsafe fix: step after backward" in out
    assert out.splitlines()[-1] == "No fix is safe (1 with `--fix --unsafe-fixes`)"


def test_safe_fixes_are_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "a.py").write_text(SAFE)
    (project / "b.py").write_text(UNSAFE)
    assert run("--fix", "--output-format", "concise") == 1
    assert (project / "a.py").read_text() == FIXED
    assert (project / "b.py").read_text() == UNSAFE
    out = capsys.readouterr().out
    assert "Found 2 findings, fixed 1, 1 warning remains in 1 file\n" in out
    assert run("--fix", "--unsafe-fixes") == 0
    assert capsys.readouterr().out == "Found 1 finding, fixed 1, none remain\n"
    assert run("--fix", "--unsafe-fixes") == 0
    assert "All clear" in capsys.readouterr().out


def test_a_diff_changes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "a.py").write_text(SAFE)
    assert run("--diff") == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[:2] == ["--- a.py", "+++ a.py"]
    assert [line for line in lines[2:] if line[0] in "+-"] == [
        "-        loss.backward()  # the mean",
        "+        (loss / accum_steps).backward()  # the mean",
    ]
    assert captured.err == "Would fix 1 finding in 1 file\n"
    assert (project / "a.py").read_text() == SAFE
    (project / "a.py").write_text(FIXED)
    assert run("--diff") == 0
    assert capsys.readouterr().out == ""


def test_fix_and_diff_exclude_each_other(project: Path) -> None:
    with pytest.raises(SystemExit) as error:
        run("--fix", "--diff")
    assert error.value.code == 2


def test_json_holds_the_edits(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "a.py").write_text(SAFE)
    run("--output-format", "json")
    (finding,) = json.loads(capsys.readouterr().out)
    assert finding["fix"] == {
        "title": "divide the loss by `accum_steps` before backward",
        "applicability": "safe",
        "edits": [
            {
                "path": "a.py",
                "cell": None,
                "range": {"start": {"line": 11, "column": 9}, "end": {"line": 11, "column": 13}},
                "text": "(loss / accum_steps)",
            }
        ],
    }


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", b""), ("utf-8", codecs.BOM_UTF8), ("latin-1", b""), ("cp1252", b"")]
)
def test_bytes_that_are_not_fixed_stay(project: Path, encoding: str, mark: bytes) -> None:
    head = f"# -*- coding: {encoding} -*-\r\n# Größe\r\n"
    data = mark + (head + SAFE.replace("\n", "\r\n")).encode(encoding)
    (project / "a.py").write_bytes(data)
    assert run("--fix") == 0
    assert (project / "a.py").read_bytes() == data.replace(b"loss.backward", b"(loss / accum_steps).backward")


def test_a_helper_in_another_file_is_fixed_where_it_is_to_be_checked(project: Path) -> None:
    helper = "def back(loss, accum_steps):\n    loss.backward()\n"
    caller = "from helper import back\n" + SAFE.replace("loss.backward()", "back(loss, accum_steps)")
    (project / "helper.py").write_text(helper)
    (project / "train.py").write_text(caller)
    assert run("--fix", "train.py") == 1
    assert (project / "helper.py").read_text() == helper
    assert run("--fix", "train.py", "helper.py") == 0
    assert (project / "helper.py").read_text() == helper.replace("loss.", "(loss / accum_steps).")
    assert (project / "train.py").read_text() == caller


def test_a_suppressed_finding_is_not_fixed(project: Path) -> None:
    text = SAFE.replace("# the mean", "# losslint: ignore[LL102]")
    (project / "a.py").write_text(text)
    assert run("--fix") == 0
    assert (project / "a.py").read_text() == text


def test_mode_and_links_are_kept(project: Path) -> None:
    (project / "real").mkdir()
    real = project / "real" / "train.py"
    real.write_text(SAFE)
    real.chmod(0o750)
    (project / "link.py").symlink_to(real)
    assert run("--fix", "link.py") == 0
    assert (project / "link.py").is_symlink()
    assert real.read_text() == FIXED
    assert stat.S_IMODE(real.stat().st_mode) == 0o750
    assert [path.name for path in (project / "real").iterdir()] == ["train.py"]


def test_what_cannot_be_written_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "a.py").write_text(SAFE)
    # the tests may run as a user who may write everything
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert run("--fix") == 2
    captured = capsys.readouterr()
    assert captured.err == "error: a.py: is read-only, not fixed\n"
    assert "Found 1 error in 1 file\n" in captured.out
    assert (project / "a.py").read_text() == SAFE


def test_a_file_that_changed_meanwhile_is_left_alone(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project / "a.py"
    path.write_text(SAFE)
    write = session.write

    def late(done: session.Session) -> list[session.Failure]:
        path.write_text("changed = True\n")
        return write(done)

    monkeypatch.setattr(session, "write", late)
    assert run("--fix") == 2
    assert capsys.readouterr().err == "error: a.py: has changed since it was read, not fixed\n"
    assert path.read_text() == "changed = True\n"


def test_a_notebook_is_fixed_in_its_cells(project: Path) -> None:
    def cell(source: str) -> dict[str, object]:
        return {"cell_type": "code", "execution_count": 3, "metadata": {"a": 1}, "outputs": [], "source": source}

    book = {"cells": [cell("%matplotlib inline\n"), cell(SAFE)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path = project / "train.ipynb"
    path.write_text(json.dumps(book, indent=1))
    assert run("--fix") == 0
    book["cells"] = [cell("%matplotlib inline\n"), cell(FIXED)]
    assert json.loads(path.read_text()) == book
