"""The fuzzer: its programs, that its two oracles agree on some of them, and that it finds what is planted in either."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from losslint.fuzzing.generate import generate
from losslint.fuzzing.spec import Sizes, Spec, draw

SEEDS = range(200)


def test_a_seed_always_gives_the_same_program() -> None:
    assert [generate(seed) for seed in SEEDS] == [generate(seed) for seed in SEEDS]


def test_programs_parse_and_differ() -> None:
    texts = [generate(seed).text for seed in SEEDS]
    for text in texts:
        ast.parse(text)
    assert len(set(texts)) > 0.95 * len(SEEDS)


def test_sizes_change_numbers_and_nothing_else() -> None:
    for seed in SEEDS:
        small, large = generate(seed, Sizes(2, 3, 2, 11)), generate(seed)
        assert draw(seed) == small.spec == large.spec
        pairs = zip(ast.walk(ast.parse(small.text)), ast.walk(ast.parse(large.text)), strict=True)
        assert all(type(one) is type(other) for one, other in pairs)


def test_every_choice_of_every_axis_is_drawn() -> None:
    drawn = [draw(seed) for seed in range(3000)]
    assert {spec.order for spec in drawn} == {"usual", "step_first", "uncalled"}
    assert {spec.graph for spec in drawn} >= {"rewrapped", "rounded", "detached", "no_grad", "dead_term", "live_term"}
    assert {spec.scheduler for spec in drawn} >= {"cosine", "linear", "onecycle", "step", "factor", "absolute"}
    assert {spec.cadence for spec in drawn} == {"update", "batch", "epoch", "ahead", "epoch_first"}
    assert {spec.horizon for spec in drawn} == {"updates", "batches", "epochs", "literal"}
    assert {spec.clip for spec in drawn} >= {"right", "late", "early", "exhausted", "unscaled_first"}
    assert {spec.amp for spec in drawn} >= {"scaler", "float16", "bfloat16", "unscale_each", "update_each"}
    assert {spec.optimizers for spec in drawn} == {"one", "modules", "one_zeroed"}
    assert {spec.loader for spec in drawn} == {"plain", "drop_last", "sampler"}
    assert {spec.validation for spec in drawn} == {"none", "inline", "helper"}
    assert {spec.framework for spec in drawn} >= {"accelerate", "fabric", "lightning", "transformers", "adversaries"}


# what follows runs programs
torch = pytest.importorskip("torch", reason="the runtime side of the fuzzer needs torch")

from losslint.fuzzing import compare as comparison  # noqa: E402
from losslint.fuzzing import runner  # noqa: E402
from losslint.fuzzing.predict import Prediction, predict  # noqa: E402
from losslint.interpreter.world import World  # noqa: E402
from losslint.runtime import whole  # noqa: E402

PLAIN = [seed for seed in range(100) if draw(seed).framework == "plain"]


def test_the_oracles_agree() -> None:
    results = [comparison.compare(seed) for seed in PLAIN[:12]]
    assert [result.wrong for result in results] == [()] * 12
    assert sum(result.checks for result in results) > 40


def test_the_runtime_side_reads_weights() -> None:
    text = (
        "def train(model, loader, optimizer, criterion):\n"
        "    total = 0.0\n"
        "    for i, (inputs, targets) in enumerate(loader):\n"
        "        loss = criterion(model(inputs), targets)\n"
        "        (loss / 2).backward()\n"
        "        total += loss.item()\n"
        "        if (i + 1) % 2 == 0:\n"
        "            optimizer.step()\n"
        "            optimizer.zero_grad()\n"
        "    print('loss', total / len(loader))\n"
    )
    record = whole.run(text, "train(model, loader, optimizer, criterion)", {}, whole.Shape(4, 5, 5), [1, 2, 3, 4])
    assert record.error == ""
    assert [step.weights for step in record.steps] == [(0.5, 0.5, 0, 0), (0, 0, 0.5, 0.5)]
    assert record.shown == [whole.Shown(10, 3, (2.5,))]
    assert record.backwards == [0, 1, 2, 3]


def _record(body: str, **options: Any) -> whole.Record:
    """Runs the body of `train`, with 4 batches of which two make a window."""
    head = "import torch\ndef train(model, loader, val_loader, optimizer, criterion):\n"
    text = head + "".join(f"    {line}\n" for line in body.splitlines())
    entry = "train(model, loader, val_loader, optimizer, criterion)"
    return whole.run(text, entry, {}, whole.Shape(4, 5, 5), [1, 2, 3, 4], **options)


_LOOP = """\
for i, (inputs, targets) in enumerate(loader):
    loss = criterion(model(inputs), targets)
    {before}
    loss.backward()
    {after}
    optimizer.step()
    optimizer.zero_grad()
