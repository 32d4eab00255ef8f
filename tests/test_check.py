"""Findings that lie in another file than the one they were found from."""

from __future__ import annotations

import json
from pathlib import Path

import fakes
import pytest

from losslint.cli import main

HELPER = "loss.backward()\n"


@pytest.fixture
def calls(project: Path) -> Path:
    """Two files whose loops find the same defect in a helper."""
    for name in ("a.py", "train.py"):
        (project / name).write_text(fakes.LOOP + "# CALLS helpers/step.py\n")
    (project / "helpers").mkdir()
    (project / "helpers" / "step.py").write_text(HELPER)
    return project


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    main([*arguments, "--output-format", "concise"])
    return [line.split(": ")[0] + line[-9:] for line in capsys.readouterr().out.splitlines()[:-1]]


FOUND = ["helpers/step.py:1:1ided loss"]


def test_it_is_shown_once(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, ".") == FOUND
    assert main(["."]) == 1


def test_it_is_shown_where_only_the_caller_is_named(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert shown(capsys, "train.py") == FOUND
    assert shown(capsys, "helpers") == []


def test_it_is_suppressed_where_it_lies(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (calls / "helpers" / "step.py").write_text("loss.backward()  # losslint: ignore[LL102]\n")
    assert shown(capsys, ".") == []
    assert shown(capsys, "train.py") == []


def test_the_configuration_of_its_file_decides(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = calls / "pyproject.toml"
    config.write_text('[tool.losslint.per-file-ignores]\n"train.py" = ["LL102"]\n"a.py" = ["ALL"]\n')
    assert shown(capsys, ".") == FOUND
    config.write_text('[tool.losslint.per-file-ignores]\n"helpers/" = ["LL102"]\n')
    assert shown(capsys, ".") == []
    assert shown(capsys, "train.py") == []
    config.write_text("")
    (calls / "helpers" / "pyproject.toml").write_text('[tool.losslint]\nignore = ["LL102"]\n')
    assert shown(capsys, ".") == []


def test_it_is_hidden_where_its_file_is_left_out(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (calls / "pyproject.toml").write_text('[tool.losslint]\nexclude = ["helpers/"]\n')
    assert shown(capsys, ".") == []
    assert shown(capsys, ".", "helpers/step.py") == FOUND
    (calls / "pyproject.toml").write_text("")
    (calls / ".git").mkdir()
    (calls / ".gitignore").write_text("step.py\n")
    assert shown(capsys, ".") == []
    (calls / ".gitignore").unlink()
    (calls / "helpers").rename(calls / "build")
    for name in ("a.py", "train.py"):
        (calls / name).write_text(fakes.LOOP + "# CALLS build/step.py\n")
    assert shown(capsys, ".") == []


def test_it_takes_the_name_that_the_user_gave(
    calls: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (calls / "train.py").write_text(fakes.LOOP + f"# CALLS {calls.as_posix()}/helpers/step.py\n")
    (calls / "a.py").unlink()
    assert shown(capsys, ".") == FOUND


def test_the_editor_gets_it_with_its_file(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--output-format", "lsp"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(item["uri"].rpartition("/")[2], len(item["diagnostics"])) for item in found] == [
        *(("a.py", 0), ("step.py", 1), ("train.py", 0))
    ]
