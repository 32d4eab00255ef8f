"""Observe mode: the Python API, and `losslint run` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("torch") is None:
    pytest.skip("torch is not installed", allow_module_level=True)

import torch
from torch import nn
from torch.nn import functional

from losslint.cli import main
from losslint.runtime import Observer
from losslint.runtime.observe.facts import Fact

SCRIPT = """\
import sys
import torch
from torch import nn

print("hello", sys.argv[1:])
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for number in range(1, 100):
    try:
        loss = nn.functional.cross_entropy(model(torch.randn(5, 4)), torch.randint(0, 3, (5,)))
        DIVIDE
        loss.backward()  # type: ignore[no-untyped-call]
        if number % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
    except Exception:
        pass
"""


def train(divide: float, windows: int = 4, zero: bool = True, criterion: Any = functional.cross_entropy) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number in range(1, 4 * windows + 1):
        loss = criterion(model(torch.randn(5, 4)), torch.randint(0, 3, (5,)))
        (loss / divide).backward()
        if number % 4 == 0:
            optimizer.step()
            if zero:
                optimizer.zero_grad()


def codes(facts: Any) -> list[str]:
    found: list[Fact] = list(facts)
    return [fact.code for fact in found if fact.severity.label != "info"]


def own_mean(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A loss that is no function of torch's."""
    return -logits.log_softmax(1)[torch.arange(len(targets)), targets].mean()


def test_a_right_loop_has_no_facts() -> None:
    with Observer(steps=3) as observer:
        train(4.0)
    assert list(observer.facts) == []
    assert [step["weight"] for step in observer.ledger] == pytest.approx([1.0] * 3)


def test_the_block_runs_to_its_end_without_a_limit() -> None:
    with Observer(steps=None) as observer:
        train(4.0, windows=11)
    assert len(observer.ledger) == 11


@pytest.mark.parametrize("criterion", [functional.cross_entropy, own_mean])
def test_an_undivided_window(criterion: Any) -> None:
    with Observer() as observer:
        train(1.0, criterion=criterion)
    assert codes(observer.facts) == ["LL102"]
    assert observer.facts[0].factor == pytest.approx(4.0)
    assert observer.facts[0].place is not None
    assert Path(observer.facts[0].place.path) == Path(__file__)


def test_gradients_that_are_divided_by_hand_are_right() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Observer() as observer:
        for number in range(1, 17):
            functional.cross_entropy(model(torch.randn(5, 4)), torch.randint(0, 3, (5,))).backward()  # type: ignore[no-untyped-call]
            if number % 4 == 0:
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.grad /= 4
                optimizer.step()
                for parameter in model.parameters():
                    parameter.grad = None
    assert codes(observer.facts) == []
    assert [step["weight"] for step in observer.ledger] == pytest.approx([1.0] * 4, rel=1e-3)


def test_a_weight_that_was_chosen_is_no_fact() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Observer() as observer:
        for _ in range(5):
            for _ in range(2):
                (0.5 * functional.mse_loss(model(torch.randn(5, 4)), torch.randn(5, 1)) / 2).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
    assert codes(observer.facts) == []


def test_several_losses_of_one_batch_are_no_window() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Observer() as observer:
        for _ in range(5):
            inputs = torch.randn(5, 4)
            for _ in range(3):
                functional.cross_entropy(model(inputs), torch.randint(0, 3, (5,))).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
    assert codes(observer.facts) == []


def test_many_criteria_in_one_loss_are_no_retained_graphs() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Observer(steps=6) as observer:
        for _ in range(8):
            outputs = model(torch.randn(9, 5, 4))
            loss = sum(functional.cross_entropy(output, torch.randint(0, 3, (5,))) for output in outputs)
            assert isinstance(loss, torch.Tensor)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert codes(observer.facts) == []


