from __future__ import annotations

import json
from pathlib import Path

import fakes
import pytest

from losslint.cli import main


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], str, int]:
    """The places that are reported, what is said on standard error, and the exit code."""
    code = main(["--output-format", "concise", *arguments])
    streams = capsys.readouterr()
    return [line.split(": ")[0] for line in streams.out.splitlines()[:-1]], streams.err, code


def adopt(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--write-baseline", "known.json"]) == 0
    capsys.readouterr()


OTHER = fakes.BUG.replace("loss.backward()", "scaled.backward()")


def test_only_what_is_new_is_reported(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    assert main(["--write-baseline", "known.json"]) == 0
    streams = capsys.readouterr()
    assert streams.err == "wrote 1 finding to `known.json`\n"
    assert streams.out == "All clear: 1 file checked; 1 finding in the baseline\n"
    assert main([]) == 1
    capsys.readouterr()
    assert shown(capsys, "--baseline", "known.json") == ([], "", 0)
    (project / "train.py").write_text(fakes.BUG + "    other.backward()  # BUG LL102\n")
    assert shown(capsys, "--baseline", "known.json") == (["train.py:4:5"], "", 1)


def test_the_file_is_sorted_and_has_no_lines(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "b.py").write_text(fakes.BUG + "    loss.backward()  # BUG LL102\n")
    (project / "a.py").write_text(fakes.BUG.replace("LL102", "LL204"))
    adopt(capsys)
    first = (project / "known.json").read_bytes()
    assert json.loads(first) == {
        "version": 1,
        "findings": [
            {
                "path": "a.py",
                "code": "LL204",
                "name": "mean-loss-over-samples",
                "statement": "loss.backward()",
                "count": 1,
            },
            {
                "path": "b.py",
                "code": "LL102",
                "name": "unscaled-accumulation",
                "statement": "loss.backward()",
                "count": 2,
            },
        ],
    }
    adopt(capsys)
    assert (project / "known.json").read_bytes() == first


def test_lines_may_move(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    adopt(capsys)
    (project / "train.py").write_text("# a line more\n\n" + fakes.BUG.replace("    ", "\t"))
    assert shown(capsys, "--baseline", "known.json") == ([], "", 0)


def test_files_may_be_renamed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    adopt(capsys)
    (project / "src").mkdir()
    (project / "train.py").rename(project / "src" / "run.py")
    assert shown(capsys, "--baseline", "known.json") == ([], "", 0)


def test_a_copy_is_new(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    adopt(capsys)
    (project / "a_copy.py").write_text(fakes.BUG)
    assert shown(capsys, "--baseline", "known.json") == (["a_copy.py:3:5"], "", 1)


def test_a_repaired_finding_does_not_stand_for_another_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    adopt(capsys)
    (project / "train.py").write_text(fakes.LOOP)
    (project / "other.py").write_text(fakes.BUG)
    places, said, code = shown(capsys, "--baseline", "known.json")
    assert (places, code) == (["other.py:3:5"], 1)
    assert "known.json: 1 finding is gone" in said


def test_one_more_of_the_same_is_new(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    adopt(capsys)
    (project / "train.py").write_text(fakes.BUG + "    loss.backward()  # BUG LL102\n")
    assert shown(capsys, "--baseline", "known.json") == (["train.py:4:5"], "", 1)


def test_stale_entries_are_told_and_do_not_fail(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG + "    loss.backward()  # BUG LL102\n")
    (project / "gone.py").write_text(OTHER)
    adopt(capsys)
    (project / "train.py").write_text(fakes.LOOP)
    (project / "gone.py").unlink()
    assert shown(capsys, "--baseline", "known.json") == (
        [],
        "note: known.json: 3 findings are gone; `--write-baseline known.json` takes them out\n",
        0,
    )
    _, said, _ = shown(capsys, "--baseline", "known.json", "--verbose")
    assert said.splitlines()[1:] == [
        "note: known.json: gone: gone.py: LL102: scaled.backward()",
        "note: known.json: gone: train.py: LL102: loss.backward() (2 times)",
    ]


@pytest.mark.parametrize("arguments", [["other.py"], ["--select", "LL2"], ["--min-severity", "error"]])
def test_a_run_that_looks_at_less_calls_nothing_stale(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (project / "train.py").write_text(fakes.BUG.replace("LL102", "LL204"))
    (project / "other.py").write_text(fakes.LOOP)
    adopt(capsys)
    if "other.py" not in arguments:
        (project / "train.py").write_text(fakes.LOOP)
    assert shown(capsys, "--baseline", "known.json", *arguments) == ([], "", 0)


def test_it_can_be_configured(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "sub").mkdir()
    (project / "sub" / "train.py").write_text(fakes.BUG)
    adopt(capsys)
    (project / "pyproject.toml").write_text('[tool.losslint]\nbaseline = "known.json"\n')
    assert shown(capsys) == ([], "", 0)
    assert shown(capsys, "--isolated")[0] == ["sub/train.py:3:5"]
    monkeypatch.chdir(project / "sub")
    assert shown(capsys) == ([], "", 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "error: known.json: no such file or directory; `--write-baseline` writes a baseline"),
        ("", "error: known.json:1: no valid JSON: expecting value"),
        ('{"version": 1,\n "findings": [}', "error: known.json:2: no valid JSON: expecting value"),
        ("[]", "error: known.json: no baseline: an object with a list of `findings` is expected"),
        ('{"version": 2, "findings": []}', "error: known.json: version 2 of the format is not known, 1 is"),
        ('{"version": 1, "findings": [3]}', "error: known.json: entry 1: `path`, `code`, `statement` and `count`"),
        (
            '{"version": 1, "findings": [{"path": "a", "code": "b", "statement": "c", "count": true}]}',
            "error: known.json: entry 1: ",
        ),
        ('{"a": "\udcff"}', "error: known.json: no valid JSON"),
        ("[" * 100_000, "error: known.json"),
    ],
)
def test_a_broken_baseline_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    (project / "train.py").write_text(fakes.BUG)
    if text is not None:
        (project / "known.json").write_bytes(text.encode(errors="surrogateescape"))
    assert main(["--baseline", "known.json"]) == 2
    streams = capsys.readouterr()
    assert streams.err.startswith(message)
    assert streams.err.count("\n") == 1
    assert streams.out == ""


def test_a_baseline_that_cannot_be_written_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    assert main(["--write-baseline", "absent/known.json"]) == 2
    assert capsys.readouterr().err == "error: absent/known.json: no such file or directory\n"
    assert main(["--baseline", "a", "--write-baseline", "b"]) == 2


def test_what_could_not_be_checked_still_fails(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    assert main(["train.py", "absent.py", "--write-baseline", "known.json"]) == 2
    assert json.loads((project / "known.json").read_text())["findings"] != []
