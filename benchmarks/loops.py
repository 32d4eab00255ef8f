"""What the analysis of files with training loops costs, against parsing them.

    python benchmarks/loops.py PATHS…
    python benchmarks/loops.py --list FILE        one path per line
    python benchmarks/loops.py --profile PATHS…   the functions that take longest, too

Only files that pass the byte gate count: the others cost next to nothing. The garbage collector is off, as it is in a
run of losslint, and is run between files, outside of the clock.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import libcst  # noqa: E402

from losslint.engine import analyze  # noqa: E402
from losslint.findings import Severity  # noqa: E402
from losslint.lowering import lower  # noqa: E402
from losslint.registry import rules  # noqa: E402
from losslint.source import SourceError, SourceFile, decode, project_roots, worth_parsing  # noqa: E402

GOAL_RATIO = 1.0
"""Analysis over parsing, in sum."""
GOAL_P99 = 1.0
"""Seconds for one file, parsing and all."""

_SLOWEST = 10
_HOTTEST = 30


@dataclass(frozen=True, slots=True)
class Cost:
    """Where the seconds of one file went.

    `followed` is the parsing of files that it imports; `judge` is the rules, with the runs that they ask for.
    """

    path: Path
    lines: int
    parse: float
    followed: float
    lower: float
    interpret: float
    judge: float

    @property
    def analysis(self) -> float:
        """All but parsing the file itself."""
        return self.followed + self.lower + self.interpret + self.judge

    @property
    def total(self) -> float:
        return self.parse + self.analysis


class Clock:
    """Calls a function, and keeps the seconds that each call took."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.calls: list[float] = []

    def __call__(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return self._function(*arguments)
        finally:
            self.calls.append(time.perf_counter() - began)


def main() -> int:
    """Analyse every file and print sums, quantiles and the slowest files; exit code 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description="Time the analysis of files with training loops.")
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATHS", help="files and folders")
    parser.add_argument("--list", type=Path, metavar="FILE", help="read more paths from FILE, one per line")
    parser.add_argument("--profile", action="store_true", help="print the functions that take longest, too")
    options = parser.parse_args()
    paths = list(options.paths)
    if options.list is not None:
        paths += [Path(line) for line in options.list.read_text(encoding="utf-8").splitlines() if line]
    profiler = cProfile.Profile() if options.profile else None
    costs = _measure(list(_files(paths)), profiler)
    if not costs:
        print("no file with a training loop", file=sys.stderr)
        return 2
    met = _print(costs)
    if profiler is not None:
        for order in ("tottime", "cumulative"):
            pstats.Stats(profiler).strip_dirs().sort_stats(order).print_stats(_HOTTEST)
    return 0 if met else 1


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _measure(paths: Sequence[Path], profiler: cProfile.Profile | None) -> list[Cost]:
    parse = Clock(libcst.parse_module)
    lowering = Clock(lower.lower)
    judging = Clock(lambda rule, loop: list(rule.check(loop)))
    judged = [replace(rule, check=partial(judging, rule)) for rule in rules()]
    libcst.parse_module = parse  # type: ignore[assignment]
    lower.lower = lowering  # type: ignore[assignment]
    costs = []
    gc.disable()
    for path in paths:
        data = path.read_bytes()
        if not worth_parsing(data):
            continue
        parse.calls.clear()
        lowering.calls.clear()
        judging.calls.clear()
        try:
            source = SourceFile(path, path.as_posix(), decode(data, path))
            roots = project_roots(path, None, ())
            if profiler is not None:
                profiler.enable()
            began = time.perf_counter()
            analyze(source, roots, judged, Severity.WARNING)
            total = time.perf_counter() - began
        except SourceError as error:
            print(f"not parsed: {error}", file=sys.stderr)
            continue
        finally:
            if profiler is not None:
                profiler.disable()
        own, *followed = parse.calls
        parts = (sum(followed), sum(lowering.calls), sum(judging.calls))
        interpret = total - own - sum(parts)
        costs.append(Cost(path, source.text.count("\n"), own, *parts[:2], interpret, parts[2]))
        gc.collect()
    return costs


def _print(costs: Sequence[Cost]) -> bool:
    """Print the figures; whether the goals are met."""
    parse = sum(cost.parse for cost in costs)
    lines = sum(cost.lines for cost in costs)
    print(f"{len(costs)} files, {lines} lines, Python {sys.version.split()[0]}")
    parts = {
        "parse": parse,
        "lower": sum(cost.lower for cost in costs),
        "interpret": sum(cost.interpret for cost in costs),
        "judge": sum(cost.judge for cost in costs),
        "parse what is imported": sum(cost.followed for cost in costs),
    }
    for name, seconds in parts.items():
        print(f"{name:24} {seconds:8.2f} s {seconds / parse:7.2f}x")
    ratio = sum(cost.analysis for cost in costs) / parse
    p99 = _quantile([cost.total for cost in costs], 0.99)
    print(f"analysis over parse      {ratio:17.2f}x  (goal: at most {GOAL_RATIO}x)")
    for name, values in (
        ("analysis of a file, ms", [cost.analysis * 1e3 for cost in costs]),
        ("total of a file, ms", [cost.total * 1e3 for cost in costs]),
    ):
        shown = "  ".join(f"p{share * 100:g} {_quantile(values, share):.1f}" for share in (0.5, 0.95, 0.99))
        print(f"{name:24} {shown}  max {max(values):.1f}")
    print(f"goal: p99 of a file under {GOAL_P99} s")
    print("slowest files: total = parse + lower + interpret + judge + what is imported, in ms")
    for cost in sorted(costs, key=lambda cost: -cost.total)[:_SLOWEST]:
        parts_of_it = (cost.parse, cost.lower, cost.interpret, cost.judge, cost.followed)
        terms = " + ".join(f"{part * 1e3:.0f}" for part in parts_of_it)
        print(f"  {cost.total * 1e3:7.0f} = {terms}  {cost.lines} lines  {cost.path}")
    return ratio <= GOAL_RATIO and p99 < GOAL_P99


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())
