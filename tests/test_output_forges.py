"""The formats that forges and their services read, and the one that groups by file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fakes
import pytest

from losslint.check import FileReport, Report
from losslint.discovery import Trouble
from losslint.findings import Applicability, Edit, Finding, Fix, Range, TrailStep
from losslint.output import render


def text_of(name: str, report: Report) -> str:
    return "\n".join("".join(text for text, _ in line) for line in render(name, report, 80))


def shown(name: str, *findings: Finding) -> str:
    return text_of(name, Report((FileReport("train.py", findings),)))


UNCHECKED = Report((FileReport("bad.py", failure="internal error"),), (Trouble("ab,sent.py", "no such file"),))


def test_grouped_by_file() -> None:
    later = fakes.finding(rule=fakes.RULES[2], place=Range(12, 1, 12, 3), message="a \x1b[31m sum")
    files = (
        FileReport("a.py", (fakes.finding(path="a.py"), replace(later, path="a.py"))),
        FileReport("b.ipynb", (replace(fakes.finding(path="b.ipynb"), cell=2),)),
    )
    assert text_of("grouped", Report(files)).splitlines() == [
        "a.py:",
        "  3:5   error[LL102] backward runs on the undivided loss",
        "  12:1  warning[LL204] a \\x1b[31m sum",
        "",
        "b.ipynb:cell 2:",
        "  3:5  error[LL102] backward runs on the undivided loss",
        "",
        "Found 2 errors, 1 warning in 2 files",
    ]


def test_github_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    finding = replace(fakes.finding(path="a:b,c.py", message="50 % off\r\n::stop"), help="")
    assert shown("github", finding) == (
        "::error title=losslint LL102 (unscaled-accumulation),file=a%3Ab%2Cc.py,line=3,endLine=3,col=5,endColumn=20"
        "::50 %25 off\\x0d\\x0a::stop"
    )
    assert shown("github", fakes.finding()).endswith("undivided loss%0Ahelp: divide the loss by `accum_steps`")
    long = shown("github", fakes.finding(rule=fakes.RULES[1], place=Range(3, 5, 4, 2)))
    assert long.startswith("::notice title=losslint LL106")
    assert "line=3,endLine=4::" in long
    cell = shown("github", fakes.with_everything("a.ipynb"))
    assert "file=a.ipynb::cell 3, line 3: backward" in cell


def test_github_is_told_what_could_not_be_checked() -> None:
    assert text_of("github", UNCHECKED).splitlines() == [
        "::error title=losslint%3A not checked,file=ab%2Csent.py::no such file",
        "::error title=losslint%3A not checked,file=bad.py::internal error",
    ]
    assert shown("github") == ""


def test_github_paths_are_those_of_the_repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project))
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    assert "file=sub/train.py," in shown("github", fakes.finding())
    assert "file=/elsewhere/a.py," in shown("github", fakes.finding(path="/elsewhere/a.py"))


def test_gitlab_code_quality() -> None:
    issues = json.loads(shown("gitlab", *(fakes.finding(rule=rule) for rule in fakes.RULES)))
    assert [issue["severity"] for issue in issues] == ["critical", "info", "major"]
    assert issues[0] == {
        "description": "LL102 backward runs on the undivided loss",
        "check_name": "unscaled-accumulation",
        "fingerprint": fakes.finding().fingerprint,
        "severity": "critical",
        "categories": ["Bug Risk"],
        "content": {"body": f"help: divide the loss by `accum_steps`\n\n{fakes.finding().url}"},
        "location": {"path": "train.py", "lines": {"begin": 3, "end": 3}},
    }
    assert shown("gitlab") == "[]"
    (cell,) = json.loads(shown("gitlab", fakes.with_everything()))
    assert cell["location"]["lines"] == {"begin": 1}
    assert cell["description"].startswith("LL102 cell 3, line 3: backward")


def junit(report: Report) -> ElementTree.Element:
    return ElementTree.fromstring(text_of("junit", report))


def test_junit_cases() -> None:
    findings = (
        fakes.finding(message='<&"\x00\udc80 > × 😀'),
        fakes.finding(rule=fakes.RULES[1]),
    )
    files = (FileReport("train.py", findings), FileReport("clean.py"), FileReport("other.py"))
    root = junit(Report(files))
    assert root.attrib == {"name": "losslint", "tests": "3", "failures": "1", "errors": "0"}
    failure = root.find("testsuite[@name='train.py']/testcase[1]/failure")
    assert failure is not None
    assert failure.get("message") == '<&"\\x00\\udc80 > × 😀'
    assert failure.get("type") == "error"
    assert failure.text is not None
    assert failure.text.startswith("train.py:3:5: LL102 <&")
    assert "help: divide the loss" in failure.text
    info = root.find("testsuite[@name='train.py']/testcase[2]")
    assert info is not None
    assert [child.tag for child in info] == ["system-out"]
    passed = root.find("testsuite[@name='losslint']/testcase")
    assert passed is not None
    assert passed.get("name") == "2 files without findings"


def test_junit_errors_and_nothing() -> None:
    root = junit(UNCHECKED)
    assert (root.get("tests"), root.get("errors")) == ("2", "2")
    assert [error.get("message") for error in root.iter("error")] == ["no such file", "internal error"]
    assert junit(Report(())).get("tests") == "1"


def rdjson(*findings: Finding) -> Any:
    return json.loads(shown("rdjson", *findings))["diagnostics"]


def test_rdjson_counts_bytes(project: Path) -> None:
    (project / "train.py").write_text("\n\n'é😀'; loss.backward()\n", encoding="utf-8")
    fix = Fix("divide", Applicability.SAFE, (Edit("train.py", Range(3, 7, 3, 11), "(loss / k)"),))
    step = TrailStep("train.py", Range(3, 1, 3, 4), "a", "1/k")
    finding = replace(fakes.finding(place=Range(3, 7, 3, 22), trail=(step,)), fix=fix)
    (found,) = rdjson(finding)
    assert found["location"] == {
        "path": "train.py",
        "range": {"start": {"line": 3, "column": 11}, "end": {"line": 3, "column": 26}},
    }
    assert found["suggestions"] == [
        {"range": {"start": {"line": 3, "column": 11}, "end": {"line": 3, "column": 15}}, "text": "(loss / k)"}
    ]
    assert found["severity"] == "ERROR"
    assert found["code"] == {"value": "LL102", "url": finding.url}
    (related,) = found["relatedLocations"]
    assert related["message"] == "a → 1/k"
    assert related["location"]["range"]["end"] == {"line": 3, "column": 8}


def test_rdjson_suggests_nothing_for_other_files_and_cells() -> None:
    (cell,) = rdjson(fakes.with_everything())
    assert cell["location"] == {"path": "train.py"}
    elsewhere = Fix("x", Applicability.SAFE, (Edit("other.py", fakes.PLACE, ""),))
    (other,) = rdjson(replace(fakes.finding(), fix=elsewhere))
    assert "suggestions" not in other
    assert rdjson() == []
