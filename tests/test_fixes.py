"""Fixes: over every fixture and every page's Bad block, and how edits are laid out, applied and written."""

from __future__ import annotations

import ast
import io
import shutil
import tokenize
from collections import Counter
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from losslint import engine
from losslint.check import Wishes, check
from losslint.config import Configs
from losslint.discovery import Discovery, discover
from losslint.findings import Applicability, Edit, Finding, Range, Severity
from losslint.fixes import session
from losslint.fixes.apply import apply
from losslint.registry import rules, section
from losslint.source import decode, encode

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures" / "rules"
BLOCK = "```python\n"
WISHES = Wishes(min_severity=Severity.INFO, fixes=True)
WITHOUT_FIX = {"LL110", "LL207", "LL209", "LL213", "LL214"}
"""Rules whose advice is a rewrite that only the author can make."""


def cases() -> list[ParameterSet]:
    """Every bad fixture, file or folder, and the Bad block of every page."""
    found = [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in sorted(FIXTURES.glob("*/bad_*"))]
    return found + [pytest.param(rule.page, id=f"page-{rule.code}") for rule in rules()]


def put(case: Path | str, folder: Path) -> None:
    """A fixture, or a page's Bad block, as files of `folder`."""
    if isinstance(case, str):
        block = section(case, "Bad").split(BLOCK, 1)[1].split("```", 1)[0]
        (folder / "page.py").write_text(block, encoding="utf-8")
    elif case.is_dir():
        shutil.copytree(case, folder, dirs_exist_ok=True)
    else:
        shutil.copy(case, folder)


def targets(folder: Path) -> tuple[Discovery, Configs]:
    configs = Configs(isolated=True)
    return discover([str(folder)], configs), configs


def found_in(folder: Path) -> list[Finding]:
    # files are not expected to change on disk while one process lints
    engine.project_of.cache_clear()
    return list(check(*targets(folder), WISHES).findings)


def counted(findings: list[Finding], least: Severity = Severity.WARNING) -> Counter[str]:
    return Counter(finding.code for finding in findings if finding.severity >= least)


def comments(path: Path) -> Counter[str]:
    text = decode(path.read_bytes(), path)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.COMMENT)


def edited(folder: Path, finding: Finding) -> None:
    """Applies the fix of a finding to the files."""
    assert finding.fix is not None
    for name in {edit.path for edit in finding.fix.edits}:
        path = Path(name)
        edits = [edit for edit in finding.fix.edits if edit.path == name]
        path.write_bytes(session.edited(path.read_bytes(), path, edits))


# ---------------------------------------------------------------- every fixture


@pytest.mark.parametrize("case", cases())
def test_a_fix_takes_its_finding_away_and_nothing_else(case: Path | str, tmp_path: Path) -> None:
    put(case, tmp_path)
    before = found_in(tmp_path)
    originals = {path: path.read_bytes() for path in tmp_path.rglob("*.py")}
    for finding in before:
        if finding.fix is None:
            continue
        edited(tmp_path, finding)
        after = found_in(tmp_path)
        own = counted(after, finding.severity)[finding.code]
        assert own < counted(before, finding.severity)[finding.code], finding.fix.title
        assert counted(after) <= counted(before), finding.fix.title
        for path, data in originals.items():
            ast.parse(path.read_bytes())
            kept = comments(path)
            path.write_bytes(data)
            assert kept == comments(path)
    if any(finding.fix for finding in before):
        check_that_a_second_run_changes_nothing(tmp_path)


def check_that_a_second_run_changes_nothing(folder: Path) -> None:
    first = session.fix(*targets(folder), WISHES, unsafe=True)
    assert session.write(first) == []
    assert first.fixed
    engine.project_of.cache_clear()
    second = session.fix(*targets(folder), WISHES, unsafe=True)
    assert second.fixed == []
    assert second.after == {}
    assert list(second.report.findings) == list(first.report.findings)


def test_the_rules_that_can_be_fixed(tmp_path: Path) -> None:
    """A page's Bad block is the plain case of its rule: where it has a fix, the rule's fixes are at work."""
    fixable = set()
    for rule in rules():
        folder = tmp_path / rule.code
        folder.mkdir()
        put(rule.page, folder)
        fixable |= {finding.code for finding in found_in(folder) if finding.fix is not None}
    assert {f"LL{number}" for number in (*range(101, 107), 108, 109, 111)} <= fixable
    assert {f"LL{number}" for number in (201, 202, 203, 204, 210, 211, 212)} <= fixable
    assert {f"LL{number}" for number in (301, 302, 303, 304, 401, 901)} <= fixable
    assert not fixable & WITHOUT_FIX


