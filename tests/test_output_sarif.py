from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import jsonschema
import pytest

from losslint.check import FileReport, Report
from losslint.cli import main
from losslint.discovery import Trouble
from losslint.findings import Applicability, Edit, Finding, Fix, Range, TrailStep
from losslint.output import render

SCHEMA = json.loads((Path(__file__).parent / "data" / "sarif-schema-2.1.0.json").read_text())
STEPS = (
    TrailStep("train.py", Range(1, 1, 1, 5), "criterion", "1"),
    TrailStep("lib/other.py", Range(2, 3, 2, 9), "see [here](there)", ""),
)


def run_of(report: Report) -> Any:
    lines = render("sarif", report, 80)
    log = json.loads("\n".join("".join(text for text, _ in line) for line in lines))
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    return run


def result_of(*findings: Finding) -> Any:
    return run_of(Report((FileReport("train.py", findings),)))["results"][0]


def test_the_schema_refuses_what_is_no_log() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate({"version": "2.1.0", "runs": [{"results": []}]})


def test_a_whole_finding(project: Path) -> None:
    finding = fakes.finding(trail=STEPS, related=(TrailStep("train.py", Range(9, 1, 9, 2), "the window", ""),))
    run = run_of(Report((FileReport("train.py", (finding,)),)))
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["originalUriBaseIds"]["%SRCROOT%"] == {"uri": f"{project.as_uri()}/"}
    (result,) = run["results"]
    assert result["ruleId"] == "LL102"
    assert result["level"] == "error"
    assert result["message"]["text"] == "backward runs on the undivided loss\nhelp: divide the loss by `accum_steps`"
    assert result["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "train.py", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 3, "startColumn": 5, "endLine": 3, "endColumn": 20},
            }
        }
    ]
    assert result["partialFingerprints"]["losslint/v1"] == finding.fingerprint
    flow = result["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [step["location"]["message"]["text"] for step in flow] == ["criterion → 1", r"see \[here\](there)"]
    assert flow[1]["location"]["physicalLocation"]["artifactLocation"]["uri"] == "lib/other.py"
    assert [(one["id"], one["message"]["text"]) for one in result["relatedLocations"]][2] == (3, "the window")
    assert result["properties"]["factor"] == {"text": "gradient = mean × accum_steps", "value": 4.0}


def test_rules_say_what_they_are(project: Path) -> None:
    findings = tuple(fakes.finding(rule=rule) for rule in (fakes.RULES[2], fakes.RULES[0]))
    run = run_of(Report((FileReport("train.py", findings),)))
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["LL102", "LL204"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == ["LL204", "LL102"]
    assert [rule["defaultConfiguration"]["level"] for rule in rules] == ["error", "warning"]
    assert rules[0]["shortDescription"]["text"] == "summary of unscaled-accumulation"
    assert rules[0]["help"]["markdown"] == fakes.RULES[0].page.strip()
    assert rules[0]["helpUri"].endswith("/unscaled-accumulation.md")


def test_the_statement_is_known_without_the_path() -> None:
    here, there = fakes.finding(path="train.py"), fakes.finding(path="moved.py")
    prints = [result_of(finding)["partialFingerprints"] for finding in (here, there)]
    assert prints[0]["losslint/v1"] != prints[1]["losslint/v1"]
    assert prints[0]["losslintStatement/v1"] == prints[1]["losslintStatement/v1"]


def test_fixes() -> None:
    edits = (
        Edit("train.py", Range(3, 5, 3, 9), "loss / k"),
        Edit("other.py", Range(1, 1, 1, 1), "import k\n"),
        Edit("train.py", Range(1, 1, 2, 1), ""),
    )
    finding = replace(fakes.finding(), fix=Fix("divide the loss", Applicability.SAFE, edits))
    (fix,) = result_of(finding)["fixes"]
    assert fix["description"]["text"] == "divide the loss"
    changes = {
        change["artifactLocation"]["uri"]: [
            (one["deletedRegion"]["startLine"], one["insertedContent"]["text"]) for one in change["replacements"]
        ]
        for change in fix["artifactChanges"]
    }
    assert changes == {"other.py": [(1, "import k\n")], "train.py": [(1, ""), (3, "loss / k")]}


def test_a_cell_of_a_notebook() -> None:
    finding = fakes.with_everything("a b.ipynb")
    in_cell = replace(finding, fix=Fix("x", Applicability.SAFE, (Edit("a b.ipynb", fakes.PLACE, "", cell=3),)))
    result = result_of(in_cell)
    place = result["locations"][0]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "a%20b.ipynb"
    assert place["physicalLocation"]["region"] == {"startLine": 1}
    assert place["logicalLocations"] == [{"name": "cell 3", "fullyQualifiedName": "a b.ipynb:cell 3:3:5"}]
    assert result["message"]["text"].startswith("cell 3, line 3: backward runs")
    assert "verdict: inconclusive (timeout) (k = 4, cpu): after 20 s" in result["message"]["text"]
    assert result["properties"]["verdict"]["outcome"] == "inconclusive"
    assert "fixes" not in result


def test_what_could_not_be_checked_is_a_notification(project: Path) -> None:
    files = (FileReport("bad.py", failure="internal error"), FileReport("long.py", notes=("too many forks",)))
    (invocation,) = run_of(Report(files, (Trouble("absent.py", "no such file or directory"),)))["invocations"]
    assert invocation["executionSuccessful"] is False
    told = [(one["level"], one["message"]["text"]) for one in invocation["toolExecutionNotifications"]]
    assert told == [
        ("error", "no such file or directory"),
        ("error", "internal error"),
        ("note", "too many forks"),
    ]
    assert run_of(Report((FileReport("a.py"),)))["invocations"][0]["executionSuccessful"] is True


@pytest.mark.parametrize(("below", "name"), [((), "train.py"), (("sub",), "sub/train.py")])
def test_paths_are_those_of_the_repository(
    project: Path, monkeypatch: pytest.MonkeyPatch, below: Sequence[str], name: str
) -> None:
    folder = project.joinpath(*below)
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project))
    artifact = result_of(fakes.finding())["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact == {"uri": name, "uriBaseId": "%SRCROOT%"}
    outside = result_of(fakes.finding(path="/elsewhere/a b.py"))["locations"][0]["physicalLocation"]
    assert outside["artifactLocation"] == {"uri": "file:///elsewhere/a%20b.py"}


def test_a_run_of_the_command_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "train.py").write_text(fakes.BUG)
    assert main(["--output", "sarif=out.sarif", "--output-format", "concise"]) == 1
    assert capsys.readouterr().out.startswith("train.py:3:5: LL102")
    log = json.loads((project / "out.sarif").read_text())
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    assert [result["ruleId"] for result in log["runs"][0]["results"]] == ["LL102"]
