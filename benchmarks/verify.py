"""How long a verdict takes once the verifier's server is up, and the whole of `losslint verify` on the post-mortems.

    python benchmarks/verify.py [PATHS…] [--device cpu] [--runs N]

Every finding under PATHS (default: fixtures) whose rule makes a claim is verified by itself, one at a time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

from losslint.check import Wishes, check
from losslint.config import Configs
from losslint.discovery import discover
from losslint.findings import Severity
from losslint.runtime.pool import Verifier
from losslint.verification import jobs_of

ROOT = Path(__file__).resolve().parent.parent
GOAL_MS = 100.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description="Time the runtime verifier.")
    parser.add_argument("paths", nargs="*", default=[str(ROOT / "fixtures")], metavar="PATHS")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="cpu")
    parser.add_argument("--runs", type=int, default=3, help="the fastest of so many runs counts for each finding")
    options = parser.parse_args(argv)
    configs = Configs(isolated=True)
    report = check(discover(options.paths, configs), configs, Wishes(min_severity=Severity.INFO))
    jobs = list(jobs_of(report).values())
    began = time.perf_counter()
    with Verifier(options.device, timeout=60.0, jobs=1) as verifier:
        started = time.perf_counter() - began
        print(f"{verifier.greeting.hardware}, torch {verifier.greeting.torch}; {verifier.greeting.isolation}")
        times: list[float] = []
        outcomes: Counter[str] = Counter()
        for job in jobs:
            taken = []
            for _ in range(options.runs):
                began = time.perf_counter()
                ((_, verdict),) = verifier.verify([job])
                taken.append(1000 * (time.perf_counter() - began))
            times.append(min(taken))
            outcomes[verdict.outcome.value] += 1
    print(f"start of the server: {started:.2f} s")
    print(f"{len(jobs)} findings: {', '.join(f'{number} {outcome}' for outcome, number in outcomes.items())}")
    p95 = quantiles(times, n=20)[-1]
    print(
        f"a finding, ms: median {median(times):.0f}, p95 {p95:.0f}, max {max(times):.0f} (goal: median {GOAL_MS:.0f})"
    )
    print(f"`losslint verify fixtures/postmortems`: {whole(options.device):.2f} s")
    return int(median(times) > GOAL_MS)


def whole(device: str) -> float:
    """Seconds of the whole command on the post-mortems; raises `CalledProcessError` where it fails."""
    command = [sys.executable, "-m", "losslint", "verify", "--isolated", "--device", device, "fixtures/postmortems"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    if done.returncode != 1:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
