"""`losslint verify` and `check --verify`: what is verified, shown and returned; the verdicts are a stand-in's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fakes
import pytest

from losslint import selection, verification
from losslint.claims import Claim
from losslint.cli import main
from losslint.findings import Outcome, Reason, Verdict
from losslint.runtime.pool import Job, VerifierError
from losslint.runtime.protocol import Greeting

ROOT = Path(__file__).resolve().parent.parent

CONFIRMED = Verdict(Outcome.CONFIRMED, 4.0, 4.0, "windows of 4", "cpu", assumes=("one process",))
REFUTED = Verdict(Outcome.REFUTED, 1.0, 4.0, "windows of 4", "cpu")
INCONCLUSIVE = Verdict(
    Outcome.INCONCLUSIVE, None, None, "", "cpu", reason=Reason.TIMEOUT, detail="no result after 10 s"
)
VERDICTS = {"confirmed": CONFIRMED, "refuted": REFUTED, "inconclusive": INCONCLUSIVE}


@dataclass
class StandIn:
    """A verifier that reads its verdict from the line of the finding."""

    device: str
    timeout: float
    jobs: int
    greeting = Greeting("2.1", "cpu", "cpu", ("float32",), "a stand-in", 1)

    def __enter__(self) -> StandIn:
        if self.device == "cuda":
            raise VerifierError("torch 2.1 finds no CUDA device")
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def verify(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Verdict]]:
        for index, job in reversed(list(enumerate(jobs))):
            line = job.text.split("\n")[job.finding.range.start_line - 1]
            yield index, VERDICTS[line.split()[-1]]


@pytest.fixture
def verifying(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake analysis, whose LL102 and LL204 make a claim, and the stand-in."""
    rules = tuple(replace(rule, claim=None if rule.code == "LL106" else Claim.GRADIENT_SCALE) for rule in fakes.RULES)
    monkeypatch.setattr(selection, "rules", lambda: rules)
    monkeypatch.setattr(verification, "Verifier", StandIn)
    return project


def write(folder: Path, *outcomes: str, code: str = "LL102") -> None:
    lines = [f"    loss.backward()  # BUG {code} {outcome}\n" for outcome in outcomes]
    (folder / "train.py").write_text("for batch in loader:\n    loss = criterion(batch)\n" + "".join(lines))


@pytest.mark.parametrize(
    ("outcomes", "arguments", "code"),
    [
        (["confirmed"], [], 1),
        (["refuted"], [], 0),
        (["inconclusive"], [], 1),
        (["refuted", "confirmed"], [], 1),
        (["inconclusive"], ["--strict"], 3),
        (["confirmed", "inconclusive"], ["--strict"], 3),
        (["confirmed", "refuted"], ["--strict"], 1),
        (["refuted"], ["--strict"], 0),
        (["inconclusive", "refuted"], ["--only-confirmed"], 0),
        (["inconclusive", "confirmed"], ["--only-confirmed"], 1),
        (["inconclusive"], ["--only-confirmed", "--strict"], 3),
        (["confirmed"], ["--exit-zero"], 0),
        ([], ["--strict"], 0),
    ],
)
def test_exit_codes(verifying: Path, outcomes: list[str], arguments: list[str], code: int) -> None:
    write(verifying, *outcomes)
    assert main(["verify", *arguments]) == code
    assert main(["check", "--verify", *arguments]) == code
    assert main(["--verify", *arguments]) == code


