"""Options of `check` about where reports go and which files are meant, and the small commands."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fakes
import jsonschema
import pytest

from losslint.cli import main
from losslint.commands import COMMANDS
from losslint.completion import SHELLS, collected
from losslint.config import Config, read
from losslint.output import FORMATS
from losslint.settings import SETTINGS, json_schema, written

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHELL_NAMES = tuple(SHELLS)


# ---------------------------------------------------------------- where reports go


def test_a_report_goes_to_a_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    assert main(["--output-format", "json", "--output-file", "out.json", "--color", "always"]) == 1
    assert capsys.readouterr().out == ""
    assert json.loads((project / "out.json").read_text())[0]["code"] == "LL102"


def test_several_reports_at_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    outputs = [f"--output={name}=report.{name}" for name in FORMATS]
    assert main([*outputs, "--output-format", "concise", "--color", "always"]) == 1
    assert "\x1b[" in capsys.readouterr().out
    for name in FORMATS:
        text = (project / f"report.{name}").read_text()
        assert "LL102" in text
        assert "\x1b" not in text


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", [fakes.BUG, fakes.LOOP])
def test_every_format_takes_every_option(
    project: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    (project / "train.py").write_text(text)
    assert main(["--output-format", name, "--exit-zero", "--verbose", "--min-severity", "info"]) == 0
    assert ("LL102" in capsys.readouterr().out) is (text == fakes.BUG)
    code = main(["--output-format", name, "--statistics"])
    streams = capsys.readouterr()
    if code == 2:
        assert streams.err == f"error: `--statistics` has no `{name}` format\n"
    else:
        assert "LL102" in streams.out or text == fakes.LOOP


def test_statistics_as_lines_of_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    assert main(["--statistics", "--output-format", "json-lines"]) == 1
    assert json.loads(capsys.readouterr().out) == {"code": "LL102", "name": "unscaled-accumulation", "count": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "sarif"], "`--output sarif`: expected `FORMAT=FILE`, such as `sarif=losslint.sarif`"),
        (["--output", "sarif="], "expected `FORMAT=FILE`"),
        (["--output", "sarf=a"], "unknown format `sarf`, did you mean `sarif`?"),
        (["--output", "sarif=a", "--output", "json=./a"], "two outputs go to `a`"),
        (["--output", "sarif=a", "--output-file", "a"], "two outputs go to `a`"),
        (["--output-file", "absent/out"], "cannot write `absent/out`: no such folder"),
        (["--output-file", "."], "cannot write `.`: is a directory"),
        (["--output", "json=/dev/full"], "cannot write `/dev/full`: no space left on device"),
        (["train.py", "-"], "standard input is checked alone, without `train.py`"),
        (["--stdin-filename", "a.py", "train.py"], "standard input is checked alone, without `train.py`"),
    ],
)
def test_outputs_that_cannot_be_used(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    if "json=/dev/full" in arguments and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    (project / "train.py").write_text(fakes.BUG)
    assert main(arguments) == 2
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.err.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [["."], ["rules"], ["explain", "LL102"], ["config"]])
def test_a_full_disk_behind_standard_output_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "train.py").write_text(fakes.BUG * 200)
    root = str(Path(fakes.__file__).resolve().parents[1])
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(Path(fakes.__file__).resolve()), *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": root},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert "no space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


# ---------------------------------------------------------------- which files


class Stdin:
    def __init__(self, text: str) -> None:
        self.buffer = io.BytesIO(text.encode())


@pytest.mark.parametrize("arguments", [["-"], [], ["--output-format", "full", "-"]])
def test_standard_input_stands_for_a_file(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    (project / "pyproject.toml").write_text('[tool.losslint.per-file-ignores]\n"quiet.py" = ["LL102"]\n')
    (project / "train.py").write_text("on disk = other\n")
    monkeypatch.setattr(sys, "stdin", Stdin(fakes.BUG))
    assert main(["--stdin-filename", "train.py", *arguments]) == 1
    out = capsys.readouterr().out
    assert "train.py:3:5" in out
    assert "loss.backward()  # BUG LL102" in out
    monkeypatch.setattr(sys, "stdin", Stdin(fakes.BUG))
    assert main(["--stdin-filename", "quiet.py", *arguments]) == 0


def test_standard_input_without_a_name(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(fakes.BUG))
    assert main(["-", "--output-format", "concise"]) == 1
    assert capsys.readouterr().out.startswith("-:3:5: LL102")
    assert main(["-", "--fix"]) == 2
    assert "standard input cannot be fixed in place" in capsys.readouterr().err


def test_excluded_files_that_are_named(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "pyproject.toml").write_text('[tool.losslint]\nexclude = ["generated/"]\n')
    (project / "generated").mkdir()
    (project / "generated" / "train.py").write_text(fakes.BUG)
    assert main(["generated/train.py"]) == 1
    assert main(["generated/train.py", "--force-exclude"]) == 0
    monkeypatch.setattr(sys, "stdin", Stdin(fakes.BUG))
    assert main(["--stdin-filename", "generated/train.py", "--force-exclude"]) == 0


def test_show_files(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "b").mkdir()
    for name in ("b/train.py", "a.py", "text.txt"):
        (project / name).write_text(fakes.BUG)
    assert main(["--show-files"]) == 0
    assert capsys.readouterr().out == "a.py\nb/train.py\n"
    assert main(["--show-files", "a.py", "absent"]) == 2
    assert capsys.readouterr().out == "a.py\n"


def test_show_settings_can_be_read_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(f"{setting.key} = {setting.example}" for setting in SETTINGS)
    (project / "pyproject.toml").write_text(
        f"[tool.losslint]\n{text}\n".replace("scaler-cadence", "LL204")
        .replace("uneven-batch-mean", "LL204")
        .replace("LL206", "LL204")
    )
    (project / "losslint-baseline.json").write_text('{"version": 1, "findings": []}')
    (project / "train.py").write_text(fakes.BUG)
    assert main(["--show-settings"]) == 0
    shown = capsys.readouterr().out
    again = project / "again" / "pyproject.toml"
    again.parent.mkdir()
    again.write_text(shown)
    expected, found = read(project / "pyproject.toml"), read(again)
    assert expected is not None
    assert found is not None
    for setting in SETTINGS:
        if setting.key not in ("baseline", "source-roots"):
            assert getattr(found, setting.attribute) == getattr(expected, setting.attribute)
    assert 'baseline = "losslint-baseline.json"' in shown
    assert 'source-roots = ["lib"]' in shown


def test_defaults_are_told_where_nothing_is_configured() -> None:
    assert 'min-severity = "warning"' in written(Config())
    assert "# baseline is not set" in written(Config())


# ---------------------------------------------------------------- configuration


def test_config_lists_and_explains_keys(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [setting.key for setting in SETTINGS]
    assert main(["config", "min-severity"]) == 0
    shown = capsys.readouterr().out
    assert 'Type: `info`, `warning` or `error`\nDefault: "warning"\nExample:\n  [tool.losslint]\n' in shown
    assert main(["config", "min-severty"]) == 2
    assert capsys.readouterr().err == "error: unknown key `min-severty`, did you mean `min-severity`?\n"
    assert main(["config", "--output-format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_examples_and_defaults_are_valid(setting: object) -> None:
    assert setting in SETTINGS
    (one,) = [known for known in SETTINGS if known is setting]
    validator = jsonschema.Draft7Validator(json_schema())
    for text in filter(None, (one.example, one.default)):
        table = tomllib.loads(f"{one.key} = {text}")
        validator.validate(table)
        one.kind.read(table[one.key], Path())


def test_the_schema_refuses_what_is_refused() -> None:
    validator = jsonschema.Draft7Validator(json_schema())
    refused: list[dict[str, object]] = [
        {"selct": []},
        {"select": "LL1"},
        {"select": ["LL9999"]},
        {"loss-functions": {"a": "max"}},
    ]
    assert not any(map(validator.is_valid, refused))
    validator.validate({"select": ["all", "ll1", "LL102", "unscaled-accumulation"]})


def test_every_key_is_a_field() -> None:
    for setting in SETTINGS:
        assert hasattr(Config(), setting.attribute)


@pytest.mark.parametrize(
    "before", [None, "", "[project]\nname = 'x'\n", "[project]\r\nname = 'x'", "[tool.losslinter]\n"]
)
def test_init_adds_a_table_of_comments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pyproject.toml"
    if before is not None:
        path.write_bytes(before.encode())
    assert main(["init"]) == 0
    text = path.read_bytes().decode()
    assert text.startswith(before or "")
    assert tomllib.loads(text)["tool"]["losslint"] == {}
    if before is not None and "\r\n" in before:
        assert text.count("\n") == text.count("\r\n")
    uncommented = "\n".join(
        line[2:] if line[2:].split(" ")[0] in [s.key for s in SETTINGS] else line for line in text.splitlines()
    )
    taken = tomllib.loads(uncommented)["tool"]["losslint"]
    assert set(taken) == {setting.key for setting in SETTINGS}
    jsonschema.Draft7Validator(json_schema()).validate(taken)
    assert main(["init"]) == 2
    assert "there is a `[tool.losslint]` table already" in capsys.readouterr().err
    assert path.read_bytes().decode() == text


def test_init_refuses_what_it_cannot_use(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "absent"]) == 2
    assert capsys.readouterr().err == "error: absent/pyproject.toml: no such file or directory\n"
    (project / "pyproject.toml").write_bytes(b"x = '\xff'\n")
    assert main(["init"]) == 2
    assert capsys.readouterr().err == "error: pyproject.toml: invalid UTF-8\n"


# ---------------------------------------------------------------- help and completion


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(project: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: losslint")
    assert max(map(len, shown.splitlines())) <= 120


def test_every_option_is_explained() -> None:
    for name in COMMANDS:
        module = importlib.import_module(f"losslint.commands.{name.replace('-', '_')}")
        make = getattr(module, "parser", None)
        if make is not None:
            unexplained = [
                action.option_strings for action in make()._actions if action.option_strings and not action.help
            ]
            assert unexplained == []
            assert isinstance(make(), argparse.ArgumentParser)


@pytest.mark.parametrize("shell", SHELL_NAMES)
def test_completion_names_every_command_and_option(
    project: Path, capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in collected():
        assert command.name in script
        for option in command.options:
            assert any(name.lstrip("-") in script for name in option.names)
    for format_name in FORMATS:
        assert format_name in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, check=False, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["con"], ["config"]),
        (["--out"], ["--output", "--output-file", "--output-format"]),
        (["--output-format", "js"], ["json", "json-lines"]),
        (["check", "--color", ""], ["always", "auto", "never"]),
        (["check", "--select", "LL102,LL20"], ["LL102,LL204"]),
        (["explain", "unscaled"], ["unscaled-accumulation"]),
        (["config", "min"], ["min-severity"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["check", "--config", "pyp"], ["pyproject.toml"]),
        (["check", "tra"], ["train.py"]),
    ],
)
def test_bash_completes(project: Path, words: list[str], expected: list[str]) -> None:
    for name in ("pyproject.toml", "train.py"):
        (project / name).touch()
    script = SHELLS["bash"](collected())
    line = " ".join(f"'{word}'" for word in ["losslint", *words])
    program = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _losslint; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, cwd=project, timeout=30)
    assert sorted(done.stdout.split()) == expected
    assert done.stderr == ""
