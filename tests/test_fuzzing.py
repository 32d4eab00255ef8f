"""The fuzzer: its programs, that its two oracles agree on some of them, and that it finds what is planted in either."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from losslint.fuzzing.generate import generate
from losslint.fuzzing.spec import Sizes, draw

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


# what follows runs programs
torch = pytest.importorskip("torch", reason="the runtime side of the fuzzer needs torch")

from losslint.fuzzing import compare as comparison  # noqa: E402
from losslint.fuzzing import runner  # noqa: E402
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


def test_a_program_that_fails_costs_its_own_run_only() -> None:
    record = whole.run("raise ValueError('no data')", "", {}, whole.Shape(2, 3, 3), [1, 1])
    assert record.error == "ValueError: no data"
    record = whole.run("while True: pass", "", {}, whole.Shape(2, 3, 3), [1, 1], limit=0.05)
    assert record.error.startswith("TimeoutError")


def _wrong(seeds: list[int]) -> list[str]:
    return [line for seed in seeds for line in comparison.compare(seed).wrong]


def test_a_bug_of_the_static_side_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    backward = World.backward

    def twice(world: World, node: object, loss: object, divide: int = 1, framework: str = "") -> None:
        backward(world, node, loss, divide * 2, framework)  # type: ignore[arg-type]

    monkeypatch.setattr(World, "backward", twice)
    assert any(line.startswith("ledger") for line in _wrong(PLAIN[:4]))


def test_a_rule_that_says_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from losslint.fuzzing.predict import predict

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
