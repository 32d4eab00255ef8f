"""Scripts and pictures of findings: those of every rule's own example are made, run and looked into."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from losslint.check import Wishes, check
from losslint.claims import Claim
from losslint.cli import main
from losslint.config import Configs
from losslint.discovery import discover
from losslint.findings import Finding, Severity
from losslint.registry import Rule, rules, section
from losslint.runtime.emit import EmitError
from losslint.runtime.ledger import Portrait, Trial
from losslint.runtime.pictures import picture
from losslint.runtime.plot import Bar, Curves, PlotError, Weights, draw, number, times
from losslint.runtime.pool import Job, Verifier
from losslint.runtime.protocol import Failure
from losslint.runtime.reproduction import MOST_LINES, reproduced
from losslint.verification import jobs_of

pytest.importorskip("torch", reason="scripts and pictures show what torch measures")

MEASURABLE = [rule for rule in rules() if rule.claim is not None]
NO_SCRIPT = {Claim.FIGURE_LOCAL, Claim.SCHEDULER_PACE, Claim.DEAD_BACKWARD, Claim.GRADIENT_SHARE}
"""What takes several processes, a schedule, or a model between the losses and their gradients."""

SEVERAL_NUMBERS = {"LL304"}
"""A number for each call in the place of one."""

DRIVER = """
import io, json, os, runpy, sys, warnings
from contextlib import redirect_stdout
import torch
warnings.simplefilter("ignore")
for path in sys.argv[1:]:
    if os.fork() == 0:
        told = io.StringIO()
        try:
            with redirect_stdout(told):
                runpy.run_path(path, run_name="__main__")
            result = told.getvalue()
        except BaseException as error:
            result = f"{type(error).__name__}: {error}"
        os.write(1, (json.dumps([path, result]) + "\\n").encode())
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bad example of every measurable rule, a file each."""
    folder = tmp_path_factory.mktemp("examples")
    for rule in MEASURABLE:
        block = re.search(r"```python\n(.*?)```", section(rule.page, "Bad"), re.DOTALL)
        assert block is not None, rule.code
        (folder / f"{rule.code}.py").write_text(block[1], encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    """A verifier for all of them."""
    with Verifier("cpu", timeout=60.0) as verifier:
        yield verifier


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, tuple[Finding, Job]]:
    """The first finding of each rule in its own example."""
    configs = Configs(isolated=True)
    found = jobs_of(check(discover([str(folder)], configs), configs, Wishes(min_severity=Severity.INFO)))
    result: dict[str, tuple[Finding, Job]] = {}
    for finding, job in found.items():
        if Path(finding.path).stem == finding.code:
            result.setdefault(finding.code, (finding, job))
    return result


@pytest.fixture(scope="module")
def portraits(found: dict[str, tuple[Finding, Job]], verifier: Verifier) -> dict[str, tuple[Finding, Portrait]]:
    """What was measured of each."""
    result: dict[str, tuple[Finding, Portrait]] = {}
    for code, (finding, job) in found.items():
        portrait = verifier.portray(job)
        assert isinstance(portrait, Portrait), (code, portrait)
        result[code] = finding, portrait
    return result


def tried(verifier: Verifier, job: Job, text: str) -> Trial | Failure:
    """What a script does."""
    return verifier.try_script(replace(job, text=text))


@pytest.fixture(scope="module")
def told(
    found: dict[str, tuple[Finding, Job]],
    portraits: dict[str, tuple[Finding, Portrait]],
    verifier: Verifier,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[str, str]]:
    """The script of each rule that has one, or why it has none, and what it printed."""
    target = tmp_path_factory.mktemp("scripts")
    results: dict[str, tuple[str, str]] = {}
    for rule in MEASURABLE:
        if rule.code not in portraits or rule.claim is None:
            continue
        finding, portrait = portraits[rule.code]
        job = found[rule.code][1]
        try:
            text = reproduced(finding, rule.claim, portrait, partial(tried, verifier, job))
        except EmitError as error:
            results[rule.code] = "", str(error)
        else:
            (target / f"{rule.code}.py").write_text(text, encoding="utf-8")
    paths = sorted(map(str, target.iterdir()))
    done = subprocess.run([sys.executable, "-c", DRIVER, *paths], capture_output=True, text=True, check=True)
    for path, printed in map(json.loads, done.stdout.splitlines()):
        results[Path(path).stem] = Path(path).read_text(encoding="utf-8"), printed
    return results


@pytest.mark.parametrize("rule", MEASURABLE, ids=lambda rule: rule.code)
def test_the_script_of_an_example_measures_what_the_verifier_does(
    rule: Rule, portraits: dict[str, tuple[Finding, Portrait]], told: dict[str, tuple[str, str]]
) -> None:
    assert rule.claim is not None
    if rule.claim in NO_SCRIPT:
        assert told[rule.code] == ("", f"what {rule.code} claims cannot be shown by a script")
        return
    text, printed = told[rule.code]
    assert 0 < len(text.splitlines()) <= MOST_LINES, printed
    assert "import losslint" not in text
    *_, expected, measured = printed.splitlines()
    assert expected.startswith("expected "), printed
    assert measured.startswith("measured "), printed
    assert expected.split(" ", 1)[1] != measured.split(" ", 1)[1]
    portrait = portraits[rule.code][1]
    if rule.code not in SEVERAL_NUMBERS and portrait.measured is not None:
        assert float(measured.split(" ")[1]) == pytest.approx(portrait.measured, rel=1e-3)


def test_a_scaler_is_asked_as_the_users_statements_ask_it(told: dict[str, tuple[str, str]]) -> None:
    text, printed = told["LL304"]
    assert "\n            scaler.update()\n" in text
    assert printed.splitlines()[-1] == "measured {'update': 1.0, 'unscale_': 4.0}"


def test_a_script_is_written_and_runs_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a function that is called as something in the script
    source = (
        "def run(model, loader, optimizer, criterion, accum_steps=4):\n"
        "    for i, (x, y) in enumerate(loader):\n"
        "        loss = criterion(model(x), y)\n"
        "        loss.backward()\n"
        "        if (i + 1) % accum_steps == 0:\n"
        "            optimizer.step()\n"
        "            optimizer.zero_grad()\n"
    )
    (tmp_path / "train.py").write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "train.py:4", "--isolated", "--device", "cpu", "--emit", "repro.py"]) == 0
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "repro.py"], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["expected 1.0", "measured 4.0"], done.stderr


def test_a_script_goes_to_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text(
        "def train(model, loader, optimizer, criterion):\n"
        "    for x, y in loader:\n"
        "        loss = criterion(model(x), y)\n"
        "        loss.backward()\n"
        "        optimizer.step()\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["verify", "train.py:4", "--isolated", "--device", "cpu", "--select", "LL401"]
    assert main([*arguments, "--emit", "-"]) == 0
    output = capsys.readouterr()
    compile(output.out, "repro.py", "exec")
    assert "\n        loss.backward()\n" in output.out
    assert main([*arguments, "--emit", "absent/repro.py"]) == 2
    assert "error: `absent/repro.py`: no such file or directory" in capsys.readouterr().err
    assert main([*arguments, "--plot", "out.png"]) == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("rule", MEASURABLE, ids=lambda rule: rule.code)
def test_every_example_has_a_picture(rule: Rule, portraits: dict[str, tuple[Finding, Portrait]]) -> None:
    made = picture(portraits[rule.code][0], rule.claim, portraits[rule.code][1])
    assert made.title
    assert rule.code in made.subtitle


def pictures() -> Iterator[Weights | Curves]:
    yield Weights("4× too large", "train.py:3", [[Bar(0, 0.5, 2.0), Bar(1, 0.5, 2.0)]])
    yield Weights("1024× too large", "train.py:3", [[Bar(0, 1.0, 1024.0)], [Bar(1, 1.0, 1024.0)]])
    yield Weights("missing", "train.py:3", [[Bar(0, 0.5, 0.0), Bar(1, 0.5, 0.5)]], total=None)
    yield Curves("4× too small", "train.py:3", [1, 2], [0.25, 0.2], [1.0, 0.8])
    yield Curves("one point <b>", "train.py:3", [1], [0.0], [1.0])


@pytest.mark.parametrize("made", list(pictures()), ids=lambda made: made.title)
@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_pictures_are_drawn(tmp_path: Path, made: Weights | Curves, suffix: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    target = tmp_path / f"out{suffix}"
    draw(made, target)
    data = target.read_bytes()
    if suffix == ".png":
        assert data.startswith(b"\x89PNG")
        return
    text = data.decode()
    assert text.startswith("<!doctype html>" if suffix == ".html" else "<?xml")
    assert "train.py:3" in text
    assert "<b>" not in text


@pytest.mark.parametrize("name", ["out.pdf", "out", "absent/out.png"])
def test_what_cannot_be_drawn_to(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlotError):
        draw(next(pictures()), tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (4.0, "4× too large"),
        (0.25, "4× too small"),
        (1.0, "as it should be"),
        (0.0, "missing"),
        (-1.0, "of the wrong sign"),
        (4 / 3, "1.33× too large"),
    ],
)
def test_factors_in_words(factor: float, words: str) -> None:
    assert times(factor) == words


def test_numbers_have_the_digits_that_matter() -> None:
    assert [number(value) for value in (4.0, 0.25, 65536.0, 1 / 3)] == ["4", "0.25", "65536", "0.333"]
