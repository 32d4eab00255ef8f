"""One small file, whole process: losslint beside libcst alone and beside other linters.

    python benchmarks/startup.py [FILE] [--runs N]

The commands take turns, so that a busy spell of the machine falls on all of them. Byte code is compiled by a first run
that does not count, into a folder of its own; files are in the operating system's cache.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = Path(__file__).resolve().parent / "data" / "train.py"
GOAL = 1.3
"""How much of the time that libcst needs to start and parse the file losslint may take."""

_PEERS = {
    "ruff": ["check", "--isolated", "--no-cache", "--exit-zero"],
    "flake8": ["--isolated", "--exit-zero"],
    "pylint": ["--rcfile=/dev/null", "--exit-zero"],
}


@dataclass(slots=True)
class Contender:
    """A command, and the seconds that its runs took: by the clock, and of processor time."""

    name: str
    command: Sequence[str]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Run it once; raises `RuntimeError` where it could not do its work."""
        spent, began = _child_seconds(), time.perf_counter()
        done = subprocess.run(self.command, cwd=folder, capture_output=True, env=environment, check=False)
        self.wall.append(time.perf_counter() - began)
        self.cpu.append(_child_seconds() - spent)
        if done.returncode:
            raise RuntimeError(f"{self.name} ended with {done.returncode}: {done.stderr.decode()}")


def main() -> None:
    """Run all commands, and print a table."""
    parser = argparse.ArgumentParser(description="Time losslint on one small file, whole process.")
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    parser.add_argument("--runs", type=int, default=20, metavar="N")
    options = parser.parse_args()
    file = options.file.resolve()
    contenders = _contenders(file)
    with tempfile.TemporaryDirectory() as byte_code:
        environment = _environment(byte_code)
        for contender in contenders:
            contender.run(file.parent, environment)
            contender.wall.clear()
            contender.cpu.clear()
        for _ in range(options.runs):
            for contender in contenders:
                contender.run(file.parent, environment)
    _print(contenders, file, options.runs)


def _contenders(file: Path) -> list[Contender]:
    parse = f"import libcst; libcst.parse_module(open({file.name!r}, encoding='utf-8').read())"
    contenders = [
        Contender("libcst.parse_module", [sys.executable, "-c", parse]),
        Contender("losslint", [sys.executable, "-m", "losslint", "check", "--no-cache", "--exit-zero", file.name]),
        Contender("python -c pass", [sys.executable, "-c", "pass"]),
    ]
    beside = Path(sys.executable).parent
    for name, arguments in _PEERS.items():
        program = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
        if program is None:
            print(f"{name}: skipped, it is not installed")
        else:
            contenders.append(Contender(name, [program, *arguments, file.name]))
    return contenders


def _print(contenders: Sequence[Contender], file: Path, runs: int) -> None:
    reference, losslint = contenders[:2]
    lines = len(file.read_text(encoding="utf-8").splitlines())
    print(f"{file.name}, {lines} lines, {runs} runs each, Python {sys.version.split()[0]}")
    print(f"{'':20} {'median ms':>10} {'least ms':>10} {'cpu ms':>10} {'ratio':>8}")
    for one in contenders:
        median = statistics.median(one.wall)
        ratio = median / statistics.median(reference.wall)
        cpu = statistics.median(one.cpu)
        print(f"{one.name:20} {median * 1e3:10.1f} {min(one.wall) * 1e3:10.1f} {cpu * 1e3:10.1f} {ratio:7.2f}x")
    ratio = statistics.median(losslint.wall) / statistics.median(reference.wall)
    print(f"goal: at most {GOAL}x, {'met' if ratio <= GOAL else 'missed'} with {ratio:.2f}x")


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _environment(byte_code: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": byte_code}


if __name__ == "__main__":
    main()
