"""Each kind of install finds every rule: wheel, sdist, editable, plain checkout."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from losslint import __version__

CHECKOUT = Path(__file__).resolve().parents[1]
RULES = sorted(path.name for path in (CHECKOUT / "rules").glob("*.py"))

PROBE = """
import pkgutil, losslint.rules
print(losslint.rules.__path__[0])
print(*sorted(module.name + ".py" for module in pkgutil.iter_modules(losslint.rules.__path__)))
"""


def run(*command: str, cwd: Path, path: Path | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments: str, cwd: Path) -> None:
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind."""
    copy = tmp_path_factory.mktemp("tree") / "losslint"
    skipped = shutil.ignore_patterns(".*", "__pycache__", "fixtures", "build", "dist")
    shutil.copytree(CHECKOUT, copy, ignore=skipped)
    return copy


@pytest.fixture(scope="module")
def dist(tree: Path) -> Path:
    """The sdist, and the wheel that is built from it."""
    run(sys.executable, "-m", "build", "--no-isolation", cwd=tree)
    return tree / "dist"


def test_the_sdist_holds_what_a_wheel_is_built_from(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {f"rules/{name}" for name in RULES} <= names
    assert {"losslint/cli.py", "losslint/output/full.py", "pyproject.toml", "README.md"} <= names


def test_the_wheel_holds_the_package_and_the_rules(dist: Path, tree: Path) -> None:
    (archive,) = dist.glob("*.whl")
    assert archive.name == f"losslint-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(archive) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
    package = {path.relative_to(tree).as_posix() for path in (tree / "losslint").rglob("*") if path.is_file()}
    assert names == package | {f"losslint/_rules/{name}" for name in RULES}


def test_a_wheel_that_is_installed(dist: Path, tmp_path: Path) -> None:
    (archive,) = dist.glob("*.whl")
    target = tmp_path / "target"
    pip("--target", str(target), str(archive), cwd=tmp_path)
    place, found = run(sys.executable, "-c", PROBE, cwd=tmp_path, path=target).splitlines()
    assert place == str(target / "losslint" / "_rules")
    assert found.split() == RULES
    script = target / "bin" / "losslint"
    if script.exists():
        assert run(sys.executable, str(script), "--version", cwd=tmp_path, path=target) == f"losslint {__version__}\n"


def test_an_editable_install(tree: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    pip("--no-build-isolation", "--ignore-installed", "--prefix", str(prefix), "--editable", str(tree), cwd=tmp_path)
    (packages,) = [path for path in site.getsitepackages([str(prefix)]) if os.path.isdir(path)]
    probe = f"import site; site.addsitedir({packages!r})\n{PROBE}"
    # without `-S` an editable install of the checkout itself would come first
    place, found = run(sys.executable, "-S", "-c", probe, cwd=tmp_path).splitlines()
    assert place == str(tree / "rules")
    assert found.split() == RULES


def test_a_plain_checkout(tree: Path) -> None:
    assert run(sys.executable, "-m", "losslint", "--version", cwd=tree) == f"losslint {__version__}\n"
    place, found = run(sys.executable, "-c", PROBE, cwd=tree, path=tree).splitlines()
    assert place == str(tree / "rules")
    assert found.split() == RULES