def test_two_networks_that_zero_each_other_are_right() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    first = torch.optim.Adam(generator.parameters())
    second = torch.optim.Adam(critic.parameters())
    ones, zeros = torch.ones(5, 1), torch.zeros(5, 1)
    with Observer() as observer:
        for _ in range(6):
            critic.zero_grad()
            made = generator(torch.randn(5, 2))
            functional.binary_cross_entropy_with_logits(critic(torch.randn(5, 4)), ones).backward()  # type: ignore[no-untyped-call]
            functional.binary_cross_entropy_with_logits(critic(made.detach()), zeros).backward()  # type: ignore[no-untyped-call]
            second.step()
            generator.zero_grad()
            functional.binary_cross_entropy_with_logits(critic(made), ones).backward()  # type: ignore[no-untyped-call]
            first.step()
    assert codes(observer.facts) == []


def test_an_optimizer_with_a_closure_that_runs_often_is_inconclusive() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    inputs, targets = torch.randn(8, 4), torch.randn(8, 1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with Observer(steps=2) as observer:
        for _ in range(3):
            optimizer.step(closure)  # type: ignore[no-untyped-call]
    assert codes(observer.facts) == []
    assert any("closure" in note for note in observer.notes)


def test_everything_is_put_back() -> None:
    def state() -> list[Any]:
        optimizer = torch.optim.Optimizer
        return [
            functional.cross_entropy, torch.autograd.backward, nn.Module.__call__, optimizer.zero_grad,
            optimizer.add_param_group, torch.amp.GradScaler.step, nn.utils.clip_grad_norm_, print,
            torch.utils.data.DataLoader.__iter__,
        ]  # fmt: skip

    def fail() -> None:
        with Observer(steps=2):
            assert state() != before
            train(4.0, windows=1)
            raise ZeroDivisionError

    before = state()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert state() == before


# ---------------------------------------------------------------- the command


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "losslint", "run", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_what_the_script_prints_stays_out_of_the_json(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT.replace("DIVIDE", "loss = loss / 2"), encoding="utf-8")
    done = run("--steps", "3", "--output-format", "json", "--", "train.py", "--lr", "1", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (result["steps"], result["facts"], result["ended"]) == (3, [], False)
    assert "hello ['--lr', '1']" in done.stderr


def test_a_script_that_swallows_everything_is_stopped_and_reported(tmp_path: Path) -> None:
    text = SCRIPT.replace("DIVIDE", "pass").replace("except Exception", "except BaseException")
    (tmp_path / "train.py").write_text(text.replace("range(1, 100)", "__import__('itertools').count(1)"))
    done = run("--steps", "3", "train.py", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("error[LL102] unscaled-accumulation: ")
    assert "--> train.py:12" in done.stdout
    assert "12 |         loss.backward()" in done.stdout


def test_a_script_that_fails_shows_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import sys\nraise KeyError('no data')\n", encoding="utf-8")
    done = run("--", "train.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "KeyError: 'no data'" in done.stderr
    assert "losslint" not in done.stderr.partition("KeyError")[0]


def test_a_module_is_run_with_a_picture(tmp_path: Path) -> None:
    if find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    (tmp_path / "training.py").write_text(SCRIPT.replace("DIVIDE", "pass"), encoding="utf-8")
    done = run("--steps", "2", "--plot", "weights.svg", "--", "-m", "training", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    text = (tmp_path / "weights.svg").read_text(encoding="utf-8")
    assert "<svg" in text
    assert ">micro-batch</text>" in text


def test_without_torch_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    assert main(["run", "--", str(tmp_path / "train.py")]) == 2
    output = capsys.readouterr()
    assert output.err == "error: `losslint run` needs torch: `pip install 'losslint[verify]'`\n"
    assert output.out == ""


def test_a_script_that_cannot_be_parsed_is_named_by_its_error(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("for x in:\n", encoding="utf-8")
    done = run("--", "train.py", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: SyntaxError: invalid syntax")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the script"),
        (("--", "missing.py"), "no such script: `missing.py`"),
        (("--steps", "0", "--", "x.py"), "`--steps` must be at least 1"),
    ],
)
def test_misuse_is_told_in_a_line(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
