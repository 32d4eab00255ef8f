from __future__ import annotations

from pathlib import Path

import fakes
import pytest

from losslint.check import FileReport, Report
from losslint.cli import main
from losslint.discovery import Trouble
from losslint.findings import Factor, Finding, Range, TrailStep
from losslint.output import render
from losslint.output.text import cells, clip, escape, shown, summary

TRAIN = """\
import torch
criterion = nn.CrossEntropyLoss()


def train(model, loader):
    total = 0
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        loss = loss / accum_steps
        loss.backward()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
        total += helper(
            loss,
        )
    return total / len(loader)
"""


def drawn(finding: Finding, width: int = 120) -> list[str]:
    report = Report((FileReport(finding.path, (finding,)),))
    return ["".join(text for text, _ in line) for line in render("full", report, width)]


def on_line(text: str, start: int, end: int, width: int = 120) -> list[str]:
    """The source line and its underline."""
    Path("train.py").write_text(text)
    return drawn(fakes.finding(place=Range(1, start, 1, end), factor=None), width)[3:5]


def test_a_finding_with_a_trail_through_two_files(project: Path) -> None:
    (project / "train.py").write_text(TRAIN)
    (project / "helpers.py").write_text("def helper(loss):\n    return loss.item()\n")
    finding = fakes.finding(
        rule=fakes.RULES[2],
        place=Range(16, 12, 16, 31),
        message="the divided loss is averaged over micro-batches",
        factor=Factor("reported = true mean ÷ accum_steps", 0.25),
        trail=(
            TrailStep("train.py", Range(8, 16, 8, 38), "criterion", "1"),
            TrailStep("train.py", Range(9, 16, 9, 34), "/ accum_steps", "1/accum_steps"),
            TrailStep("helpers.py", Range(2, 12, 2, 23), "returned", "1/accum_steps"),
            TrailStep("train.py", Range(13, 9, 15, 10), "+= over batches", "len(loader)/accum_steps"),
            TrailStep("train.py", Range(16, 12, 16, 31), "/ len(loader)", "1/accum_steps"),
        ),
        related=(TrailStep("train.py", Range(11, 12, 11, 38), "the window is found here", ""),),
    )
    assert (
        "\n".join(drawn(finding))
        == """\
warning[LL204] mean-loss-over-samples: the divided loss is averaged over micro-batches
  --> train.py:16:12
   |
 8 |         loss = criterion(model(x), y)
   |                ---------------------- 1. criterion → 1
 9 |         loss = loss / accum_steps
   |                ------------------ 2. / accum_steps → 1/accum_steps
10 |         loss.backward()
11 |         if (i + 1) % accum_steps == 0:
   |            -------------------------- the window is found here
12 |             optimizer.step()
13 |         total += helper(
   |         ---------------- 4. += over batches → len(loader)/accum_steps
...
16 |     return total / len(loader)
   |            ^^^^^^^^^^^^^^^^^^^ 5. / len(loader) → 1/accum_steps
   |
  ::: helpers.py:2:12
   |
 2 |     return loss.item()
   |            ----------- 3. returned → 1/accum_steps
   |
   = factor: reported = true mean ÷ accum_steps
   = law: report: what is reported as the loss is the true mean
   = help: divide the loss by `accum_steps`
   = page: losslint explain LL204

Found 1 warning in 1 file"""
    )


def test_a_range_over_several_lines(project: Path) -> None:
    (project / "train.py").write_text(TRAIN)
    assert drawn(fakes.finding(place=Range(13, 9, 15, 10)))[2:10] == [
        "   |",
        "13 |         total += helper(",
        "   |         ^^^^^^^^^^^^^^^^",
        "14 |             loss,",
        "   |             ^^^^^",
        "15 |         )",
        "   |         ^",
        "   |",
    ]


def test_a_long_range_is_drawn_by_its_ends(project: Path) -> None:
    (project / "train.py").write_text("f(\n" + "    x,\n" * 20 + ")\n")
    lines = drawn(fakes.finding(place=Range(1, 1, 22, 2)))
    assert [line.split(" |")[0].strip() for line in lines[3:16] if "^" not in line] == [
        *("1", "2", "3", "4", "5", "...", "22")
    ]


def test_several_marks_on_one_line(project: Path) -> None:
    (project / "train.py").write_text("loss = criterion(x) / k\n")
    finding = fakes.finding(
        place=Range(1, 1, 1, 24),
        trail=(
            TrailStep("train.py", Range(1, 8, 1, 20), "criterion", "1"),
            TrailStep("train.py", Range(1, 8, 1, 24), "/ k", "1/k"),
        ),
    )
    assert drawn(finding)[3:7] == [
        "1 | loss = criterion(x) / k",
        "  | ^^^^^^^^^^^^^^^^^^^^^^^",
        "  |        ------------ 1. criterion → 1",
        "  |        ---------------- 2. / k → 1/k",
    ]


