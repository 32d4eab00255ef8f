"""The tiny world by itself: weights that are known from the code, and what it does with code that it cannot run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_runtime_evidence import findings_of

pytest.importorskip("torch", reason="the verifier needs torch: `pip install losslint[verify]`")

import torch

from losslint.findings import Factor, Finding, Outcome, Range, Reason, TrailStep
from losslint.runtime import bench, judge
from losslint.runtime.bench import Bench
from losslint.units import Unit

LOOP = """
import torch
from torch import nn

def train(model, loader, optimizer, accum_steps=4):
    criterion = nn.CrossEntropyLoss()
    optimizer.zero_grad()
    total = 0.0
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y){scale}
        loss.backward()
        total += loss.item()
        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
    return total / len(loader)
"""


def on_bench(text: str, line: int) -> Bench:
    program, code = bench.prepare(text, Path("train.py"), (line,), ())
    return Bench(program, code, program.entries[0], torch.device("cpu"))


def finding(text: str, code: str) -> Finding:
    return next(f for f in findings_of(Path("train.py"), text) if f.code == code)


def test_an_item_weighs_one_over_window_and_batch() -> None:
    ledger = on_bench(LOOP.format(scale=" / accum_steps"), 11).base
    assert [len(step.fresh) for step in ledger.steps] == [4, 4, 4]
    weights = {weight for step in ledger.steps for use in step.fresh for weight in use.weights}
    assert weights == {1 / 4 / 8}


@pytest.mark.parametrize("window", [1, 2, 4])
def test_undivided_micro_batches_weigh_the_window(window: int) -> None:
    ledger = on_bench(LOOP.format(scale=""), 11).run(window=window)
    assert bench.weight(ledger) == pytest.approx(window)


def test_a_literal_window_varies_as_a_named_one() -> None:
    text = LOOP.format(scale=" / 4").replace("accum_steps == 0", "4 == 0")
    text = text.replace(", accum_steps=4", "")
    for window in (1, 2, 4):
        ledger = on_bench(text, 11).run(window=window)
        assert {len(step.fresh) for step in ledger.steps} == {window}
        assert bench.weight(ledger) == pytest.approx(1)


def test_an_unknown_factor_taints_and_is_inconclusive() -> None:
    text = LOOP.format(scale="").replace("loss.backward()", "(loss * norm).backward()")
    text = text.replace("accum_steps=4):", "norm, accum_steps=4):")
    found = [f for f in findings_of(Path("train.py"), text) if f.code == "LL102"]
    verdicts = [judge.verify(f, text, Path("train.py")) for f in found]
    assert all(v.outcome is Outcome.INCONCLUSIVE and v.reason is Reason.UNMODELLED_SCALING for v in verdicts)
    assert on_bench(text, 11).base.taints == ["the loss is multiplied by `norm`"]


def test_a_statement_that_cannot_run_costs_itself_only() -> None:
    text = LOOP.format(scale="").replace("    total = 0.0\n", "    total = 0.0\n    words = 'a' + 1\n")
    verdict = judge.verify(finding(text, "LL102"), text, Path("train.py"))
    assert verdict.outcome is Outcome.CONFIRMED
    assert "line 9: TypeError" in on_bench(text, 12).base.gaps[0]


def test_a_law_that_holds_refutes() -> None:
    broken, right = LOOP.format(scale=""), LOOP.format(scale=" / accum_steps")
    verdict = judge.verify(finding(broken, "LL102"), right, Path("train.py"))
    assert verdict.outcome is Outcome.REFUTED
    assert verdict.measured == pytest.approx(1)
    assert verdict.predicted == 4


def test_a_list_that_is_returned_shows_the_figures_in_it() -> None:
    text = LOOP.format(scale="")
    text = text.replace("criterion(model(x), y)", "halved(criterion(model(x), y), accum_steps)")
    text = text.replace("    total = 0.0\n", "    history = []\n").replace("        total += loss.item()\n", "")
    text = text.replace("    return total / len(loader)", "    history.append(loss.item())\n    return history")
    text = text.replace("def train(", "def halved(loss, parts):\n    return loss / parts\n\ndef train(")
    found = [f for f in findings_of(Path("train.py"), text) if f.code == "LL202"]
    last = max(found, key=lambda f: f.range.start_line)
    assert "return history" in text.splitlines()[last.range.start_line - 1]
    verdict = judge.verify(last, text, Path("train.py"))
    assert verdict.outcome is Outcome.CONFIRMED
    assert verdict.measured == pytest.approx(1 / 4)


def test_a_figure_that_a_trail_only_leads_over_does_not_refute() -> None:
    text = LOOP.format(scale="")
    other = finding(LOOP.format(scale=" / accum_steps"), "LL202")
    lines = text.splitlines()
    silent = next(number for number, line in enumerate(lines, 1) if "def train" in line)
    shown = Range(len(lines), 5, len(lines), len(lines[-1]))
    # a finding on a line without a figure, whose trail leads over the line that has one
    claimed = replace(
        other,
        range=Range(silent, 1, silent, 2),
        factor=Factor("× len(loader)", None, Unit(batches=1)),
        trail=(TrailStep(other.path, shown, "the mean", "loss"),),
        related=(),
    )
    verdict = judge.verify(claimed, text, Path("train.py"))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason is Reason.NOT_REACHED


def test_an_unknown_factor_of_a_loss_that_is_only_shown_taints_no_gradient() -> None:
    text = LOOP.format(scale="").replace("total += loss.item()", "total += (loss / norm).item()")
    text = text.replace("accum_steps=4):", "norm, accum_steps=4):")
    ledger = on_bench(text, 11).base
    assert (ledger.taints, ledger.blurs) == ([], ["the loss is divided by `norm`"])
    verdict = judge.verify(finding(text, "LL102"), text, Path("train.py"))
    assert verdict.outcome is Outcome.CONFIRMED


@pytest.mark.parametrize("kept", ['results = {"loss": total / len(loader)}', 'results["loss"] = total / len(loader)'])
def test_a_figure_that_is_kept_under_its_name_is_a_figure(kept: str) -> None:
    text = LOOP.format(scale=" / accum_steps").replace("return total / len(loader)", f"{kept}\n    write(results)")
    text = text.replace("    total = 0.0\n", "    total, results = 0.0, dict()\n")
    verdict = judge.verify(finding(text, "LL202"), text, Path("train.py"))
    assert verdict.outcome is Outcome.CONFIRMED
    assert verdict.measured == pytest.approx(1 / 4)


def test_one_of_several_alternatives_is_taken() -> None:
    text = LOOP.format(scale="").replace(
        "        loss = criterion(model(x), y)\n",
        "        if mode == 'one':\n            loss = criterion(model(x), y)\n"
        "        elif mode == 'two':\n            loss = criterion(model(y), x)\n",
    )
    text = text.replace("accum_steps=4):", "mode, accum_steps=4):")
    ledger = on_bench(text, 14).base
    assert ledger.gaps == []
    assert {len(step.fresh) for step in ledger.steps} == {4}


@pytest.mark.parametrize("freeze", ["p.requires_grad = False", "p.requires_grad_(False)"])
def test_a_frozen_backbone_leaves_the_losses_in_the_graph(freeze: str) -> None:
    frozen = f"    for p in model.parameters():\n        {freeze}\n    total = 0.0\n"
    text = LOOP.format(scale="").replace("    total = 0.0\n", frozen)
    ledger = on_bench(text, 13).base
    assert bench.weight(ledger) == pytest.approx(4)


@pytest.mark.parametrize("name", ["world_size", "log_interval", "learning_rate"])
def test_a_number_has_no_elements(name: str) -> None:
    text = LOOP.format(scale="").replace("    total = 0.0\n", f"    total = 0.0\n    parts = [*{name}]\n")
    text = text.replace("accum_steps=4):", f"{name}, accum_steps=4):")
    ledger = on_bench(text, 12).base
    assert len(ledger.gaps) == 1
    assert bench.weight(ledger) == pytest.approx(4)


def test_classes_of_data_are_made() -> None:
    text = "from dataclasses import dataclass\n\n@dataclass\nclass Config:\n    parts: int = 2\n"
    text += LOOP.format(scale=" / Config().parts").replace("def train(", "\ndef train(")
    ledger = on_bench(text, 17).base
    assert ledger.failure == ""
    assert bench.weight(ledger) == pytest.approx(4 / 2)


def test_what_makes_a_scaler_gives_one() -> None:
    text = LOOP.format(scale="").replace("        loss.backward()\n", "        scaler.scale(loss).backward()\n")
    text = text.replace(
        "            optimizer.step()\n", "            scaler.step(optimizer)\n            scaler.update()\n"
    )
    text = text.replace("    total = 0.0\n", "    total = 0.0\n    scaler = make_scaler()\n")
    ledger = on_bench(text, 12).base
    assert {step.through_scaler for step in ledger.steps} == {True}
    assert bench.weight(ledger) == pytest.approx(4)


def test_a_window_that_is_not_the_worlds_does_not_refute() -> None:
    text = LOOP.format(scale="")
    stepped = text.replace("        if (i + 1) % accum_steps == 0 or i + 1 == len(loader):\n", "        if True:\n")
    verdict = judge.verify(finding(text, "LL102"), stepped, Path("train.py"))
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_what_the_code_prints_opens_or_exits_stays_inside(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = LOOP.format(scale="").replace(
        "    total = 0.0\n",
        "    total = 0.0\n    print('confirmed')\n    open('marker', 'w').write('x')\n    import os, sys\n"
        "    os.system('touch marker')\n    exec('raise KeyError')\n",
    )
    verdict = judge.verify(finding(text, "LL102"), text, Path("train.py"))
    assert verdict.outcome is Outcome.CONFIRMED
    assert capsys.readouterr().out == ""
    assert not Path("marker").exists()


def test_tensor_is_as_it_was_after_a_run() -> None:
    before = (torch.Tensor.backward, torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.__getitem__)
    on_bench(LOOP.format(scale=""), 11).run()
    assert (torch.Tensor.backward, torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.__getitem__) == before


def test_a_portrait_shows_weights_beside_what_they_should_be() -> None:
    text = LOOP.format(scale="")
    portrait = judge.portray(finding(text, "LL102"), text, Path("train.py"))
    assert portrait is not None
    bars = portrait.steps[0]
    assert set(bars.measured) == {1 / 8}
    assert set(bars.expected) == {1 / 32}
    assert portrait.excerpt is not None
    assert "train(model=Model(), loader=Loader(), optimizer=Optimizer()" in portrait.excerpt.body
    assert "accum_steps=4" in portrait.excerpt.body
    compile(portrait.excerpt.source, "excerpt.py", "exec")


def test_a_portrait_of_a_figure_has_its_curve() -> None:
    text = LOOP.format(scale=" / accum_steps")
    portrait = judge.portray(finding(text, "LL202"), text, Path("train.py"))
    assert portrait is not None
    assert portrait.curve is not None
    assert len(portrait.curve.reported) > 2
    for reported, true in zip(portrait.curve.reported, portrait.curve.true, strict=True):
        assert reported == pytest.approx(true / 4, rel=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("scale", ["", " / accum_steps"])
def test_cuda_says_what_the_cpu_says(scale: str) -> None:
    text = LOOP.format(scale=scale)
    for found in findings_of(Path("train.py"), text):
        if judge.claim_of(found.code) is None:
            continue
        cpu, cuda = (judge.verify(found, text, Path("train.py"), device) for device in ("cpu", "cuda"))
        assert cpu.outcome is cuda.outcome
        assert cpu.measured == pytest.approx(cuda.measured)
