from __future__ import annotations

import fakes

from losslint.check import FileReport, Report
from losslint.output import render


def test_one_line_a_finding() -> None:
    first = fakes.finding(message="a [bold]message[/bold]\x1b")
    second = fakes.finding(rule=fakes.RULES[2], path="b c.py")
    report = Report((FileReport("train.py", (first,)), FileReport("b c.py", (second,))))
    assert ["".join(text for text, _ in line) for line in render("concise", report, 80)] == [
        "train.py:3:5: LL102 error: a [bold]message[/bold]\\x1b",
        "b c.py:3:5: LL204 warning: backward runs on the undivided loss",
        "Found 1 error, 1 warning in 2 files",
    ]