@pytest.mark.parametrize(
    ("text", "start", "end", "expected"),
    [
        ("\tloss.backward()", 2, 17, ["    loss.backward()", "    ^^^^^^^^^^^^^^^"]),
        ("x\t= loss", 5, 9, ["x   = loss", "      ^^^^"]),
        ("'損失' + loss", 8, 12, ["'損失' + loss", "         ^^^^"]),
        ("'😀' + loss", 7, 11, ["'😀' + loss", "       ^^^^"]),
        ("'e\u0301' + loss", 8, 12, ["'e\u0301' + loss", "      ^^^^"]),
        ("'👩\u200d🚀' + 損失", 9, 11, ["'👩\u200d🚀' + 損失", "         ^^^^"]),
        ("'\x1b[31m' + loss", 11, 15, ["'\\x1b[31m' + loss", "             ^^^^"]),
        ("'\u202e' + loss", 7, 11, ["'\\u202e' + loss", "           ^^^^"]),
        ("[bold]loss[/bold]", 7, 11, ["[bold]loss[/bold]", "      ^^^^"]),
        ("loss", 1, 1, ["loss", "^"]),
        ("loss", 40, 50, ["loss", "    ^"]),
    ],
)
def test_underlines_stand_under_what_they_mean(
    project: Path, text: str, start: int, end: int, expected: list[str]
) -> None:
    assert on_line(text, start, end) == [f"1 | {expected[0]}", f"  | {expected[1]}"]


def test_long_lines_are_clipped_around_the_range(project: Path) -> None:
    text = "x = [" + "1, " * 100 + "loss, " + "2, " * 100 + "]"
    start = text.index("loss") + 1
    line, underline = on_line(text, start, start + 4, width=64)
    assert cells(line) == 64
    assert line[4] == line[-1] == "…"
    assert line[underline.index("^") : underline.rindex("^") + 1] == "loss"
    line, underline = on_line(text, 1, len(text) + 1, width=64)
    assert (cells(line), cells(underline)) == (64, 64)


def test_clipping_wide_characters_keeps_the_cells_in_line() -> None:
    text = "損" * 50 + "loss" + "失" * 50
    for width in (30, 31):
        for shift in (0, 1):
            visible, moved = clip("x" * shift + text, 100 + shift, 104 + shift, width)
            assert width - 1 <= cells(visible) <= width
            before = visible[: visible.index("loss")]
            assert cells(before) == 100 + shift - moved


def test_cells_and_starts() -> None:
    assert shown("a\tb") == ("a   b", [0, 1, 4, 5])
    assert shown("損x") == ("損x", [0, 2, 3])
    assert escape("a\x00\x9b\u2028\udc80é ") == "a\\x00\\x9b\\u2028\\udc80é "


def test_a_file_that_is_gone_is_drawn_without_its_code(project: Path) -> None:
    lines = drawn(fakes.finding(path="gone.py"))
    assert lines[1:5] == [" --> gone.py:3:5", "  |", "3 |", "  | ^"]


def test_colours(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "train.py").write_text(fakes.BUG.replace("batch in", "batch [red]x[/red] in"))
    main([])
    piped = capsys.readouterr().out
    assert "\x1b" not in piped
    main(["--color", "always"])
    coloured = capsys.readouterr().out
    assert coloured.startswith("\x1b[1;31merror[LL102] unscaled-accumulation\x1b[0m")
    monkeypatch.setenv("FORCE_COLOR", "1")
    main([])
    assert capsys.readouterr().out == coloured
    monkeypatch.setenv("NO_COLOR", "1")
    main([])
    assert capsys.readouterr().out == piped
    main(["--color", "always"])
    assert capsys.readouterr().out == coloured
    monkeypatch.delenv("NO_COLOR")
    main(["--color", "never"])
    assert capsys.readouterr().out == piped
    main(["--output-format", "json", "--color", "always"])
    assert "\x1b" not in capsys.readouterr().out


def test_colour_adds_nothing_but_colour(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import re

    (project / "train.py").write_text(fakes.BUG.replace("loader", "'" + "[bold]:smile: 損 \x07" * 30 + "'"))
    main([])
    piped = capsys.readouterr().out
    main(["--color", "always"])
    assert re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out) == piped


def test_summaries() -> None:
    def words(report: Report) -> str:
        return "".join(text for text, _ in summary(report))

    error, info, warning = (fakes.finding(rule=rule, path=f"{rule.code}.py") for rule in fakes.RULES)
    clean = FileReport("a.py")
    assert words(Report((clean,))) == "All clear: 1 file checked"
    found = FileReport("b.py", (error, error, warning, info))
    assert words(Report((clean, found))) == "Found 2 errors, 1 warning, 1 info in 3 files"
    failed = FileReport("c.py", failure="it broke")
    assert words(Report((clean, failed))) == "Nothing found: 1 file checked; 1 path could not be checked"
    assert words(Report((found, failed), (Trouble("x", "gone"),))).endswith("; 2 paths could not be checked")
