"""The rules against their pages and fixtures: every `# expect: CODE severity` is found, and nothing else is.

A comment `# expect: LL102 error` (several with commas: `# expect: LL102 error, LL301 error`) marks a line on which a
finding starts. Errors and warnings must be exactly those that are marked; an info is checked only where it is marked.
Code that expects no error or warning must still hold a subject, so that it cannot pass because nobody looked.

A fixture is a Python file of `fixtures/rules/<rule>/`, a folder there (one small project), or a post-mortem's folder.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from losslint.engine import analyze_path, subjects
from losslint.findings import Severity
from losslint.registry import section
from losslint.source import worth_parsing

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "rules"
FIXTURES = ROOT / "fixtures" / "rules"
POSTMORTEMS = ROOT / "fixtures" / "postmortems"

HEADINGS = ["What it does", "Why it matters", "Bad", "Good", "When it stays silent"]
ONE_MARK = r"LL\d{3} (?:error|warning|info)"
MARKS = re.compile(rf"# expect: ({ONE_MARK}(?:, {ONE_MARK})*)$")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Expected:
    """One finding as the marks state it: the file's posix path, the line it starts on, code and severity."""

    path: str
    line: int
    code: str
    severity: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.code} {self.severity}"


def python_files(path: Path) -> list[Path]:
    """`path` itself if it is a file, else the Python files below it."""
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def expected_in(path: Path) -> Counter[Expected]:
    """Every mark of the Python files at `path`; ValueError for one that cannot be read."""
    found: Counter[Expected] = Counter()
    for file in python_files(path):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if "expect:" not in line:
                continue
            marks = MARKS.search(line)
            if marks is None:
                raise ValueError(f"{file}:{number}: not a mark: {line.strip()}")
            for mark in marks[1].split(", "):
                code, severity = mark.split(" ")
                found[Expected(file.resolve().as_posix(), number, code, severity)] += 1
    return found


def reported_in(path: Path) -> Counter[Expected]:
    """Every finding at `path`, of any severity, in the form of the marks; one that two files lead to counts once.

    As on the command line, a file that the byte gate turns away is not looked at for itself.
    """
    found: dict[tuple[str, int, str], Severity] = {}
    for file in python_files(path):
        if worth_parsing(file.read_bytes()):
            for f in analyze_path(file):
                place = (Path(f.path).resolve().as_posix(), f.range.start_line, f.code)
                found[place] = max(found.get(place, f.severity), f.severity)
    return Counter(Expected(*place, severity.label) for place, severity in found.items())


def visible(findings: Counter[Expected]) -> Counter[Expected]:
    """Errors and warnings only."""
    return Counter({f: n for f, n in findings.items() if f.severity != Severity.INFO.label})


def difference(expected: Counter[Expected], reported: Counter[Expected]) -> str:
    """What is missing and what is too much, a line each; empty where all marks are met."""
    missing = (expected - reported).elements()
    extra = (visible(reported) - expected).elements()
    lines = [(f, f"  missing     {f}") for f in missing] + [(f, f"  unexpected  {f}") for f in extra]
    return "\n".join(text for _, text in sorted(lines))


def check(path: Path) -> None:
    """Fails where the findings at `path` are not those that are marked, or where clean code was not looked at."""
    expected = expected_in(path)
    wrong = difference(expected, reported_in(path))
    if wrong:
        pytest.fail(f"{path}\n{wrong}", pytrace=False)
    if not visible(expected):
        looked = sum(subjects(file) for file in python_files(path))
        assert looked > 0, f"{path}: silent, but the analysis found no subject there"


def page_of(module: Path) -> str:
    """The docstring of a rule's file, read without importing it."""
    return ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")), clean=False) or ""


def rule_modules() -> list[Path]:
    return sorted(path for path in RULES.glob("*.py") if not path.stem.startswith("_"))


def blocks(heading: str) -> list[ParameterSet]:
    """The Python blocks under `heading` of every rule's page."""
    return [
        pytest.param(code, id=f"{module.stem}-{number}")
        for module in rule_modules()
        for number, code in enumerate(BLOCK.findall(section(page_of(module), heading) + "\n"), 1)
    ]


def fixtures() -> list[ParameterSet]:
    """The units of `fixtures/rules`: a file, or a folder that is one project."""
    units = (path for path in sorted(FIXTURES.glob("*/*")) if path.suffix == ".py" or path.is_dir())
    return [pytest.param(path, id=path.relative_to(FIXTURES).as_posix()) for path in units if python_files(path)]


def postmortems() -> list[ParameterSet]:
    """The post-mortems that hold code."""
    return [pytest.param(path, id=path.name) for path in sorted(POSTMORTEMS.iterdir()) if python_files(path)]


@pytest.mark.parametrize("code", blocks("Bad"))
def test_bad_block_is_reported(code: str, tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text(code, encoding="utf-8")
    assert expected_in(file), "a Bad block has to mark the line that is reported"
    check(file)


@pytest.mark.parametrize("code", blocks("Good"))
def test_good_block_is_silent(code: str, tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text(code, encoding="utf-8")
    assert not visible(expected_in(file)), "a Good block has neither errors nor warnings"
    check(file)


@pytest.mark.parametrize("path", fixtures())
def test_fixture(path: Path) -> None:
    check(path)


@pytest.mark.parametrize("folder", postmortems())
def test_postmortem(folder: Path) -> None:
    assert expected_in(folder), "a post-mortem's code has to mark what is reported"
    check(folder)


@pytest.mark.parametrize("module", rule_modules(), ids=lambda module: module.stem)
def test_page_has_its_sections(module: Path) -> None:
    page = page_of(module)
    assert page.splitlines()[0].endswith(".")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS
    assert BLOCK.search(section(page, "Bad"))
    assert BLOCK.search(section(page, "Good"))
    assert "\n- " in "\n" + section(page, "When it stays silent")


@pytest.mark.parametrize("module", rule_modules(), ids=lambda module: module.stem)
def test_rule_has_a_bad_and_a_good_fixture(module: Path) -> None:
    folder = FIXTURES / module.stem.replace("_", "-")
    assert list(folder.glob("bad_*")), f"{folder}: no bad fixture"
    assert list(folder.glob("good_*")), f"{folder}: no good fixture"


@pytest.mark.parametrize("path", fixtures())
def test_fixture_is_what_its_name_says(path: Path) -> None:
    expected = expected_in(path)
    if path.name.startswith("bad_"):
        assert expected, f"{path}: a bad fixture has to mark what is reported"
    else:
        assert path.name.startswith("good_"), f"{path}: fixtures are named bad_… or good_…"
        assert not visible(expected), f"{path}: a good fixture has neither errors nor warnings"


def test_marks_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text("loss.backward()  # expect: LL102 fatal\n", encoding="utf-8")
    with pytest.raises(ValueError, match="not a mark"):
        expected_in(file)


def test_difference_names_what_is_missing_and_what_is_too_much() -> None:
    wanted = Counter([Expected("train.py", 3, "LL102", "error"), Expected("train.py", 9, "LL106", "info")])
    got = Counter([Expected("train.py", 3, "LL102", "warning"), Expected("train.py", 5, "LL107", "info")])
    assert difference(wanted, got).splitlines() == [
        "  missing     train.py:3: LL102 error",
        "  unexpected  train.py:3: LL102 warning",
        "  missing     train.py:9: LL106 info",
    ]
    assert difference(wanted, wanted) == ""
