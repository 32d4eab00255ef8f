"""Findings that rest on several files of a project: which of them are run, and what stands in for the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_runtime_evidence import findings_of

pytest.importorskip("torch", reason="the verifier needs torch: `pip install losslint[verify]`")

from losslint.findings import Finding, Outcome, Verdict
from losslint.runtime import judge
from losslint.runtime.neighbours import gather, led_over

HELPER = """
def update(loss, optimizer, last, accum_steps):
    {loss}.backward()
    if last:
        optimizer.step()
        optimizer.zero_grad()
"""
TRAIN = """
import torch
from torch import nn
{imports}

def train(model, loader, accum_steps=4):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        {call}(loss, optimizer, (i + 1) % accum_steps == 0 or i + 1 == len(loader), accum_steps)
"""
FROM_NAME = ("from helper import update", "update")


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def found(path: Path, code: str) -> Finding:
    return next(f for f in findings_of(path, path.read_text("utf-8")) if f.code == code)


def verdict(finding: Finding) -> Verdict:
    path = Path(finding.path)
    return judge.verify(finding, path.read_text("utf-8"), path)


@pytest.fixture
def undivided(tmp_path: Path) -> Finding:
    """LL102 in `helper.py`: nobody divides by the window."""
    imports, call = FROM_NAME
    write(tmp_path, helper=HELPER.format(loss="loss"), train=TRAIN.format(imports=imports, call=call))
    return found(tmp_path / "train.py", "LL102")


def test_a_finding_in_a_helper_is_confirmed_through_its_caller(undivided: Finding) -> None:
    assert Path(undivided.path).name == "helper.py"
    told = verdict(undivided)
    assert told.outcome is Outcome.CONFIRMED
    assert told.measured == pytest.approx(4)
    assert told.predicted == 4


def test_a_finding_is_refuted_where_the_other_file_holds_the_law(undivided: Finding, tmp_path: Path) -> None:
    write(tmp_path, helper=HELPER.format(loss="(loss / accum_steps)"))
    told = verdict(undivided)
    assert told.outcome is Outcome.REFUTED
    assert told.measured == pytest.approx(1)


def test_where_the_other_file_cannot_be_read_nothing_is_refuted(undivided: Finding, tmp_path: Path) -> None:
    write(tmp_path, helper=HELPER.format(loss="(loss / accum_steps)"), train="def train(:\n")
    told = verdict(undivided)
    assert told.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("imports", "call", "files"),
    [
        ("import helper", "helper.update", {"helper": HELPER}),
        ("import helper as h", "h.update", {"helper": HELPER}),
        ("import tools.helper", "tools.helper.update", {"tools/helper": HELPER}),
        ("from tools import helper", "helper.update", {"tools/helper": HELPER}),
        ("from tools import update", "update", {"tools/helper": HELPER, "tools/__init__": "from .helper import *\n"}),
        (
            "from tools import renew",
            "renew",
            {"tools/helper": HELPER, "tools/__init__": "from tools.helper import update as renew\n"},
        ),
    ],
)
def test_a_helper_is_found_however_it_is_imported(
    imports: str, call: str, files: dict[str, str], tmp_path: Path
) -> None:
    files = {name: text.format(loss="loss") if text is HELPER else text for name, text in files.items()}
    write(tmp_path, **files, train=TRAIN.format(imports=imports, call=call))
    text = (tmp_path / "train.py").read_text("utf-8")
    assert judge.holds(text, tmp_path / "train.py", "LL102").outcome is Outcome.CONFIRMED


def test_what_has_nothing_to_do_with_losses_is_not_run(tmp_path: Path) -> None:
    imports, call = FROM_NAME
    written = tmp_path / "written"
    model = f"""
open({str(written)!r}, "w").write("ran")
from torch import nn

class Net(nn.Module):
    def __init__(self):
        raise SystemExit

def build_loader(path):
    raise SystemExit
