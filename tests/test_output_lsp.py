from __future__ import annotations

import json
from pathlib import Path

import fakes
import pytest

from losslint.check import FileReport, Report
from losslint.cli import main
from losslint.findings import Finding, Range, TrailStep
from losslint.output import render


def diagnostic(finding: Finding) -> dict[str, object]:
    (line,) = render("lsp", Report((FileReport(finding.path, (finding,)),)), 80)
    (found,) = json.loads("".join(text for text, _ in line))["diagnostics"]
    assert isinstance(found, dict)
    return found


def test_a_whole_finding(project: Path) -> None:
    (project / "train.py").write_text("'😀損'; loss.backward()\n")
    (project / "other.py").write_text("\n'😀'; loss / k\n")
    finding = fakes.finding(
        place=Range(1, 7, 1, 22),
        trail=(TrailStep("other.py", Range(2, 6, 2, 14), "/ k", "1/k"),),
        related=(TrailStep("train.py", Range(1, 1, 1, 5), "the window", ""),),
    )
    assert diagnostic(finding) == {
        "range": {"start": {"line": 0, "character": 7}, "end": {"line": 0, "character": 22}},
        "severity": 1,
        "code": "LL102",
        "codeDescription": {"href": finding.url},
        "source": "losslint",
        "message": "backward runs on the undivided loss",
        "relatedInformation": [
            {
                "location": {
                    "uri": (project / "other.py").as_uri(),
                    "range": {"start": {"line": 1, "character": 6}, "end": {"line": 1, "character": 14}},
                },
                "message": "/ k → 1/k",
            },
            {
                "location": {
                    "uri": (project / "train.py").as_uri(),
                    "range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 5}},
                },
                "message": "the window",
            },
        ],
        "data": {"fingerprint": finding.fingerprint},
    }


def test_severities(project: Path) -> None:
    assert [diagnostic(fakes.finding(rule=rule))["severity"] for rule in fakes.RULES] == [1, 3, 2]


def test_one_object_a_file_and_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "a b.py").write_text(fakes.BUG)
    (project / "clean.py").write_text(fakes.LOOP)
    (project / "plain.py").write_text("x = 1\n")
    (project / "bad.py").write_text(fakes.LOOP + "# CRASH\n")
    assert main(["--output-format", "lsp"]) == 2
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(item["uri"], len(item["diagnostics"])) for item in found] == [
        (f"{project.as_uri()}/a%20b.py", 1),
        (f"{project.as_uri()}/clean.py", 0),
        (f"{project.as_uri()}/plain.py", 0),
    ]
