"""`losslint new-rule`: what it writes is a rule that only lacks what its author has to say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import losslint.rules
from losslint.cli import main
from losslint.findings import Law, Severity

TABLE = 'x = 1\nCATALOGUE = """\\\nLL101 first-rule error\nLL201 second-rule warning\n"""\n'


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_tree.py").write_text(TABLE)
    monkeypatch.setattr(losslint.rules, "__path__", [str(tmp_path / "rules")])
    return tmp_path


def test_a_rule_is_begun(checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["new-rule", "sum-of-zeros", "--code", "LL150", "--law", "every-step", "--severity", "error"]) == 0
    assert "wrote rules/sum_of_zeros.py\n" in capsys.readouterr().out
    line = "LL150 sum-of-zeros error\n"
    assert (checkout / "tests" / "test_tree.py").read_text() == TABLE.replace("LL201", f"{line}LL201", 1)
    sys.modules.pop("losslint.rules.sum_of_zeros", None)
    module = __import__("losslint.rules.sum_of_zeros", fromlist=["RULE"])
    rule = module.RULE
    assert (rule.code, rule.name, rule.law) == ("LL150", "sum-of-zeros", Law.EVERY_STEP)
    assert (rule.severity, rule.module) == (Severity.ERROR, "losslint.rules.sum_of_zeros")
    sections = ["What it does", "Why it matters", "Bad", "Good", "When it stays silent"]
    assert re.findall(r"^## (.+)$", rule.page, re.MULTILINE) == sections
    folder = checkout / "fixtures" / "rules" / "sum-of-zeros"
    assert "# expect: LL150 error" in (folder / "bad_minimal.py").read_text()
    assert "# expect" not in (folder / "good_minimal.py").read_text()
    assert (folder / "good_minimal.py").read_text() in rule.page


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("Sum_Of", "LL150", "`Sum_Of` is no name of a rule"),
        ("sum-of-zeros", "LL050", "`LL050` is no code of a rule"),
        ("sum-of-zeros", "LL101", "`LL101` was given out already, to `first-rule`"),
        ("second-rule", "LL150", "there is a rule `second-rule` already"),
    ],
)
def test_what_cannot_be_a_rule(
    checkout: Path, capsys: pytest.CaptureFixture[str], name: str, code: str, message: str
) -> None:
    assert main(["new-rule", name, "--code", code, "--law", "report"]) == 2
    assert message in capsys.readouterr().err
    assert list((checkout / "rules").iterdir()) == []


def test_an_installed_losslint_has_no_checkout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losslint.rules, "__path__", [str(tmp_path / "_rules")])
    assert main(["new-rule", "sum-of-zeros", "--code", "LL150", "--law", "report"]) == 2
    assert "works in a checkout" in capsys.readouterr().err