def test_what_is_assumed_is_fixed_only_on_request() -> None:
    path = FIXTURES / "scaled-loss-accumulated" / "bad_unknown_meter.py"
    (finding,) = [one for one in found_in(path) if one.code == "LL202"]
    assert finding.severity is Severity.WARNING
    assert finding.fix is not None
    assert finding.fix.applicability is Applicability.UNSAFE


def test_nobody_pays_for_fixes_that_are_not_asked_for() -> None:
    path = FIXTURES / "unscaled-accumulation" / "bad_or_last.py"
    found, configs = targets(path)
    assert [finding.fix for finding in check(found, configs, Wishes()).findings] == [None]


# ---------------------------------------------------------------- layout

PRELUDE = """\
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()


def train(model, loader, optimizer, k=4):
    model.train()
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
"""
STEP = """\
        if (i + 1) % k == 0 or i + 1 == len(loader):
            optimizer.step()
            optimizer.zero_grad()
"""


def fixed(text: str, folder: Path, code: str) -> str:
    """The text after the fix of its only finding of this code, which must be there."""
    path = folder / "train.py"
    path.write_bytes(encode(text))
    (finding,) = [one for one in found_in(path) if one.code == code]
    assert finding.fix is not None
    return apply(decode(path.read_bytes(), path), finding.fix.edits)


def test_a_moved_line_takes_its_comments_along(tmp_path: Path) -> None:
    body = (
        "        if i % 10 == 0:\n"
        "            print('nan')\n"
        "            # the mean over the window\n"
        "            # of micro-batches\n"
        "            loss = loss / k  # one window\n"
        "        loss.backward()\n"
    )
    expected = (
        "        if i % 10 == 0:\n"
        "            print('nan')\n"
        "        # the mean over the window\n"
        "        # of micro-batches\n"
        "        loss = loss / k  # one window\n"
        "        loss.backward()\n"
    )
    assert fixed(PRELUDE + body + STEP, tmp_path, "LL101") == PRELUDE + expected + STEP


def test_an_emptied_branch_goes(tmp_path: Path) -> None:
    body = "        if i % 10 == 0:\n            loss /= k\n        loss.backward()\n"
    expected = "        loss /= k\n        loss.backward()\n"
    assert fixed(PRELUDE + body + STEP, tmp_path, "LL101") == PRELUDE + expected + STEP


@pytest.mark.parametrize(
    "branch",
    [
        "        if i % 10 == 0:\n            {}\n        else:\n            print(i)\n",
        "        if i % 10 == 0:\n            # a comment of the branch\n\n            {}\n",
        "        if i % 10 == 0 and check(i):\n            {}\n",
        "        if i % 10 == 0:  # why\n            {}\n",
    ],
)
def test_a_branch_that_must_stay_gets_pass(branch: str, tmp_path: Path) -> None:
    after = fixed(PRELUDE + branch.format("loss /= k") + "        loss.backward()\n" + STEP, tmp_path, "LL101")
    assert after == PRELUDE + branch.format("pass") + "        loss /= k\n        loss.backward()\n" + STEP


def test_one_line_branches(tmp_path: Path) -> None:
    body = "        if i % 10 == 0: loss /= k\n        loss.backward()\n"
    expected = "        loss /= k\n        loss.backward()\n"
    assert fixed(PRELUDE + body + STEP, tmp_path, "LL101") == PRELUDE + expected + STEP


def test_several_statements_on_a_line(tmp_path: Path) -> None:
    body = "        if i % 10 == 0:\n            print(i); loss /= k; print(k)\n        loss.backward()\n"
    expected = "        if i % 10 == 0:\n            print(i); print(k)\n        loss /= k\n        loss.backward()\n"
    assert fixed(PRELUDE + body + STEP, tmp_path, "LL101") == PRELUDE + expected + STEP
    body = "        loss = loss / k; loss.backward()\n"
    gate = "        if (i + 1) % k == 0: optimizer.step(); print(i)\n"
    expected = "        if (i + 1) % k == 0: optimizer.step(); optimizer.zero_grad(); print(i)\n"
    assert fixed(PRELUDE + body + gate, tmp_path, "LL401") == PRELUDE + body + expected


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_are_kept(newline: str, tmp_path: Path) -> None:
    text = PRELUDE + "        (loss / k).backward()\n        if (i + 1) % k == 0:\n            optimizer.step()\n"
    after = fixed(text.replace("\n", newline), tmp_path, "LL401")
    assert after == (text + "            optimizer.zero_grad()\n").replace("\n", newline)


