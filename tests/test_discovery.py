from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from losslint.config import Configs
from losslint.discovery import discover


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def names(*arguments: str) -> list[str]:
    found = discover(arguments, Configs())
    assert found.troubles == []
    return [target.name for target in found.targets]


def test_only_python_files_and_notebooks_in_the_order_of_names(project: Path) -> None:
    tree(project, "b/x.py", "a.py", "c.pyi", "d.txt", "b/a/y.py", "e.ipynb", "f.ipynb_x")
    assert names(".") == ["a.py", "b/a/y.py", "b/x.py", "e.ipynb"]


def test_each_file_once(project: Path) -> None:
    tree(project, "a/x.py", "a/y.py")
    assert names("a/y.py", ".", "a", str(project / "a" / "x.py")) == ["a/x.py", "a/y.py"]


def test_named_files_need_no_suffix(project: Path) -> None:
    tree(project, "train", "a.pyi")
    assert names("train", "a.pyi") == ["a.pyi", "train"]


def test_folders_that_are_never_entered(project: Path) -> None:
    tree(project, ".venv/a.py", "build/a.py", "x/__pycache__/a.py", "node_modules/m/a.py", "x/a.py", ".github/a.py")
    assert names(".") == [".github/a.py", "x/a.py"]
    assert names("build") == ["build/a.py"]
    assert names("build/a.py") == ["build/a.py"]


def test_gitignore(project: Path) -> None:
    tree(project, "a.py", "gen/a.py", "sub/gen_x.py", "sub/keep_gen_x.py", "sub/deep/gen_x.py", "sub/other.py")
    (project / ".gitignore").write_text("# comment\ngen/\ngen_*.py\n!\n")
    (project / "sub" / ".gitignore").write_text("!gen_x.py\n/other.py\n")
    (project / "sub" / "deep" / ".gitignore").write_text("gen_x.py\n")
    assert names(".") == ["a.py", "sub/gen_x.py", "sub/keep_gen_x.py"]


def test_files_and_folders_that_are_named_are_meant(project: Path) -> None:
    tree(project, "gen/a.py", "gen/b.py")
    (project / ".git").mkdir()
    (project / ".gitignore").write_text("gen/\n")
    assert names(".") == []
    assert names("gen/a.py") == ["gen/a.py"]
    assert names("gen") == ["gen/a.py", "gen/b.py"]


def test_gitignore_above_the_named_folder(project: Path) -> None:
    tree(project, "src/a.py", "src/gen_a.py", "src/deep/gen_a.py")
    (project / ".gitignore").write_text("gen_*.py\n")
    assert names("src") == ["src/a.py", "src/deep/gen_a.py", "src/gen_a.py"]
    (project / ".git").mkdir()
    assert names("src") == ["src/a.py"]
    assert names("src/deep") == []


def test_gitignore_agrees_with_git(project: Path) -> None:
    tree(project, *(f"{folder}{name}.py" for folder in ("", "a/", "a/b/", "c/") for name in ("x", "y", "z")))
    (project / ".gitignore").write_text("/x.py\na/**/y.py\n!a/b/y.py\n*z.py\nc\n")
    (project / "a" / ".gitignore").write_text("!z.py\nb/x.py\n")
    subprocess.run(["git", "init", "-q"], check=True)
    command = ["git", "ls-files", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert names(".") == sorted(listed)
    assert len(listed) == 5


def test_exclude(project: Path) -> None:
    tree(project, "a.py", "vendored/a.py", "sub/vendored/a.py", "sub/x_pb2.py", "sub/b.py")
    (project / "pyproject.toml").write_text('[tool.losslint]\nexclude = ["vendored/", "*_pb2.py"]\n')
    assert names(".") == ["a.py", "sub/b.py"]
    assert names("sub") == ["sub/b.py"]
    assert names("vendored") == ["vendored/a.py"]
    assert names("sub/x_pb2.py") == ["sub/x_pb2.py"]


def test_links_to_folders_are_not_followed(project: Path) -> None:
    tree(project, "a/x.py", "elsewhere.py")
    os.symlink(project, project / "a" / "loop", target_is_directory=True)
    os.symlink("missing.py", project / "a" / "dangling.py")
    os.symlink("circle.py", project / "a" / "circle.py")
    os.symlink(project / "elsewhere.py", project / "a" / "link.py")
    assert names("a") == ["a/link.py", "a/x.py"]
    assert names("a/loop") == ["a/loop/a/link.py", "a/loop/a/x.py", "a/loop/elsewhere.py"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_what_is_no_file_is_never_opened(project: Path) -> None:
    os.mkfifo(project / "pipe.py")
    assert names(".") == []
    found = discover(["pipe.py"], Configs())
    assert [(trouble.name, trouble.message) for trouble in found.troubles] == [("pipe.py", "not a regular file")]


def test_a_folder_that_cannot_be_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(project, "a/x.py", "b.py")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("a"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = discover(["."], Configs())
    assert [target.name for target in found.targets] == ["b.py"]
    assert [(trouble.name, trouble.message) for trouble in found.troubles] == [("a", "permission denied")]


def test_pathspec_is_imported_only_for_patterns(tmp_path: Path) -> None:
    tree(tmp_path, "a.py")
    (tmp_path / ".gitignore").write_text("# nothing\n\n")
    script = (
        "import sys; from losslint.config import Configs; from losslint.discovery import discover;"
        "discover(['.'], Configs()); print('pathspec' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
