"""`losslint-fuzz`: runs a range of seeds through both oracles and says where they disagree. A tool for development."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from losslint.fuzzing.generate import generate

if TYPE_CHECKING:
    from losslint.fuzzing.compare import Result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the seeds; 0 where the oracles agree on all of them, 1 where they do not, 2 where torch is missing."""
    options = _parser().parse_args(arguments)
    try:
        _start()
    except ImportError:
        print("losslint-fuzz runs what it writes and needs torch: `pip install losslint[verify]`", file=sys.stderr)
        return 2
    tally = Tally()
    for result in _results(range(options.start, options.start + options.seeds), options.jobs):
        tally.add(result)
        if result.wrong:
            print(f"seed {result.seed}: " + "\n    ".join(result.wrong), flush=True)
            if options.keep is not None:
                _keep(options.keep, result)
    print(tally.text())
    return 1 if tally.disagreements else 0


class Tally:
    """What came of many seeds."""

    def __init__(self) -> None:
        self.seeds = 0
        self.checks = 0
        self.disagreements = 0
        self.silent: Counter[str] = Counter()

    def add(self, result: Result) -> None:
        """Counts one seed."""
        self.seeds += 1
        self.checks += result.checks
        self.disagreements += len(result.wrong)
        self.silent.update(result.silent)

    def text(self) -> str:
        """The tally, one line for each reason of silence."""
        silent = sum(self.silent.values())
        agreed = self.checks - silent - self.disagreements
        lines = [f"{self.seeds} seeds, {self.checks} comparisons: {agreed} agree, {silent} silent for a named reason,"]
        lines[0] += f" {self.disagreements} disagree"
        lines += [f"    {count:6} {reason}" for reason, count in self.silent.most_common()]
        return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="losslint-fuzz", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, metavar="N", help="how many seeds (default: %(default)s)")
    parser.add_argument("--start", type=int, default=0, metavar="S", help="the first seed (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="processes at once")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where programs that disagree are written")
    return parser


def _results(seeds: Iterable[int], jobs: int) -> Iterator[Result]:
    if jobs < 2:
        yield from map(_compare, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_start) as pool:
        yield from pool.map(_compare, seeds, chunksize=10)


def _start() -> None:
    from losslint.runtime import whole

    whole.use_one_thread()


def _compare(seed: int) -> Result:
    from losslint.fuzzing.compare import compare

    return compare(seed)


def _keep(folder: Path, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    program = generate(result.seed)
    head = "".join(f"# {line}\n" for line in (f"seed {result.seed}", f"entry {program.entry}", *result.wrong))
    (folder / f"seed_{result.seed}.py").write_text(head + program.text, encoding="utf-8")


def run() -> None:
    """The console script."""
    sys.exit(main())
