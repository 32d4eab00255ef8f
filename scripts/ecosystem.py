"""Runs losslint over pinned PyPI packages, so that what a change does to findings in real code is seen as a diff.

    python scripts/ecosystem.py write              write scripts/ecosystem/findings.jsonl
    python scripts/ecosystem.py compare            show what differs from it; exit code 1 where anything does
    python scripts/ecosystem.py compare --subset ci

The packages stand in scripts/ecosystem/packages.toml. Wheels are downloaded once, checked against their hash and
unpacked into a cache folder; nothing is ever installed or imported.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().with_suffix("")
CACHE = Path.home() / ".cache" / "losslint-ecosystem"

SAME, DIFFERENT, FAILED = 0, 1, 2

_LOSSLINT = "import sys; sys.path[0] = sys.argv.pop(1); from losslint.cli import main; sys.exit(main())"
"""`python -m losslint` would look for modules in the working directory first, which is the package that is read."""


class UnreachableError(Exception):
    """No package index answers."""


class UnusableError(Exception):
    """A package that cannot be had as it is pinned."""


@dataclass(frozen=True, slots=True)
class Package:
    """A pure-Python wheel, pinned."""

    name: str
    version: str
    sha256: str
    subset: str

    @property
    def project(self) -> str:
        """What findings and pip call it: `name==version`."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One finding of the summary; sorted by project and place."""

    project: str
    file: str
    line: int
    code: str
    severity: str
    fingerprint: str
    message: str

    def __str__(self) -> str:
        return f"{self.project} {self.file}:{self.line}: {self.code} {self.severity}: {self.message}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What losslint said of one package. `failures` are the files that it could not check, in its words."""

    rows: tuple[Row, ...]
    files: int
    failures: tuple[str, ...]


def main(argv: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Run the command line and return the exit code: 0 no difference, 1 differences, 2 something failed."""
    options = _parser().parse_args(argv)
    packages = [one for one in read_packages(folder / "packages.toml") if options.subset in ("all", one.subset)]
    began = time.perf_counter()
    try:
        places = [(package, obtain(package, options.cache)) for package in packages]
    except UnreachableError as problem:
        if options.command == "compare" and not options.strict:
            print(f"skipped: {problem}, nothing is compared")
            return SAME
        return _failed(str(problem))
    except UnusableError as problem:
        return _failed(str(problem))
    rows: list[Row] = []
    files = 0
    failures: list[str] = []
    for package, place in places:
        outcome = check(package, place)
        rows += outcome.rows
        files += outcome.files
        failures += (f"{package.project}: {line}" for line in outcome.failures)
    summary = folder / "findings.jsonl"
    code = write(summary, rows, packages) if options.command == "write" else compare(summary, rows, packages)
    for failure in failures:
        code = _failed(failure)
    print(f"{len(packages)} packages, {files} files, {len(rows)} findings, {time.perf_counter() - began:.1f} s")
    return code


def read_packages(path: Path) -> list[Package]:
    """The pinned packages, in the order of the file."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))["package"]
    return [Package(one["name"], one["version"], one["sha256"], one.get("subset", "")) for one in tables]


# ---------------------------------------------------------------- packages


def obtain(package: Package, cache: Path) -> Path:
    """The folder with the package's Python files; raises `UnreachableError` or `UnusableError`."""
    place = cache / f"{package.name}-{package.version}-{package.sha256[:12]}"
    if place.is_dir():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as scratch:
        wheel = _download(package, Path(scratch, "wheel"))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != package.sha256:
            raise UnusableError(f"{wheel.name} has the SHA-256 {digest}, not the pinned {package.sha256}")
        unpacked = Path(scratch, "unpacked")
        unpacked.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked, [name for name in archive.namelist() if name.endswith(".py")])
        # an interrupted run leaves no half of a package behind
        unpacked.rename(place)
    return place


