from __future__ import annotations

import json
from typing import Any

import fakes

from losslint.check import FileReport, Report
from losslint.findings import Finding, Range, TrailStep
from losslint.output import render


def rendered(*findings: Finding) -> Any:
    lines = render("json", Report((FileReport("train.py", findings),)), 80)
    return json.loads("\n".join("".join(text for text, _ in line) for line in lines))


def test_a_whole_finding() -> None:
    finding = fakes.finding(
        place=Range(3, 5, 4, 20),
        trail=(TrailStep("other.py", Range(1, 2, 3, 4), "criterion", "1"),),
        related=(TrailStep("train.py", Range(5, 6, 7, 8), "the window", ""),),
    )
    (found,) = rendered(finding)
    assert found == {
        "code": "LL102",
        "name": "unscaled-accumulation",
        "severity": "error",
        "law": "gradient",
        "message": "backward runs on the undivided loss",
        "path": "train.py",
        "range": {"start": {"line": 3, "column": 5}, "end": {"line": 4, "column": 20}},
        "factor": {"text": "gradient = mean × accum_steps", "value": 4.0},
        "trail": [
            {
                "path": "other.py",
                "cell": None,
                "range": {"start": {"line": 1, "column": 2}, "end": {"line": 3, "column": 4}},
                "message": "criterion",
                "unit": "1",
            }
        ],
        "related": [
            {
                "path": "train.py",
                "cell": None,
                "range": {"start": {"line": 5, "column": 6}, "end": {"line": 7, "column": 8}},
                "message": "the window",
                "unit": "",
            }
        ],
        "help": "divide the loss by `accum_steps`",
        "fingerprint": finding.fingerprint,
        "url": finding.url,
        "cell": None,
        "fix": None,
        "verdict": None,
    }
    assert list(found) == [
        *("code", "name", "severity", "law", "message", "path", "range", "factor", "trail", "related", "help"),
        *("fingerprint", "url", "cell", "fix", "verdict"),
    ]


def test_without_a_factor_or_a_number() -> None:
    assert rendered(fakes.finding(factor=None))[0]["factor"] is None
    factor = type(fakes.FACTOR)("÷ k", None)
    assert rendered(fakes.finding(factor=factor))[0]["factor"] == {"text": "÷ k", "value": None}


def test_a_fix_a_verdict_and_a_cell() -> None:
    (found,) = rendered(fakes.with_everything())
    assert found["cell"] == 3
    assert found["fix"] == {
        "title": "divide the loss",
        "applicability": "unsafe",
        "edits": [
            {
                "path": "train.py",
                "cell": None,
                "range": {"start": {"line": 3, "column": 5}, "end": {"line": 3, "column": 9}},
                "text": "(loss / k)",
            }
        ],
    }
    assert found["verdict"] == {
        "outcome": "inconclusive",
        "measured": 0.25,
        "predicted": None,
        "setting": "k = 4",
        "device": "cpu",
        "reason": "timeout",
        "detail": "after 20 s",
        "assumes": ["a loader of 8 batches"],
    }


def test_json_lines_are_the_same_objects_one_a_line() -> None:
    findings = (fakes.finding(), fakes.with_everything())
    lines = render("json-lines", Report((FileReport("train.py", findings),)), 80)
    assert [json.loads("".join(text for text, _ in line)) for line in lines] == rendered(*findings)


def test_nothing_found_is_an_empty_array() -> None:
    assert rendered() == []
