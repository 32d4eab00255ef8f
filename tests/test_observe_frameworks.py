"""Observe mode on real scripts: Hugging Face's trainer, Lightning, accelerate, a loop by hand, two ranks.

Each script is observed as it is and with each of its bugs; one process a script, so that one import serves them all.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parent / "observed"
NEEDS = {"accelerate_loop": "accelerate", "lightning_fit": "lightning", "hf_trainer": "transformers"}

BUGS = {
    ("accelerate_loop", "divided-twice"): ("LL901", 0.25),
    ("accelerate_loop", "zero-inside"): ("LL109", 0.25),
    ("accelerate_loop", "retained"): ("LL210", None),
    ("accelerate_loop", "logged-sum"): ("LL201", 4.0),
    ("lightning_fit", "divided-twice"): ("LL903", 0.25),
    ("lightning_fit", "manual-undivided"): ("LL903", 4.0),
    ("lightning_fit", "zero-before-step"): ("LL402", 0.0),
    ("lightning_fit", "logged-divided"): ("LL202", 0.25),
    ("lightning_fit", "retained"): ("LL210", None),
    ("hf_trainer", "own-mean"): ("LL904", 4.0),
    ("hf_trainer", "zero-inside"): ("LL109", 0.25),
    ("hf_trainer", "retained"): ("LL210", None),
    ("plain_amp_loop", "in-branch"): ("LL101", 3.25),
    ("plain_amp_loop", "off-phase"): ("LL108", 0.25),
    ("plain_amp_loop", "clip-before-unscale"): ("LL303", 1024.0),
    ("plain_amp_loop", "bypassed"): ("LL302", 1024.0),
    ("plain_amp_loop", "missing-zero"): ("LL401", 8.0),
}
CLEAN = ["accelerate_loop", "lightning_fit", "hf_trainer", "plain_amp_loop"]


def needs(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


def environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}


@cache
def observed(script: str) -> dict[str, Any]:
    """What was observed of a script and of each of its mutants."""
    needs("torch")
    needs(NEEDS.get(script, "torch"))
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", SCRIPTS / "observe_all.py", SCRIPTS / f"{script}.py", folder, "8"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("script", CLEAN)
def test_a_clean_script_has_no_facts_and_every_step_is_a_mean(script: str) -> None:
    clean = observed(script)["clean"]
    assert [fact for fact in clean["facts"] if fact["severity"] != "info"] == []
    assert clean["notes"] == []
    assert [step["weight"] for step in clean["ledger"]] == pytest.approx([1.0] * 8, rel=1e-3)
    assert [len(step["micro_batches"]) for step in clean["ledger"]] == [4] * 8


@pytest.mark.parametrize(("script", "bug"), BUGS, ids=[f"{script}-{bug}" for script, bug in BUGS])
def test_a_bug_is_found_with_its_factor_and_its_line(script: str, bug: str) -> None:
    code, factor = BUGS[script, bug]
    facts = observed(script)[bug]["facts"]
    found = [fact for fact in facts if fact["code"] == code]
    assert len(found) == 1, facts
    assert found[0]["factor"] == (None if factor is None else pytest.approx(factor, rel=1e-3))
    assert Path(found[0]["path"]).stem == f"{script}_{bug.replace('-', '_')}"
    assert found[0]["line"] > 1


def test_every_mutant_is_expected() -> None:
    for script in CLEAN:
        needs(NEEDS.get(script, "torch"))
        assert set(observed(script)) == {"clean", *(bug for name, bug in BUGS if name == script)}


# ---------------------------------------------------------------- two ranks


def launched(bug: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The command as torchrun starts it, on two ranks."""
    needs("torch")
    sys.path.insert(0, str(SCRIPTS))
    try:
        from mutants import mutants
    finally:
        sys.path.remove(str(SCRIPTS))
    script = folder / "train.py"
    script.write_text(mutants(SCRIPTS / "parallel_loop.py")[bug], encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    return subprocess.run(
        [*launcher, "-m", "losslint", "run", "--steps", "4", *options, "--", str(script)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def torchrun(bug: str, folder: Path) -> list[dict[str, Any]]:
    """The facts of two ranks, which report once."""
    done = launched(bug, folder, "--output-format", "json")
    assert done.stdout, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["steps"] == 4, done.stderr[-3000:]
    assert (done.returncode != 0) == bool(result["facts"])
    facts: list[dict[str, Any]] = result["facts"]
    return facts


def test_two_ranks_that_are_right(tmp_path: Path) -> None:
    assert torchrun("clean", tmp_path) == []


def test_two_ranks_print_one_report(tmp_path: Path) -> None:
    done = launched("divided-in-same-order", tmp_path)
    assert done.stdout.count("error[LL104]") == 1, done.stderr[-3000:]
    assert [line for line in done.stdout.splitlines() if "steps and" in line] == done.stdout.splitlines()[-1:]


def test_two_ranks_divided_by_their_number_with_one_order_of_batches(tmp_path: Path) -> None:
    facts = {fact["code"]: fact["factor"] for fact in torchrun("divided-in-same-order", tmp_path)}
    assert facts == {"LL104": pytest.approx(0.5), "LL906": None}


def test_two_ranks_that_never_share_their_gradients(tmp_path: Path) -> None:
    assert [fact["code"] for fact in torchrun("never-synced", tmp_path)] == ["LL905"]


def test_two_ranks_with_batches_of_two_sizes(tmp_path: Path) -> None:
    facts = torchrun("uneven", tmp_path)
    assert [(fact["name"], fact["factor"]) for fact in facts] == [("uneven-ranks", pytest.approx(2.0))]
