"""The hook and the action: what other tools read of this repository."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pre_commit.clientlib import load_manifest

from losslint.commands.check import parser

ROOT = Path(__file__).resolve().parent.parent


def test_the_hook_is_one_that_pre_commit_takes() -> None:
    (hook,) = load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))
    assert hook["id"] == "losslint"
    program, command, *options = hook["entry"].split()
    assert (program, command) == ("losslint", "check")
    assert parser().parse_args(options).force_exclude
    assert hook["types_or"] == ["python", "jupyter"]
    assert hook["additional_dependencies"] == []


@pytest.fixture
def action() -> Any:
    return yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def test_every_input_of_the_action_is_used_and_explained(action: Any) -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action["inputs"])
    assert all(one["description"] and "default" in one for one in action["inputs"].values())
    assert action["runs"]["using"] == "composite"


def test_inputs_reach_the_shell_by_the_environment_only(action: Any) -> None:
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"


def test_the_steps_of_the_action_run(action: Any, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    tool = tmp_path / "losslint"
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >> "$LOG"\n')
    tool.chmod(0o755)
    environment = {
        "PATH": "/usr/bin:/bin",
        "LOG": str(tmp_path / "log"),
        "LOSSLINT": str(tmp_path / "losslint"),
        "GITHUB_OUTPUT": str(tmp_path / "outputs"),
        "PATHS": "src tests",
        "ARGS": "--select LL1",
        "SARIF_FILE": "a b.sarif",
        "FOLDER": "sub",
    }
    check = action["runs"]["steps"][1]["run"]
    subprocess.run([bash, "-e", "-o", "pipefail", "-c", check], env=environment, check=True, timeout=30)
    words = (tmp_path / "log").read_text().splitlines()
    expected = ["check", "src", "tests", "--output-format", "github", "--output", "sarif=a b.sarif", "--select", "LL1"]
    assert words == expected
    assert parser().parse_args(words[1:]).output == ["sarif=a b.sarif"]
    assert (tmp_path / "outputs").read_text() == "sarif-file=sub/a b.sarif\n"