def _download(package: Package, folder: Path) -> Path:
    # a source distribution is never taken: pip would run its build to learn its name
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python", "--retries=1", "--dest", str(folder), package.project]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return next(folder.glob("*.whl"))
    # what pip says where it knows no version at all: that of a pinned, existing project means that no index answered
    if "(from versions: none)" in done.stderr:
        raise UnreachableError(f"`{package.project}` cannot be downloaded, no package index was reached")
    reason = next((line for line in done.stderr.splitlines() if line.startswith("ERROR:")), done.stderr.strip())
    raise UnusableError(f"`{package.project}` cannot be downloaded: {reason.removeprefix('ERROR: ')}")


def check(package: Package, place: Path) -> Outcome:
    """Run losslint over a package, with paths and fingerprints relative to its folder."""
    command = [sys.executable, "-c", _LOSSLINT, str(ROOT), "check", "--isolated", "--no-cache"]
    command += ["--min-severity=warning", "--output-format=json", "."]
    done = subprocess.run(command, cwd=place, capture_output=True, encoding="utf-8", check=False, env=_environment())
    failures = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
    if done.returncode not in (0, 1) and not failures:
        failures = [f"losslint ended with exit code {done.returncode}: {done.stderr.strip()[-500:]}"]
    findings = json.loads(done.stdout) if done.stdout.strip() else []
    rows = tuple(_row(package, finding) for finding in findings)
    return Outcome(rows, sum(1 for _ in place.rglob("*.py")), tuple(failures))


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONIOENCODING": "utf-8"}


def _row(package: Package, finding: Mapping[str, object]) -> Row:
    match finding:
        case {
            "code": str(code),
            "severity": str(severity),
            "path": str(path),
            "range": {"start": {"line": int(line)}},
            "fingerprint": str(fingerprint),
            "message": str(message),
        }:
            return Row(package.project, path, line, code, severity, fingerprint, message)
    raise ValueError(f"not a finding: {finding}")


# ---------------------------------------------------------------- the summary


def write(summary: Path, rows: Iterable[Row], packages: Iterable[Package]) -> int:
    """Write the summary: of these packages what was found, of the other pinned ones what it said before."""
    checked = {package.name for package in packages}
    pinned = {package.project for package in read_packages(summary.with_name("packages.toml"))}
    others = [row for row in read_summary(summary) if _name(row) not in checked and row.project in pinned]
    lines = [json.dumps(asdict(row), ensure_ascii=False) for row in sorted({*others, *rows})]
    summary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    return SAME


def compare(summary: Path, rows: Iterable[Row], packages: Iterable[Package]) -> int:
    """Print what was found and is not in the summary (`+`), and what is there and was not found (`-`)."""
    checked = {package.name for package in packages}
    before = {row for row in read_summary(summary) if _name(row) in checked}
    after = set(rows)
    for row in sorted(before ^ after):
        print(f"{'+' if row in after else '-'} {row}")
    if before == after:
        print("no difference")
        return SAME
    print(f"{len(after - before)} added, {len(before - after)} removed; where that is right, run `write`")
    return DIFFERENT


def read_summary(summary: Path) -> list[Row]:
    """The rows of a summary; none where there is no file yet."""
    if not summary.exists():
        return []
    return [Row(**json.loads(line)) for line in summary.read_text(encoding="utf-8").splitlines()]


def _name(row: Row) -> str:
    return row.project.partition("==")[0]


# ---------------------------------------------------------------- the command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare losslint's findings in real packages with a summary.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, explanation in (
        ("write", "write the summary"),
        ("compare", "show what differs from the summary"),
    ):
        sub = commands.add_parser(command, help=explanation, description=explanation)
        sub.add_argument("--subset", choices=("all", "ci"), default="all", help="which packages (default: all)")
        sub.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help=f"default: {_home(CACHE)}")
        if command == "compare":
            sub.add_argument("--strict", action="store_true", help="fail where no package index can be reached")
    return parser


def _home(path: Path) -> str:
    return f"~/{path.relative_to(Path.home()).as_posix()}"


def _failed(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
