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
from losslint.runtime.reproduction import MOST_LINES, reproduced, seen_to_run
from losslint.verification import jobs_of

pytest.importorskip("torch", reason="scripts and pictures show what torch measures")

MEASURABLE = [rule for rule in rules() if rule.claim is not None]
NO_SCRIPT = {Claim.FIGURE_LOCAL, Claim.SCHEDULER_PACE, Claim.DEAD_BACKWARD, Claim.GRADIENT_SHARE}
"""What takes several processes, a schedule, or a model between the losses and their gradients."""

SHORTENED = {"LL102", "LL202", "LL304", "LL901"}
"""One of each family, as it is written to a file; of the others the script is not made short, which takes many runs."""

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
            attempt = partial(tried, verifier, job)
            if rule.code in SHORTENED:
                text = reproduced(finding, rule.claim, portrait, attempt)
            else:
                text = seen_to_run(finding, rule.claim, portrait, attempt)[0].text()
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
    assert text, printed
    assert rule.code not in SHORTENED or len(text.splitlines()) <= MOST_LINES
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
    assert "scaler.update()\n" in text
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


# ---------------------------------------------------------------- scripts of files as people write them

TRAINER = """
import argparse
import os
import time

import numpy as np
import torch
import torch.nn as nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

import wandb
from mypackage.data import build_loaders
from mypackage.models import build_model
from mypackage.utils import AverageMeter, save_checkpoint, set_seed

LOOKUP = [{numbers}]


def helper_that_nothing_needs(values):
    return [value * 2 for value in values]


class Trainer:
    def __init__(self, args):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = build_model(args.arch).to(self.device)
        self.train_loader, self.val_loader = build_loaders(args)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.lr)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, args.epochs)
        self.writer = SummaryWriter(args.log_dir)
        self.accum_steps = args.accum_steps
        self.criterion = nn.CrossEntropyLoss()

    def loss_of(self, batch):
        inputs = batch["inputs"].to(self.device, non_blocking=True)
        labels = batch["labels"].to(self.device, non_blocking=True)
        if self.args.mixup:
            lam = np.random.beta(1.0, 1.0)
            inputs = lam * inputs + (1 - lam) * inputs.flip(0)
        logits = self.model(inputs)
        return self.criterion(logits, labels)

    def train_epoch(self, epoch):
        self.model.train()
        losses, batch_time = AverageMeter(), AverageMeter()
        end = time.time()
        self.optimizer.zero_grad()
        for step, batch in enumerate(tqdm(self.train_loader)):
            loss = self.loss_of(batch)
            loss.backward()
            if (step + 1) % self.accum_steps == 0:
                if self.args.clip > 0:
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.args.clip)
                self.optimizer.step()
                self.optimizer.zero_grad()
            losses.update(loss.item(), batch["inputs"].size(0))
            batch_time.update(time.time() - end)
            end = time.time()
            if step % self.args.log_every == 0 and self.args.rank == 0:
                wandb.log({{"loss": losses.avg, "time": batch_time.avg}})
        self.scheduler.step()
        return losses.avg

    def fit(self):
        set_seed(self.args.seed)
        for epoch in range(self.args.epochs):
            loss = self.train_epoch(epoch)
            self.writer.add_scalar("train/loss", loss, epoch)
            if epoch % self.args.save_every == 0:
                save_checkpoint(self.model, os.path.join(self.args.log_dir, "last.pt"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--accum_steps", type=int, default=4)
    Trainer(parser.parse_args()).fit()
""".format(numbers=", ".join(map(str, range(400))))


def one(folder: Path, source: str, code: str) -> tuple[Finding, Job]:
    """The finding of a rule in a source, and its job."""
    (folder / "train.py").write_text(source, encoding="utf-8")
    configs = Configs(isolated=True)
    found = jobs_of(check(discover([str(folder / "train.py")], configs), configs, Wishes(min_severity=Severity.INFO)))
    return next((finding, job) for finding, job in found.items() if finding.code == code)


def claimed(finding: Finding) -> Claim:
    """What a finding claims."""
    return next(rule.claim for rule in MEASURABLE if rule.code == finding.code and rule.claim is not None)


def test_a_trainer_class_with_imports_out_of_reach_has_a_script_that_runs(tmp_path: Path, verifier: Verifier) -> None:
    finding, job = one(tmp_path, TRAINER, "LL102")
    portrait = verifier.portray(job)
    assert isinstance(portrait, Portrait)
    text = reproduced(finding, claimed(finding), portrait, partial(tried, verifier, job))
    assert len(text.splitlines()) <= MOST_LINES
    (tmp_path / "repro.py").write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", "repro.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["expected 1.0", "measured 4.0"], done.stderr
    # the user's statements that matter, and none of the others
    assert "            if (step + 1) % self.accum_steps == 0:\n" in text
    assert "        return self.criterion(logits, labels)\n" in text
    for gone in ("wandb", "mypackage", "LOOKUP", "helper_that_nothing_needs", "mixup", "save_checkpoint", "set_seed"):
        assert gone not in text


def test_a_script_of_another_number_than_the_verdict_is_refused(tmp_path: Path, verifier: Verifier) -> None:
    finding, job = one(tmp_path, TRAINER, "LL102")
    portrait = verifier.portray(job)
    assert isinstance(portrait, Portrait)
    with pytest.raises(EmitError, match="the script measures 4, and the verdict rests on 3"):
        reproduced(finding, claimed(finding), replace(portrait, measured=3.0), partial(tried, verifier, job))