def test_the_device_and_the_isolation_are_told_once(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(verifying, "confirmed", "refuted")
    main(["verify", "--output-format", "json"])
    output = capsys.readouterr()
    assert output.err.splitlines() == ["verifying on cpu with torch 2.1, float32", "isolation: a stand-in"]
    assert len(json.loads(output.out)) == 2


def test_nothing_is_started_where_nothing_is_claimed(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(verifying, "confirmed", code="LL106")
    assert main(["verify", "--min-severity", "info", "--device", "cuda"]) == 0
    assert capsys.readouterr().err == ""


def shown(verifying: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    write(verifying, "confirmed", "refuted", "inconclusive")
    main(["verify", *arguments])
    return capsys.readouterr().out


def test_full(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(verifying, capsys)
    assert "= verdict: confirmed, measured × 4, predicted × 4 (windows of 4, cpu)\n" in text
    assert "= assumes: one process\n" in text
    assert "= verdict: refuted, measured × 1, predicted × 4 (windows of 4, cpu); the finding is withdrawn" in text
    assert "please report it" in text
    assert "= verdict: inconclusive (timeout) (cpu): no result after 10 s\n" in text
    assert "Found 2 errors in 1 file; 1 confirmed, 1 refuted, 1 inconclusive\n" in text


def test_concise(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endings = [line.rpartition(" [")[2] for line in shown(verifying, capsys, "--output-format", "concise").split("\n")]
    assert endings[:3] == ["confirmed, measured × 4]", "refuted, measured × 1]", "inconclusive (timeout)]"]


def test_json(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(verifying, capsys, "--output-format", "json"))
    assert [one["verdict"]["outcome"] for one in found] == ["confirmed", "refuted", "inconclusive"]
    assert found[2]["verdict"] == {
        "outcome": "inconclusive",
        "measured": None,
        "predicted": None,
        "setting": "",
        "device": "cpu",
        "reason": "timeout",
        "detail": "no result after 10 s",
        "assumes": [],
    }


def test_lsp(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (first, *_) = json.loads(shown(verifying, capsys, "--output-format", "lsp"))["diagnostics"]
    assert first["data"]["verdict"]["outcome"] == "confirmed"
    assert first["message"].endswith("\nconfirmed, measured × 4, predicted × 4 (windows of 4, cpu)")


def test_statistics(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "(1 confirmed, 1 refuted, 1 inconclusive)" in shown(verifying, capsys, "--statistics")
    (counts,) = json.loads(shown(verifying, capsys, "--statistics", "--output-format", "json"))
    assert counts["verdicts"] == {"confirmed": 1, "refuted": 1, "inconclusive": 1}


def test_only_what_is_confirmed_is_shown(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(verifying, capsys, "--only-confirmed", "--output-format", "json"))
    assert [one["verdict"]["outcome"] for one in found] == ["confirmed"]


@pytest.mark.parametrize("column", ["", ":5", ":5:"])
def test_one_line(verifying: Path, capsys: pytest.CaptureFixture[str], column: str) -> None:
    write(verifying, "confirmed", "refuted")
    assert main(["verify", f"train.py:4{column}", "--output-format", "json"]) == 0
    assert [one["range"]["start"]["line"] for one in json.loads(capsys.readouterr().out)] == [4]


def test_a_line_shows_what_is_hidden_otherwise(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(verifying, "confirmed", code="LL106")
    main(["verify", "train.py:3", "--output-format", "json"])
    assert [one["code"] for one in json.loads(capsys.readouterr().out)] == ["LL106"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.py:1"], "train.py:1: no finding there; there are some at lines 3 and 4"),
        (["clean.py:1"], "clean.py:1: no finding there, nor anywhere else in the file"),
        (["absent.py:3"], "absent.py: no such file or directory"),
        (["train.py:3", "clean.py"], "`FILE:LINE` cannot be mixed with whole files and folders"),
        (["train.py", "--emit", "repro.py"], "`--emit` needs one finding, as `FILE:LINE`"),
        (["--plot", "out.png"], "`--plot` needs one finding, as `FILE:LINE`"),
        (["train.py:3", "--plot", "out.png", "--emit", "-"], "`--emit` and `--plot` cannot be given together"),
        (["train.py:3", "--plot", "out.pdf"], "`out.pdf` must end in .png, .svg or .html"),
        (["train.py:3", "--plot", "absent/out.png"], "no such folder: `absent`"),
        (["absent.py:3", "--emit", "-"], "absent.py: no such file or directory"),
        (["train.py", "--fix"], "findings cannot be fixed and verified in one run"),
        (["train.py", "--device", "cuda"], "torch 2.1 finds no CUDA device"),
    ],
)
def test_errors_of_use(verifying: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    write(verifying, "confirmed", "refuted")
    (verifying / "clean.py").write_text(fakes.LOOP)
    assert main(["verify", *arguments]) == 2
    assert f"error: {message}\n" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["clean.py", "train.py"]


@pytest.mark.parametrize(
    "arguments", [["--timeout", "0"], ["--timeout", "soon"], ["--timeout", "inf"], ["--jobs", "0"], ["--device", "tpu"]]
)
def test_options_that_make_no_sense(verifying: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["verify", *arguments])


def test_two_findings_on_one_line_need_a_choice(verifying: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = fakes.LOOP.replace("loader:", "loader:  # BUG LL204 x") + "# CALLS train.py\n"
    (verifying / "train.py").write_text(both)
    assert main(["verify", "train.py:1", "--emit", "-"]) == 2
    assert "train.py:1: several findings (LL102, LL204); choose one with `--select`" in capsys.readouterr().err


# ---------------------------------------------------------------- the whole, with the real judge

BAD = """\
def train(model, loader, optimizer, criterion, accum_steps=4):
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        loss.backward()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
"""


def run(folder: Path, *arguments: str, program: str = "") -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, after `program`."""
    script = f"import sys\n{program}\nfrom losslint.cli import main\ncode = main(sys.argv[1:])\n"
    script += "print('torch' in sys.modules, file=sys.stderr)\nsys.exit(code)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_a_bug_is_confirmed_and_torch_stays_out_of_the_lint_process(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the real judge needs torch")
    (tmp_path / "train.py").write_text(BAD)
    # it must not be imported in place of the real one
    (tmp_path / "torch.py").write_text("raise RuntimeError('a module of the user')\n")
    done = run(tmp_path, "verify", "--isolated", "--device", "cpu", "--select", "LL102", "--output-format", "json")
    (found,) = json.loads(done.stdout)
    verdict: dict[str, Any] = found["verdict"]
    assert (verdict["outcome"], verdict["measured"], verdict["predicted"]) == ("confirmed", 4.0, 4.0)
    assert done.returncode == 1
    header, isolation, loaded = done.stderr.splitlines()
    assert re.fullmatch(r"verifying on cpu with torch 2\S+, float32, bfloat16", header)
    assert isolation.startswith("isolation: ")
    assert loaded == "False"


NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": "# Training"},
        {"cell_type": "code", "source": "%matplotlib inline\nimport torch\naccum_steps = 4"},
        {"cell_type": "code", "source": "def broken(:"},
        {"cell_type": "code", "source": BAD.replace(", accum_steps=4", "")},
        {
            "cell_type": "code",
            "source": "def evaluate(model, loader, criterion):\n    total = 0.0\n    for x, y in loader:\n"
            "        total += criterion(model(x), y).item() * len(x)\n    print(total / len(loader))\n",
        },
    ],
    "metadata": {"language_info": {"name": "python"}},
    "nbformat": 4,
}


def test_verdicts_land_in_their_cells(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the real judge needs torch")
    (tmp_path / "train.ipynb").write_text(json.dumps(NOTEBOOK))
    arguments = ["--isolated", "--device", "cpu", "--select", "LL1,LL203", "--output-format", "json"]
    found = [one for one in json.loads(run(tmp_path, "verify", "train.ipynb", *arguments).stdout) if one["verdict"]]
    told = [(one["code"], one["cell"], one["range"]["start"]["line"], one["verdict"]["measured"]) for one in found]
    assert told == [("LL102", 4, 4, 4.0), ("LL203", 5, 4, 8.0)]
    assert {one["verdict"]["outcome"] for one in found} == {"confirmed"}
    done = run(tmp_path, "verify", "train.ipynb:4", *arguments, "--emit", "-")
    assert "error: train.ipynb:4: several findings, at cell 4:4 and cell 5:4; name one of them as" in done.stderr
    done = run(tmp_path, "verify", "train.ipynb:cell 5:4", *arguments, "--emit", "-")
    assert "# the statements of train.ipynb:cell 5\n" in done.stdout
    assert "print(show(total / len(loader)))" in done.stdout
    done = run(tmp_path, "verify", "train.ipynb:cell 5:9", *arguments)
    assert (
        "error: train.ipynb:cell 5:9: no finding there; there are some at cell 3:1, cell 4:4, cell 4:5 and cell 5:4\n"
        in done.stderr
    )


NO_TORCH = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "torch" else find(name, *more)
"""


def test_without_torch(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(BAD)
    done = run(tmp_path, "verify", "--isolated", program=NO_TORCH)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: verifying needs torch: `pip install 'losslint[verify]'`", "False"]
    assert done.stdout == ""


NO_MATPLOTLIB = NO_TORCH.replace('"torch"', '"matplotlib"')


def test_without_matplotlib(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(BAD)
    done = run(tmp_path, "verify", "train.py:4", "--isolated", "--plot", "out.png", program=NO_MATPLOTLIB)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: drawing needs matplotlib: `pip install 'losslint[plot]'`"
