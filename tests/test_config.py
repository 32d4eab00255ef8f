from __future__ import annotations

import json
from pathlib import Path

import fakes
import pytest

from losslint.cli import main
from losslint.config import ConfigError, Configs, read
from losslint.findings import Severity
from losslint.source import project_roots


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


def codes(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    main([*arguments, "--output-format", "json"])
    return [item["code"] for item in json.loads(capsys.readouterr().out)]


def test_every_key(project: Path) -> None:
    config = read(
        write(
            project,
            """
            [tool.losslint]
            select = ["LL1", "mean-loss-over-samples"]
            extend-select = ["LL002"]
            ignore = ["ll106"]
            exclude = ["vendored/"]
            min-severity = "info"
            source-roots = ["lib", "../shared"]

            [tool.losslint.per-file-ignores]
            "examples/*.py" = ["LL102"]
            """,
        )
    )
    assert config is not None
    assert config.root == project
    assert config.select == ("LL1", "mean-loss-over-samples")
    assert config.extend_select == ("LL002",)
    assert config.ignore == ("LL106",)
    assert config.exclude == ("vendored/",)
    assert config.min_severity is Severity.INFO
    assert config.source_roots == (project / "lib", project.parent / "shared")
    assert config.per_file_ignores == (("examples/*.py", ("LL102",)),)


def test_the_nearest_table_wins(project: Path) -> None:
    write(project, '[tool.losslint]\nmin-severity = "error"\n')
    write(project / "a" / "b", '[tool.losslint]\nmin-severity = "info"\n')
    write(project / "a" / "other", '[tool.other]\nname = "losslint"\n')
    configs = Configs()
    assert configs.of(project / "a" / "b" / "c").min_severity is Severity.INFO
    assert configs.of(project / "a").min_severity is Severity.ERROR
    assert configs.of(project / "a" / "other").min_severity is Severity.ERROR
    assert Configs(isolated=True).of(project / "a").min_severity is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[tool.losslint]\n\nselct = []\n",
            "pyproject.toml:3: LL003 error: unknown key `selct`, did you mean `select`?",
        ),
        ("[tool.losslint]\nper_file_ignores = {}\n", ":2: LL003 error: unknown key `per_file_ignores`, did you mean"),
        (
            '[tool.losslint]\nselect = [\n  "LL1",\n  "LL999",\n]\n',
            ":4: LL003 error: `select`: unknown code or name `LL999`",
        ),
        ('[tool.losslint]\nselect = "LL1"\n', ":2: LL003 error: `select`: expected a list of strings"),
        ("[tool.losslint]\nexclude = [1]\n", ":2: LL003 error: `exclude`: expected a list of strings"),
        (
            '[tool.losslint]\nmin-severity = "warn"\n',
            ":2: LL003 error: `min-severity`: expected one of `info`, `warning`",
        ),
        ("[tool.losslint]\nmin-severity = 2\n", ":2: LL003 error: `min-severity`: expected one of"),
        (
            "[tool.losslint.per-file-ignores]\n\n'*.py' = ['x']\n",
            ":3: LL003 error: `per-file-ignores`: `*.py`: unknown",
        ),
        ("[tool.losslint]\nper-file-ignores = 1\n", ":2: LL003 error: `per-file-ignores`: expected a table"),
        ("[tool]\nlosslint = 1\n", ":2: LL003 error: `tool.losslint` must be a table"),
        ("[tool.losslint]\nselect = [\n\nx", ":4: LL003 error: invalid TOML: "),
        ('[tool.losslint]\nselect = ["LL1"', ":2: LL003 error: invalid TOML: "),
    ],
)
def test_invalid_config(project: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    write(project, text)
    (project / "train.py").write_text(fakes.BUG)
    assert main(["."]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert main(["--isolated", "."]) == 1


def test_everything_wrong_is_said_at_once(project: Path) -> None:
    path = write(project, '[tool.losslint]\nselct = []\nmin-severity = "warn"\n')
    with pytest.raises(ConfigError) as raised:
        read(path)
    assert [problem.line for problem in raised.value.problems] == [2, 3]


def test_bytes_that_are_no_text(project: Path) -> None:
    path = project / "pyproject.toml"
    path.write_bytes(b"[tool.losslint]\n# \xff\n")
    with pytest.raises(ConfigError, match=r"pyproject.toml:2: LL003 error: invalid UTF-8"):
        read(path)


def test_a_broken_file_of_another_tool_is_no_concern(project: Path) -> None:
    write(project, "[broken\n")
    (project / "train.py").write_text(fakes.LOOP)
    assert main(["."]) == 0


def test_select_and_ignore(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG + "    total += loss  # BUG LL204\n")
    write(project, '[tool.losslint]\nselect = ["LL2"]\n')
    assert codes(capsys) == ["LL204"]
    assert codes(capsys, "--select", "LL1") == ["LL102"]
    assert codes(capsys, "--extend-select", "LL1") == ["LL102", "LL204"]
    write(project, '[tool.losslint]\nignore = ["LL102"]\n')
    assert codes(capsys) == ["LL204"]
    assert codes(capsys, "--ignore", "LL2") == []
    assert codes(capsys, "--select", "LL102") == ["LL102"]
    assert codes(capsys, "--isolated") == ["LL102", "LL204"]


def test_min_severity_of_the_command_line_wins(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG.replace("LL102", "LL106"))
    write(project, '[tool.losslint]\nmin-severity = "info"\n')
    assert codes(capsys) == ["LL106"]
    assert codes(capsys, "--min-severity", "warning") == []


def test_per_file_ignores(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "examples").mkdir()
    (project / "examples" / "a.py").write_text(fakes.BUG)
    (project / "train.py").write_text(fakes.BUG)
    write(project, '[tool.losslint.per-file-ignores]\n"examples/" = ["unscaled-accumulation"]\n')
    main(["--output-format", "json"])
    assert [item["path"] for item in json.loads(capsys.readouterr().out)] == ["train.py"]
    assert codes(capsys, "--select", "LL102", "examples/a.py") == []


def test_each_file_has_its_own_config(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (project / name).mkdir()
        (project / name / "train.py").write_text(fakes.BUG)
    write(project / "a", '[tool.losslint]\nignore = ["LL102"]\n')
    main(["--output-format", "json"])
    assert [item["path"] for item in json.loads(capsys.readouterr().out)] == ["b/train.py"]


def test_config_file_on_the_command_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    other = project / "strict.toml"
    other.write_text('[tool.losslint]\nignore = ["LL102"]\n')
    assert main(["--config", "strict.toml"]) == 0
    other.write_text("[tool.other]\n")
    assert main(["--config", "strict.toml"]) == 2
    assert "strict.toml: LL003 error: no `[tool.losslint]` table in this file" in capsys.readouterr().err


def test_project_roots(project: Path) -> None:
    package = project / "src" / "pkg" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    file = package / "train.py"
    assert project_roots(file, None, ()).roots == (project / "src", package)
    assert project_roots(file, project, ()).roots == (project, project / "src", package)
    assert project_roots(file, project, (project / "lib",)).roots == (project / "lib", project / "src", package)
    configs = Configs()
    write(project, "")
    assert configs.project(package) == project
