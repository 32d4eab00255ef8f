"""`scripts/ecosystem.py`, with packages that pip takes from a folder here."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "ecosystem.py"

UNSCALED = """\
def train(model, loader, criterion, optimizer, accum_steps):
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        loss.backward()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
"""
SCALED = UNSCALED.replace("        loss.backward()", "        loss = loss / accum_steps\n        loss.backward()")

Run = Callable[[Sequence[str]], int]


@pytest.fixture(scope="module")
def ecosystem() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ecosystem", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up there
    sys.modules["ecosystem"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(ecosystem: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command over two packages that pip finds in `tmp_path/wheels`; `wrong` is in the `ci` subset."""
    pytest.importorskip("pip")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    entries = [
        _entry(_wheel(wheels, "wrong", UNSCALED), 'subset = "ci"'),
        _entry(_wheel(wheels, "right", SCALED), ""),
    ]
    (tmp_path / "packages.toml").write_text("\n".join(entries), encoding="utf-8")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return lambda arguments: ecosystem.main([*arguments, "--cache", str(tmp_path / "cache")], tmp_path)


def _wheel(folder: Path, name: str, source: str) -> Path:
    """A wheel whose module raises when it is imported, by losslint or by the script."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/train.py", source)
        archive.writestr("rich.py", "raise SystemExit('imported')\n")
        archive.writestr("libcst.py", "raise SystemExit('imported')\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def _entry(wheel: Path, subset: str) -> str:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    name = wheel.name.partition("-")[0]
    return f'[[package]]\nname = "{name}"\nversion = "1.0"\nsha256 = "{digest}"\n{subset}\n'


def test_what_was_written_compares_equal(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["write"]) == 0
    lines = (tmp_path / "findings.jsonl").read_text(encoding="utf-8").splitlines()
    assert any('"wrong==1.0"' in line and '"LL102"' in line and '"wrong/train.py"' in line for line in lines)
    assert not any('"right==1.0"' in line for line in lines)
    capsys.readouterr()
    assert run(["compare"]) == 0
    assert capsys.readouterr().out.startswith("no difference\n2 packages, 6 files, ")


def test_a_difference_is_shown_and_fails(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["write"]) == 0
    summary = tmp_path / "findings.jsonl"
    text = summary.read_text(encoding="utf-8")
    summary.write_text(text.replace('"LL102"', '"LL199"'), encoding="utf-8")
    capsys.readouterr()
    assert run(["compare"]) == 1
    out = capsys.readouterr().out
    assert "- wrong==1.0 wrong/train.py:4: LL199 " in out
    assert "+ wrong==1.0 wrong/train.py:4: LL102 " in out
    assert "1 added, 1 removed" in out


def test_a_subset_leaves_the_other_packages_alone(run: Run, tmp_path: Path) -> None:
    summary = tmp_path / "findings.jsonl"
    kept = (
        '{"project": "right==1.0", "file": "right/train.py", "line": 1, "code": "LL102", "severity": "error", '
        '"fingerprint": "0", "message": "of an earlier run"}\n'
    )
    unpinned = kept.replace("right==1.0", "right==0.9")
    summary.write_text(kept + unpinned, encoding="utf-8")
    assert run(["write", "--subset", "ci"]) == 0
    text = summary.read_text(encoding="utf-8")
    assert text.startswith(kept)
    assert '"wrong==1.0"' in text
    assert "right==0.9" not in text
    assert run(["compare", "--subset", "ci"]) == 0
    assert run(["compare"]) == 1


def test_without_an_index_nothing_is_compared(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wheel in (tmp_path / "wheels").iterdir():
        wheel.unlink()
    assert run(["compare"]) == 0
    assert capsys.readouterr().out.startswith("skipped: `wrong==1.0` cannot be downloaded")
    assert run(["compare", "--strict"]) == 2
    assert run(["write"]) == 2
    assert not (tmp_path / "findings.jsonl").exists()


def test_a_wheel_that_is_not_the_pinned_one_is_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "wheels" / "wrong-1.0-py3-none-any.whl", "a") as archive:
        archive.writestr("wrong/more.py", "")
    assert run(["compare"]) == 2
    assert "not the pinned" in capsys.readouterr().err
    assert not list((tmp_path / "cache").iterdir())


def test_a_missing_version_is_no_lack_of_network(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = tmp_path / "packages.toml"
    packages.write_text(packages.read_text(encoding="utf-8").replace("1.0", "2.0"), encoding="utf-8")
    assert run(["compare"]) == 2
    assert "from versions: 1.0" in capsys.readouterr().err


def test_the_committed_summary_fits_the_pinned_packages(ecosystem: ModuleType) -> None:
    packages = ecosystem.read_packages(ecosystem.FOLDER / "packages.toml")
    rows = ecosystem.read_summary(ecosystem.FOLDER / "findings.jsonl")
    assert sum(1 for package in packages if package.subset == "ci") == 4
    assert {row.project for row in rows} <= {package.project for package in packages}
    assert rows == sorted(set(rows))
    assert len({package.name for package in packages}) == len(packages)
