from __future__ import annotations

from pathlib import Path

import fakes
import pytest

from losslint.cli import main
from losslint.findings import Range
from losslint.suppressions import apply, suppressions

LOOP = "for batch in loader:\n    loss = criterion(batch)\n    loss.backward()"


def shown(capsys: pytest.CaptureFixture[str], text: str, *arguments: str) -> list[str]:
    Path("train.py").write_text(text)
    main(["--output-format", "concise", *arguments])
    return [line.removeprefix("train.py:") for line in capsys.readouterr().out.splitlines()[:-1]]


@pytest.mark.parametrize(
    "comment",
    [
        "# losslint: ignore[LL102]",
        "# losslint: ignore[unscaled-accumulation] the optimizer divides",
        "#losslint:ignore[ll102]",
        "# noqa: E501  # losslint: ignore[ LL102 , ] reason",
    ],
)
def test_a_comment_on_the_line(project: Path, capsys: pytest.CaptureFixture[str], comment: str) -> None:
    assert shown(capsys, f"{LOOP}  # BUG LL102 {comment}\n") == []


def test_a_comment_for_the_whole_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, f"# losslint: file-ignore[LL102] a demonstration\n{LOOP}  # BUG LL102\n") == []


def test_a_comment_for_another_code_or_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, f"{LOOP}  # BUG LL102 # losslint: ignore[LL204]\n") == [
        "3:5: LL102 error: backward runs on the undivided loss",
        "3:34: LL002 warning: `LL204` is not reported on this line",
    ]
    assert shown(capsys, f"# losslint: ignore[LL102]\n{LOOP}  # BUG LL102\n") == [
        "1:1: LL002 warning: `LL102` is not reported on this line",
        "4:5: LL102 error: backward runs on the undivided loss",
    ]


def test_the_first_and_the_last_line_of_a_finding() -> None:
    for line, silenced in ((2, False), (3, True), (4, False), (5, True), (6, False)):
        text = "\n" * (line - 1) + "x  # losslint: ignore[LL102]\n"
        kept, used = apply([fakes.finding(place=Range(3, 1, 5, 9))], suppressions(text))
        assert (kept == []) is silenced
        assert used == ({(0, "LL102")} if silenced else set())


def test_a_bare_comment_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for comment in ("ignore", "ignore[]", "ignore some reason"):
        lines = shown(capsys, f"{LOOP}  # BUG LL102 # losslint: {comment}\n")
        assert lines == [
            "3:5: LL102 error: backward runs on the undivided loss",
            "3:34: LL002 warning: `ignore` without a code suppresses nothing",
        ]
    assert "`file-ignore` without a code" in shown(capsys, f"# losslint: file-ignore\n{LOOP}\n")[0]


def test_unused_ones_are_reported_once_a_comment(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"{LOOP}  # BUG LL102 # losslint: ignore[LL102, LL204, leftover-micro-batches]\n"
    assert shown(capsys, text) == [
        "3:34: LL002 warning: `LL204` and `leftover-micro-batches` are not reported on this line"
    ]
    assert shown(capsys, f"# losslint: file-ignore[LL102]\n{LOOP}\n") == [
        "1:1: LL002 warning: `LL102` is not reported in this file"
    ]


def test_unknown_codes_are_reported(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, f"{LOOP}  # losslint: ignore[unscaled-acumulation]\n") == [
        "3:22: LL002 warning: `ignore` names an unknown code `unscaled-acumulation`,"
        " did you mean `unscaled-accumulation`?"
    ]


def test_a_comment_for_a_code_that_was_not_looked_for_is_no_finding(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"{LOOP}  # losslint: ignore[LL204]\n"
    assert shown(capsys, text, "--ignore", "LL204") == []
    assert shown(capsys, text, "--select", "LL102,LL002") == []
    assert shown(capsys, text, "--select", "LL204") == []
    assert shown(capsys, text, "--ignore", "LL002") == []
    assert shown(capsys, text, "--min-severity", "error") == []


def test_a_hidden_finding_still_needs_its_comment(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, f"{LOOP}  # BUG LL106 # losslint: ignore[LL106]\n") == []


def test_an_unfinished_analysis_accuses_no_comment(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, f"{LOOP}  # losslint: ignore[LL102] # NOTE\n") == []
    lines = shown(capsys, f"{LOOP}  # losslint: ignore[LL102] # SYNTAX\n")
    assert lines == ["2:5: LL001 error: invalid syntax"]


def test_a_file_without_a_loop_is_still_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "x = 1  # losslint: ignore[LL102]\n") == [
        "1:8: LL002 warning: `LL102` is not reported on this line"
    ]
    assert shown(capsys, "x = (  # losslint: ignore[LL001]\n") == []


def test_a_hash_in_a_string_is_no_comment() -> None:
    text = 'a = "# losslint: ignore[LL102]"\nb = """\n# losslint: file-ignore[LL102]\n"""\n'
    assert suppressions(text) == ()
    assert suppressions("# about losslint: ignore[LL102]\n") == ()
    assert suppressions("# losslint: ignored\n") == ()


def test_places_of_comments() -> None:
    (found,) = suppressions("é = 1\r\nx = '😀'  # losslint: ignore[a,b] why\r\n")
    assert found.range == Range(2, 10, 2, 33)
    assert found.codes == ("a", "b")


def test_what_cannot_be_tokenised_ends_the_search() -> None:
    assert len(suppressions("x  # losslint: ignore[a]\ny = '''\n# losslint: ignore[b]\n")) == 1


def test_an_ignored_notice_is_not_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"# losslint: file-ignore[LL002]\n{LOOP}  # losslint: ignore[LL204]\n"
    assert shown(capsys, text) == []


def test_fingerprints_of_equal_comments_differ(project: Path) -> None:
    from losslint.selection import catalogue
    from losslint.suppressions import idle

    comments = suppressions("x  # losslint: ignore\ny  # losslint: ignore\n")
    found = idle("a.py", comments, set(), catalogue(), frozenset())
    assert len({finding.fingerprint for finding in found}) == 2
