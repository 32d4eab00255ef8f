"""What `losslint run` costs: the CPU time of an optimizer step under it, beside that of the plain script.

    python benchmarks/observe.py [--steps N] [--runs N]

The two take turns. The first steps, in which torch sets itself up, do not count.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

SCRIPT = Path(__file__).resolve().parent / "data" / "steps.py"
MODELS = ("mlp", "cnn", "transformer")
FIRST = 2
"""Steps that do not count."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Time optimizer steps with and without `losslint run`.")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps, of two micro-batches each")
    parser.add_argument("--runs", type=int, default=3, help="how often each of the two takes its turn")
    options = parser.parse_args(argv)
    print("CPU ms per optimizer step on one thread (median), and seconds for the whole process (fastest)")
    for model in MODELS:
        plain, observed = [], []
        for _ in range(options.runs):
            plain.append(run(model, options.steps, ()))
            observed.append(run(model, options.steps, ("-m", "losslint", "run", "--steps", str(options.steps), "--")))
        (before, whole_before), (after, whole_after) = map(summary, (plain, observed))
        print(
            f"{model:12} plain {before:6.2f}  observed {after:6.2f}  (+{after - before:.2f} ms, {after / before:.2f}×)"
            f"  whole {whole_before:.2f} s and {whole_after:.2f} s"
        )
    return 0


def run(model: str, steps: int, under: Sequence[str]) -> tuple[list[float], float]:
    """The CPU times of the steps that count, in ms, and the time of the process, in s."""
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder, "times")
        # one step more than is watched: the last one is ended in its midst
        command = [sys.executable, *under, str(SCRIPT), model, str(steps + 1), str(times)]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        whole = time.perf_counter() - began
        if not times.exists():
            raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
        return [float(line) for line in times.read_text().split()][FIRST:steps], whole


def summary(runs: Sequence[tuple[list[float], float]]) -> tuple[float, float]:
    """The median step of all runs, and the fastest process."""
    return median(step for steps, _ in runs for step in steps), min(whole for _, whole in runs)


if __name__ == "__main__":
    sys.exit(main())
