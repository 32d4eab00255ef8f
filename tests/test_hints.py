"""What a project teaches of its own code makes silent loops speak, and loops that spoke fall silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from losslint.contracts.hints import NO_HINTS, Hints
from losslint.engine import analyze
from losslint.findings import Severity
from losslint.registry import rules
from losslint.source import ProjectRoots, SourceFile, worth_parsing

HEAD = "import torch\n"
REPORT = """
{head}

def evaluate(model, loader, device):
    total, count = 0.0, 0
    for inputs, targets in loader:
        loss = {loss}
        total += loss.item()
        count += targets.size(0)
    print("validation loss", total / count)
"""
WINDOW = """
{head}

def train(model, loader, optimizer, criterion, engine, accum_steps=4):
    for i, (inputs, targets) in enumerate(loader):
        loss = torch.nn.functional.cross_entropy(model(inputs), targets){scale}
        {backward}(loss)
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
"""


def found(folder: Path, text: str, hints: Hints = NO_HINTS) -> list[str]:
    path = folder / "train.py"
    path.write_text(text)
    source = SourceFile(path, "train.py", text)
    analysis = analyze(source, ProjectRoots((folder,), hints), rules(), Severity.WARNING)
    assert not analysis.errors
    return [finding.code for finding in analysis.findings]


def report(head: str, loss: str) -> str:
    return REPORT.format(head=HEAD + head, loss=loss)


def window(head: str, backward: str, scale: str = "") -> str:
    return WINDOW.format(head=HEAD + head, backward=backward, scale=scale)


LIBRARY = report("from mylib.losses import focal", "focal(model(inputs), targets)")
LIBRARY_CLASS = report("import mylib\n\ncriterion = mylib.losses.Focal()", "criterion(model(inputs), targets)")
NAMED = report("from mylib import build\n\ncost = build()", "cost(model(inputs), targets)")


@pytest.mark.parametrize(
    ("text", "name", "untaught"),
    [
        (LIBRARY, "mylib.losses.focal", ["LL204"]),
        (LIBRARY, "losses.focal", ["LL204"]),
        (LIBRARY, "focal", ["LL204"]),
        (LIBRARY_CLASS, "mylib.losses.Focal", []),
        (NAMED, "cost", []),
        (report("", "model.compute_loss(inputs, targets)"), "Model.compute_loss", []),
    ],
)
def test_a_loss_out_of_sight_is_a_mean_or_a_sum(tmp_path: Path, text: str, name: str, untaught: list[str]) -> None:
    assert found(tmp_path, text) == untaught
    assert found(tmp_path, text, Hints(losses=((name, "mean"),))) == ["LL204"]
    assert found(tmp_path, text, Hints(losses=((name, "sum"),))) == []
    assert found(tmp_path, text, Hints(losses=(("other.focal", "sum"),))) == untaught


FOCAL = """\
import torch
import torch.nn.functional as F

def focal(logits, targets):
    return F.cross_entropy(logits, targets)

class Focal(torch.nn.Module):
    def forward(self, logits, targets):
        return F.cross_entropy(logits, targets)
"""


@pytest.mark.parametrize(
    ("head", "loss", "name"),
    [
        ("from mylib.losses import focal", "focal(model(inputs), targets)", "mylib.losses.focal"),
        ("from mylib.losses import Focal\n\ncriterion = Focal()", "criterion(model(inputs), targets)", "losses.Focal"),
    ],
)
def test_what_is_taught_wins_over_what_is_in_sight(tmp_path: Path, head: str, loss: str, name: str) -> None:
    (tmp_path / "mylib").mkdir()
    (tmp_path / "mylib" / "__init__.py").touch()
    (tmp_path / "mylib" / "losses.py").write_text(FOCAL)
    text = report(head, loss)
    assert found(tmp_path, text) == ["LL204"]
    assert found(tmp_path, text, Hints(losses=((name, "sum"),))) == []


METER = """
import torch
import torch.nn.functional as F
{head}

def evaluate(model, loader):
    tracker = {maker}()
    for inputs, targets in loader:
        loss = F.cross_entropy(model(inputs), targets)
        tracker.update(loss.item() * targets.size(0), targets.size(0))
    print("validation loss", tracker.avg)
"""


def test_a_meter_averages_what_it_is_given(tmp_path: Path) -> None:
    text = METER.format(head="from mylib import Tracker", maker="Tracker")
    assert found(tmp_path, text) == []
    assert found(tmp_path, text, Hints(meters=("mylib.Tracker",))) != []
    here = "class Tracker:\n    def update(self, value, n):\n        native.push(self, value, n)"
    text = METER.format(head=here, maker="Tracker")
    assert found(tmp_path, text) == []
    assert found(tmp_path, text, Hints(meters=("train.Tracker",))) != []


ENGINE = """\
class Engine:
    def backward(self, loss):
        loss.backward()

engine = Engine()
"""


@pytest.mark.parametrize(
    ("head", "backward", "name"),
    [
        (ENGINE, "Engine().backward", "train.Engine.backward"),
        (ENGINE, "Engine().backward", "Engine.backward"),
        ("def push(loss):\n    loss.backward()", "push", "push"),
    ],
)
def test_a_backward_that_divides_is_right_without_a_division(
    tmp_path: Path, head: str, backward: str, name: str
) -> None:
    assert found(tmp_path, window(head, backward)) == ["LL102"]
    assert found(tmp_path, window(head, backward), Hints(dividing=(name,))) == []


@pytest.mark.parametrize(
    ("head", "backward", "name"),
    [
        ("from mylib import Engine\n\nruntime = Engine()", "runtime.backward", "mylib.Engine.backward"),
        ("", "engine.backward", "mylib.Engine.backward"),
        ("from mylib import push", "push", "mylib.push"),
    ],
)
def test_a_division_too_many_is_found(tmp_path: Path, head: str, backward: str, name: str) -> None:
    text = window(head, backward, " / accum_steps")
    assert found(tmp_path, text) == []
    assert found(tmp_path, text, Hints(dividing=(name,))) == ["LL103"]


@pytest.mark.parametrize("name", ["backward", "item", "update", "train", "evaluate", "cross_entropy", "size", "print"])
@pytest.mark.parametrize("text", [LIBRARY, LIBRARY_CLASS, window(ENGINE, "Engine().backward"), METER])
def test_odd_hints_are_survived(tmp_path: Path, text: str, name: str) -> None:
    text = text.format(head="from mylib import Tracker", maker="Tracker") if text is METER else text
    for hints in (
        Hints(losses=((name, "none"),)),
        Hints(meters=(name,)),
        Hints(dividing=(name,)),
        Hints(((name, "sum"), (f"torch.{name}", "mean")), (name,), (f"model.{name}",)),
    ):
        found(tmp_path, text, hints)


def test_a_file_that_speaks_of_what_is_taught_is_read() -> None:
    data = b"def step(engine, value):\n    engine.optimize(value)\n"
    assert not worth_parsing(data)
    assert worth_parsing(data, Hints(dividing=("lib.Engine.optimize",)).words)
    assert not worth_parsing(b"engine.optimize(value)\n", (b"optimize",))