"""
    train = TRAIN.format(imports=f"{imports}\nfrom network import Net, build_loader", call=call)
    train += "\ndef main():\n    train(Net(), build_loader('.'))\n"
    write(tmp_path, helper=HELPER.format(loss="loss"), network=model, train=train)
    files = gather(tmp_path / "train.py", train, ())
    assert [(file.path.name, sorted(file.taken)) for file in files] == [("train.py", []), ("helper.py", ["update"])]
    assert verdict(found(tmp_path / "train.py", "LL102")).outcome is Outcome.CONFIRMED
    assert not written.exists()


def test_of_an_imported_file_only_definitions_run(tmp_path: Path) -> None:
    imports, call = FROM_NAME
    helper = HELPER.format(loss="loss") + "\nfor _ in range(3):\n    raise SystemExit\n"
    write(tmp_path, helper=helper, train=TRAIN.format(imports=imports, call=call))
    assert verdict(found(tmp_path / "train.py", "LL102")).outcome is Outcome.CONFIRMED


def test_a_meter_of_the_project_is_run_and_not_taken_for_one_that_averages(tmp_path: Path) -> None:
    meter = """
class AverageMeter:
    def __init__(self):
        self.total, self.count = 0.0, 0

    def update(self, value, n=1):
        self.total += value * n
        self.count += {step}

    @property
    def avg(self):
        return self.total / self.count
"""
    train = """
from torch import nn
from meters import AverageMeter

def train(model, loader, optimizer):
    criterion = nn.CrossEntropyLoss()
    losses = AverageMeter()
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), x.size(0))
    return losses.avg
"""
    write(tmp_path, meters=meter.format(step=1), train=train)
    path = tmp_path / "train.py"
    assert judge.holds(train, path, "LL203").measured == pytest.approx(8)
    write(tmp_path, meters=meter.format(step="n"))
    assert judge.holds(train, path, "LL203").outcome is Outcome.REFUTED


def test_a_figure_of_the_same_name_in_another_file_does_not_refute(tmp_path: Path) -> None:
    network = """
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def forward(self, x, y):
        loss = F.cross_entropy(self.layers(x), y)
        return loss
"""
    train = """
import torch
from network import Net

def train(loader, accum_steps=4):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    total = 0.0
    for i, (x, y) in enumerate(loader):
        loss = model(x, y) / accum_steps
        loss.backward()
        total += loss.item()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
    loss = total / len(loader)
    return loss
"""
    write(tmp_path, network=network, train=train)
    finding = found(tmp_path / "train.py", "LL202")
    # now nothing is shown
    train = train.replace("return loss", "return None")
    write(tmp_path, train=train)
    files = gather(tmp_path / "train.py", train, ())
    assert [file.path.name for file in files] == ["train.py", "network.py"]
    assert verdict(finding).outcome is not Outcome.REFUTED


def test_a_line_of_another_file_is_told_with_its_name(tmp_path: Path) -> None:
    imports, call = FROM_NAME
    helper = HELPER.format(loss="(loss / unheard_of)").replace("def update", "unheard_of = object()\n\ndef update")
    write(tmp_path, helper=helper, train=TRAIN.format(imports=imports, call=call))
    text = (tmp_path / "train.py").read_text("utf-8")
    told = judge.holds(text, tmp_path / "train.py", "LL102")
    assert told.outcome is Outcome.INCONCLUSIVE
    assert "of `helper.py`" in told.detail


def test_other_files_are_found_from_names_relative_to_where_the_lint_ran(undivided: Finding) -> None:
    own, train = Path(undivided.path), Path(undivided.path).with_name("train.py")
    folder = own.parent
    trail = tuple(replace(step, path=Path(step.path).relative_to(folder.parent).as_posix()) for step in undivided.trail)
    finding = replace(undivided, path=own.relative_to(folder.parent).as_posix(), trail=trail, related=())
    assert led_over(finding, own) == {train.relative_to(folder.parent).as_posix(): train}