"""


@pytest.mark.parametrize(("before", "share"), [("pass", 1.0), ("loss = loss + 0.25 * loss.item()", 0.8)])
def test_the_runtime_side_reads_what_is_in_no_gradient(before: str, share: float) -> None:
    record = _record(_LOOP.format(before=before, after="pass"))
    assert record.shares == pytest.approx([share] * 4)


def test_the_runtime_side_reads_a_loss_that_is_a_new_leaf() -> None:
    record = _record(_LOOP.format(before="loss = torch.tensor(loss.item(), requires_grad=True)", after="pass"))
    assert record.shares == [0.0] * 4
    assert [step.weights for step in record.steps] == [(0, 0, 0, 0)] * 4


def test_the_runtime_side_reads_clips() -> None:
    clip = "torch.nn.utils.clip_grad_norm_({}, 1.0)"
    seen = _record(_LOOP.format(before="pass", after=clip.format("model.parameters()")), clip=0.5)
    assert [max(step.weights) for step in seen.steps] == [0.5] * 4
    early = _record(_LOOP.format(before=clip.format("model.parameters()"), after="pass"), clip=0.5)
    assert [max(step.weights) for step in early.steps] == [1.0] * 4
    used = "kept = model.parameters()\n" + _LOOP.format(before="pass", after=clip.format("kept"))
    assert [one.parameters for one in _record(used).clips] == [1, 0, 0, 0]


def test_the_runtime_side_reads_schedules() -> None:
    made = "scheduler = torch.optim.lr_scheduler.{}\n"
    cosine = made.format("CosineAnnealingLR(optimizer, T_max=9)")
    ahead = _record(cosine + _LOOP.format(before="pass", after="scheduler.step()"))
    assert ahead.schedules == [whole.Schedule(9, 4, True)]
    behind = _record(cosine + _LOOP.format(before="pass", after="pass") + "scheduler.step()")
    assert behind.schedules == [whole.Schedule(9, 1, False)]
    squared = made.format("LambdaLR(optimizer, lambda epoch: 0.1 * 0.95**epoch)")
    assert _record(squared + _LOOP.format(before="pass", after="scheduler.step()")).rate == pytest.approx(0.1)


def test_the_runtime_side_reads_modes() -> None:
    judged = (
        "with torch.no_grad():\n    for inputs, targets in val_loader:\n        criterion(model(inputs), targets)\n"
    )
    loop = _LOOP.format(before="pass", after="pass")
    record = _record(f"model.train()\n{loop}{judged}model.eval()\n{judged}{loop}")
    assert record.trained == [True] * 4 + [False] * 4
    assert record.judged == [True] * 4 + [False] * 4


def test_the_runtime_side_tells_optimizers_apart() -> None:
    parts = "first = torch.optim.SGD(model.backbone.parameters(), lr=0.1)\n"
    parts += "optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)\n"
    record = _record(parts + _LOOP.format(before="pass", after="first.step()"))
    assert [max(step.weights) for step in record.steps if step.optimizer == 1] == [1.0] * 4
    assert [sum(step.weights) for step in record.steps if step.optimizer == 0] == [1.0, 2.0, 3.0, 4.0]


def test_a_program_that_fails_costs_its_own_run_only() -> None:
    record = whole.run("raise ValueError('no data')", "", {}, whole.Shape(2, 3, 3), [1, 1])
    assert record.error == "ValueError: no data"
    record = whole.run("while True: pass", "", {}, whole.Shape(2, 3, 3), [1, 1], limit=0.05)
    assert record.error.startswith("TimeoutError")


@pytest.mark.parametrize(
    ("family", "code"),
    [
        (lambda spec: spec.graph == "dead_term", "LL503"),
        (lambda spec: spec.graph == "rewrapped" and spec.amp == "none", "LL501"),
        (lambda spec: spec.scheduler == "absolute", "LL415"),
        (lambda spec: spec.cadence == "ahead" and spec.scheduler == "cosine", "LL414"),
        (lambda spec: spec.horizon == "epochs" and spec.cadence == "batch" and spec.scheduler == "linear", "LL412"),
        (lambda spec: spec.clip == "exhausted", "LL405"),
        (lambda spec: spec.order == "uncalled", "LL406"),
        (lambda spec: spec.validation == "inline" and spec.trains == "once", "LL701"),
    ],
)
def test_a_rule_of_each_family_that_says_nothing_is_missed(
    family: Callable[[Spec], bool], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = (seed for seed in range(5000) if family(draw(seed)) and draw(seed).framework == "plain")
    seed = next(seed for seed in plain if code in {f.code for f in predict(generate(seed).text, 1).findings})
    assert comparison.compare(seed).wrong == ()

    def without_code(text: str, scale: float) -> Prediction:
        prediction = predict(text, scale)
        return replace(prediction, findings=tuple(f for f in prediction.findings if f.code != code))

    monkeypatch.setattr(comparison, "predict", without_code)
    missed = comparison.compare(seed).wrong
    assert any(line.startswith("miss: ") and line.endswith(f"({code})") for line in missed)


def _wrong(seeds: list[int]) -> list[str]:
    return [line for seed in seeds for line in comparison.compare(seed).wrong]


def test_a_bug_of_the_static_side_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    backward = World.backward

    def twice(world: World, node: object, loss: object, divide: int = 1, framework: str = "") -> None:
        backward(world, node, loss, divide * 2, framework)  # type: ignore[arg-type]

    monkeypatch.setattr(World, "backward", twice)
    assert any(line.startswith("ledger") for line in _wrong(PLAIN[:4]))


def test_a_rule_that_says_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_findings(text: str, scale: float) -> object:
        prediction = predict(text, scale)
        return type(prediction)(prediction.forks, (), prediction.notes)

    monkeypatch.setattr(comparison, "predict", without_findings)
    assert any(line.startswith("miss") for line in _wrong(PLAIN[:12]))


def test_a_bug_of_the_runtime_side_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    run = whole.run

    def halved(*arguments: object, **options: object) -> whole.Record:
        record = run(*arguments, **options)  # type: ignore[arg-type]
        record.steps[:] = [whole.Step(step.visit, tuple(w / 2 for w in step.weights)) for step in record.steps]
        return record

    monkeypatch.setattr(whole, "run", halved)
    assert any(line.startswith("ledger") for line in _wrong(PLAIN[:4]))


def test_the_command_tells_keeps_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = PLAIN[0]
    assert runner.main(["--seeds", "1", "--start", str(seed), "--jobs", "1"]) == 0
    assert capsys.readouterr().out.startswith("1 seeds, ")
    monkeypatch.setattr(
        comparison, "compare", lambda seed: comparison.Result(seed, 3, ("miss: planted",), ("no step",))
    )
    assert runner.main(["--seeds", "1", "--start", str(seed), "--jobs", "1", "--keep", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert told.startswith(f"seed {seed}: miss: planted\n")
    assert "3 comparisons: 1 agree, 1 silent for a named reason, 1 disagree" in told
    kept = (tmp_path / f"seed_{seed}.py").read_text(encoding="utf-8")
    assert kept.endswith(generate(seed).text)