def test_a_script_that_hangs_or_ends_its_process_is_refused(tmp_path: Path, verifier: Verifier) -> None:
    finding, job = one(tmp_path, TRAINER, "LL102")
    portrait = verifier.portray(job)
    assert isinstance(portrait, Portrait)

    def failing(text: str) -> Trial | Failure:
        return verifier.try_script(replace(job, text=f"raise SystemExit\n{text}"))

    with pytest.raises(EmitError, match="the script does not come to an end: it ended the process"):
        reproduced(finding, claimed(finding), portrait, failing)


def test_a_statement_that_needs_more_than_torch_gives_way(verifier: Verifier, tmp_path: Path) -> None:
    source = (
        "import torch\n"
        "def train(model, loader, optimizer, criterion, accum_steps=4):\n"
        "    for i, (x, y) in enumerate(loader):\n"
        "        x = torch.fft.rfft2(x, norm='ortho', dim=(2, 3), out=int(x))\n"
        "        table = {{}[0]: x}\n"
        "        loss = criterion(model(x, table), y)\n"
        "        loss.backward()\n"
        "        if (i + 1) % accum_steps == 0:\n"
        "            optimizer.step()\n"
        "            optimizer.zero_grad()\n"
    )
    finding, job = one(tmp_path, source, "LL102")
    portrait = verifier.portray(job)
    assert isinstance(portrait, Portrait)
    text = reproduced(finding, claimed(finding), portrait, partial(tried, verifier, job))
    assert "table = Anything()" in text
    assert "        loss = criterion(model(x, table), y)\n" in text


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("rule", MEASURABLE, ids=lambda rule: rule.code)
def test_every_example_has_a_picture(rule: Rule, portraits: dict[str, tuple[Finding, Portrait]]) -> None:
    made = picture(portraits[rule.code][0], rule.claim, portraits[rule.code][1])
    assert made.title
    assert rule.code in made.subtitle
    # it shows what is wrong
    if isinstance(made, Weights):
        assert any(bar.measured != pytest.approx(bar.expected, rel=1e-3) for step in made.steps for bar in step)
    else:
        assert list(made.reported) != pytest.approx(list(made.true), rel=1e-3)


def test_what_is_left_over_is_shown_without_a_step(portraits: dict[str, tuple[Finding, Portrait]]) -> None:
    steps = portraits["LL106"][1].steps
    assert steps[-1].title == "no step of the pass"
    assert {batch for batch, _ in steps[-1].items} == {12, 13}
    assert not any(steps[-1].measured)


def test_items_that_do_not_count_should_weigh_nothing(portraits: dict[str, tuple[Finding, Portrait]]) -> None:
    first = portraits["LL111"][1].steps[0]
    assert first.expected == (1.0, *[0.0] * 7)
    assert first.measured == pytest.approx((1 / 8, *[0.0] * 7))


def test_a_figure_of_validation_is_true_of_validation(tmp_path: Path, verifier: Verifier) -> None:
    source = (
        "from torch import nn\n"
        "def train(model, train_loader, val_loader, optimizer, epochs=3):\n"
        "    criterion = nn.CrossEntropyLoss()\n"
        "    for epoch in range(epochs):\n"
        "        for x, y in train_loader:\n"
        "            optimizer.zero_grad()\n"
        "            criterion(model(x), y).backward()\n"
        "            optimizer.step()\n"
        "        val_loss = 0.0\n"
        "        for x, y in val_loader:\n"
        "            val_loss += criterion(model(x), y).item()\n"
        "        print(val_loss / len(val_loader.dataset))\n"
    )
    _, job = one(tmp_path, source, "LL204")
    portrait = verifier.portray(job)
    assert isinstance(portrait, Portrait)
    assert portrait.curve is not None
    ratios = [said / true for said, true in zip(portrait.curve.reported, portrait.curve.true, strict=True)]
    assert ratios == pytest.approx([1 / 8] * len(ratios))


def test_titles_tell_factors_from_counts(portraits: dict[str, tuple[Finding, Portrait]]) -> None:
    def title(code: str) -> str:
        claim = next(rule.claim for rule in MEASURABLE if rule.code == code)
        return picture(portraits[code][0], claim, portraits[code][1]).title

    assert title("LL104") == "The weight of items changes by 12×"
    assert title("LL210") == "The graphs of 11 past batches are alive at once"
    assert title("LL411") == "The schedule moves 4 times per optimizer step"


def test_a_long_path_is_shown_by_its_end(portraits: dict[str, tuple[Finding, Portrait]]) -> None:
    finding, portrait = portraits["LL102"]
    far = replace(finding, path=f"{'a_long_folder_name/' * 9}models/train.py")
    subtitle = picture(far, Claim.GRADIENT_SCALE, portrait).subtitle
    assert subtitle.startswith(f"…/models/train.py:{finding.range.start_line} · LL102")


def test_long_titles_go_over_several_lines(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    words = "word " * 40
    draw(Curves("title", words.strip(), [1], [0.0], [1.0]), tmp_path / "out.svg")
    svg = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert words.strip() not in svg
    assert svg.count("word word") >= 2


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
    told = [number(value) for value in (4.0, 0.25, 65536.0, 1 / 3, 1023.97)]
    assert told == ["4", "0.25", "65536", "0.333", "1024"]