def test_tabs_are_kept(tmp_path: Path) -> None:
    text = PRELUDE + "        (loss / k).backward()\n        if (i + 1) % k == 0:\n            optimizer.step()\n"
    after = fixed(text.replace("    ", "\t"), tmp_path, "LL401")
    assert after == (text + "            optimizer.zero_grad()\n").replace("    ", "\t")


def test_a_file_without_a_last_line_end(tmp_path: Path) -> None:
    text = PRELUDE + "        (loss / k).backward()\n        if (i + 1) % k == 0:\n            optimizer.step()"
    assert fixed(text, tmp_path, "LL401").startswith(text + "\n            optimizer.zero_grad()")


def test_continued_lines_stay_as_they_are(tmp_path: Path) -> None:
    body = (
        "        if i % 10 == 0:\n"
        "            print(i)\n"
        "            loss = (\n"
        "                loss  # the mean\n"
        "                / k\n"
        "            )\n"
        "        loss.backward()\n"
    )
    expected = (
        "        if i % 10 == 0:\n"
        "            print(i)\n"
        "        loss = (\n"
        "            loss  # the mean\n"
        "            / k\n"
        "        )\n"
        "        loss.backward()\n"
    )
    assert fixed(PRELUDE + body + STEP, tmp_path, "LL101") == PRELUDE + expected + STEP


def test_parentheses_where_they_are_needed_and_nowhere_else(tmp_path: Path) -> None:
    def after(body: str) -> str:
        return fixed(PRELUDE + body + STEP, tmp_path, "LL102").removeprefix(PRELUDE).removesuffix(STEP)

    assert after("        loss.backward()\n") == "        (loss / k).backward()\n"
    assert after("        (loss + model.kl).backward()\n") == "        ((loss + model.kl) / k).backward()\n"
    assert after("        (loss * 2).backward()\n") == "        (loss * 2 / k).backward()\n"
    window = PRELUDE + "        loss.backward()\n" + STEP.replace("% k", "% (k + 1)")
    assert "        (loss / (k + 1)).backward()\n" in fixed(window, tmp_path, "LL102")


def test_no_fix_where_the_window_has_no_name_in_reach(tmp_path: Path) -> None:
    text = (
        "import torch\nfrom torch import nn\n\ncriterion = nn.CrossEntropyLoss()\n\n\n"
        "def back(model, x, y):\n    loss = criterion(model(x), y)\n    loss.backward()\n\n\n"
        "def train(model, loader, optimizer, window=4):\n    for i, (x, y) in enumerate(loader):\n"
        "        back(model, x, y)\n        if (i + 1) % window == 0 or i + 1 == len(loader):\n"
        "            optimizer.step()\n            optimizer.zero_grad()\n"
    )
    path = tmp_path / "train.py"
    path.write_text(text)
    (finding,) = found_in(path)
    assert finding.code == "LL102"
    assert finding.fix is None


# ---------------------------------------------------------------- edits


def edit(start: int, end: int, text: str) -> Edit:
    return Edit("a.py", Range(1, start, 1, end), text)


def test_edits_are_applied_by_place() -> None:
    assert apply("abcdef", [edit(5, 6, "E"), edit(2, 3, "B"), edit(1, 1, ">")]) == ">aBcdEf"
    assert apply("a\r\nb\rc\n", [Edit("a.py", Range(3, 1, 3, 2), "x")]) == "a\r\nb\rx\n"
    assert apply("a\n", [Edit("a.py", Range(2, 1, 2, 1), "b\n")]) == "a\nb\n"


@pytest.mark.parametrize(
    "edits", [[edit(1, 3, ""), edit(2, 4, "")], [edit(9, 9, "x")], [Edit("a", Range(3, 1, 3, 1), "")]]
)
def test_edits_that_do_not_fit_are_refused(edits: list[Edit]) -> None:
    with pytest.raises(ValueError, match="edit"):
        apply("abcdef", edits)
