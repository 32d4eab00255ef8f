"""What must hold of the tree: the catalogue, the one-way flow of imports, message style, current documentation."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from test_fixtures import difference, expected_in, page_of, python_files, reported_in, rule_modules

from losslint.engine import analyze_path
from losslint.findings import Severity
from losslint.registry import Rule, rules
from losslint.selection import Selection, catalogue
from losslint.toolcodes import TOOL_CODES

ROOT = Path(__file__).resolve().parent.parent
LIMITS = ROOT / "fixtures" / "limits"
PACKAGE = sorted((ROOT / "losslint").rglob("*.py"))
CODE = [*PACKAGE, *rule_modules(), *sorted((ROOT / "scripts").glob("*.py"))]

CATALOGUE = """\
LL001 syntax-error error
LL002 unused-suppression warning
LL003 invalid-config error
LL101 loss-scaled-in-branch error
LL102 unscaled-accumulation error
LL103 loss-scaled-twice error
LL104 wrong-loss-divisor warning
LL105 loss-scaled-after-backward error
LL106 leftover-micro-batches warning
LL107 short-window-underweighted info
LL108 off-phase-step warning
LL109 zero-grad-inside-window error
LL110 token-mean-of-means warning
LL111 masked-mean warning
LL201 raw-loss-accumulated error
LL202 scaled-loss-accumulated error
LL203 mean-loss-times-batch-size error
LL204 mean-loss-over-samples error
LL205 sample-count-mismatch warning
LL206 uneven-batch-mean info
LL207 last-batch-reported warning
LL208 misplaced-accumulator-reset warning
LL209 mean-of-nonlinear warning
LL210 graph-retained-by-accumulator warning
LL211 loss-alias-mutated error
LL212 amp-scaled-loss-logged error
LL213 rank-local-loss-logged info
LL214 train-validation-unit-mismatch warning
LL301 unscaled-backward error
LL302 scaler-step-bypassed error
LL303 clip-before-unscale error
LL304 scaler-cadence error
LL401 missing-zero-grad error
LL402 zero-grad-before-step error
LL403 step-before-backward warning
LL404 misplaced-gradient-clipping error
LL405 exhausted-parameter-generator error
LL406 step-not-called error
LL411 scheduler-per-micro-batch warning
LL412 scheduler-unit-mismatch warning
LL413 scheduler-horizon-ignores-window warning
LL414 scheduler-before-optimizer warning
LL415 lambda-lr-absolute error
LL501 rewrapped-loss error
LL502 non-differentiable-before-loss error
LL503 detached-loss-term warning
LL504 backward-under-no-grad error
LL601 softmax-before-cross-entropy error
LL602 sigmoid-before-bce-with-logits error
LL603 missing-activation-before-loss error
LL604 kl-div-misuse error
LL605 single-class-softmax error
LL606 broadcast-loss error
LL607 swapped-loss-arguments error
LL608 double-label-shift error
LL609 degenerate-targets warning
LL610 custom-loss-defects warning
LL701 eval-mode-sticks error
LL702 validation-in-train-mode warning
LL703 aliased-best-state error
LL704 frozen-batchnorm-drifts warning
LL801 unregistered-layers error
LL802 stale-optimizer-parameters error
LL803 frozen-after-backward warning
LL811 tiny-output-init info
LL812 early-stopping-without-patience info
LL813 early-stopping-on-proxy info
LL814 suspicious-learning-rate info
LL815 partial-target-reconstruction info
LL901 accelerate-double-scaling error
LL902 deepspeed-double-scaling warning
LL903 lightning-manual-scaling error
LL904 num-items-ignored warning
LL905 no-sync-misuse warning
LL906 missing-set-epoch warning
"""
"""Every code that was ever given out, its name and its highest severity. A line is added, and never changed."""

MESSAGE_SINKS = {
    "Draft",
    "Mark",
    "Problem",
    "SelectorError",
    "SourceError",
    "UnreachableError",
    "UnusableError",
    "_BadValueError",
    "_draft",
    "_misuse",
    "add",
    "doubt",
    "tool_finding",
}
"""What is called with a message that a user reads."""


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(paths: list[Path], module: str) -> list[str]:
    """The files that import a module or anything inside it."""
    inside = f"{module}."
    return [shown(path) for path in paths if any(f"{name}.".startswith(inside) for name in imports(path))]


def under(paths: list[Path], *rooms: str) -> list[Path]:
    return [path for path in paths if shown(path).startswith(rooms)]


def outside(paths: list[Path], *rooms: str) -> list[Path]:
    return [path for path in paths if not shown(path).startswith(rooms)]


# ---------------------------------------------------------------- the catalogue


def test_every_code_is_as_in_the_catalogue() -> None:
    found = [f"{entry.code} {entry.name} {entry.severity.label}" for entry in catalogue()]
    assert found == CATALOGUE.splitlines()


def test_opinions_are_off_unless_they_are_selected() -> None:
    everything, family = Selection(), Selection(("LL8",))
    opinions = [rule for rule in rules() if not everything.reports(rule.code, rule.name)]
    assert [rule.code for rule in opinions] == ["LL811", "LL812", "LL813", "LL814", "LL815"]
    for rule in opinions:
        assert "off unless it is selected" in rule.page
        assert family.reports(rule.code, rule.name)
        assert Selection(("ALL", rule.name)).reports(rule.code, rule.name)
        assert not Selection(("LL8",), (rule.code,)).reports(rule.code, rule.name)


def test_codes_and_names_are_unique() -> None:
    entries = catalogue()
    assert len({entry.code for entry in entries}) == len(entries)
    assert len({entry.name for entry in entries}) == len(entries)


def test_a_rule_has_the_name_of_its_file() -> None:
    assert {rule.module for rule in rules()} == {f"losslint.rules.{path.stem}" for path in rule_modules()}
    for rule in rules():
        assert rule.module == f"losslint.rules.{rule.name.replace('-', '_')}"


def test_fixtures_belong_to_a_rule() -> None:
    folders = {path.name for path in (ROOT / "fixtures" / "rules").iterdir() if path.is_dir()}
    assert folders == {rule.name for rule in rules()}


# ---------------------------------------------------------------- who imports what


def test_torch_is_imported_by_the_runtime_only() -> None:
    assert importers(outside(CODE, "losslint/runtime/"), "torch") == []


def test_a_rule_does_not_see_the_syntax_tree() -> None:
    assert importers(rule_modules(), "libcst") == []
    assert importers(rule_modules(), "ast") == []
    assert importers(rule_modules(), "losslint.lowering.lower") == []


def test_the_interpreter_does_not_see_the_syntax_tree() -> None:
    assert importers(under(CODE, "losslint/interpreter/", "losslint/contracts/", "losslint/output/"), "libcst") == []


def test_an_output_knows_no_rule() -> None:
    outputs = under(PACKAGE, "losslint/output/")
    assert outputs
    for module in ("losslint.rules", "losslint.registry", "losslint.interpreter", "losslint.engine"):
        assert importers(outputs, module) == []


@pytest.mark.parametrize("module", ["libcst.metadata", "libcst.matchers", "libcst.codemod", "libcst.helpers"])
def test_slow_parts_of_libcst_are_for_fixes_only(module: str) -> None:
    assert importers(outside(CODE, "losslint/fixes/"), module) == []


def test_visitors_are_for_fixes_only() -> None:
    slow = re.compile(r"\b(CSTVisitor|CSTTransformer|BatchableCSTVisitor|MetadataWrapper|deep_clone)\b")
    users = [shown(path) for path in outside(CODE, "losslint/fixes/") if slow.search(path.read_text(encoding="utf-8"))]
    assert users == []


def test_what_is_read_is_never_executed() -> None:
    risky = {"eval", "exec", "compile", "__import__"}
    for path in outside(PACKAGE, "losslint/runtime/"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in risky, f"{shown(path)}:{node.lineno}"
    # commands, rules and output formats, which are losslint's own, are imported by name; `run` looks for torch
    importing = importers(outside(PACKAGE, "losslint/runtime/"), "importlib")
    assert importing == [
        "losslint/cli.py",
        "losslint/commands/run.py",
        "losslint/completion.py",
        "losslint/output/__init__.py",
        "losslint/registry.py",
    ]
    assert importers(outside(PACKAGE, "losslint/runtime/"), "runpy") == []


def test_nothing_heavy_is_loaded_for_a_folder_without_training_loops(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("x = 1\n", encoding="utf-8")
    program = (
        "import sys; from losslint.cli import main; main(['.', '--isolated', '--color=never'])\n"
        "print(*sorted({'libcst', 'rich', 'torch', 'asyncio', 'losslint.engine'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["All clear: 1 file checked", ""]


# ---------------------------------------------------------------- messages


def literal_ends(node: ast.expr) -> tuple[str, str]:
    """How a string literal, or one with values in it, starts and ends; an empty string stands for a value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value, node.value
    if isinstance(node, ast.JoinedStr):
        parts = [
            part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "" for part in node.values
        ]
        return parts[0], parts[-1]
    return "", ""


def messages(path: Path) -> Iterator[tuple[int, str, str]]:
    """The line, start and end of every literal of more than one word that is handed to a message sink."""
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        written = [word.value for word in node.keywords if word.arg in ("summary", "help")]
        if name in MESSAGE_SINKS:
            written += node.args
        for value in written:
            if " " in ast.unparse(value):
                yield value.lineno, *literal_ends(value)


def test_messages_start_in_lower_case_and_have_no_final_stop() -> None:
    wrong = []
    looked = 0
    for path in CODE:
        for line, start, end in messages(path):
            looked += 1
            # an acronym, such as AMP, is no capitalised word
            if re.match(r"[A-Z][a-z]", start) or re.search(r"[a-z`)]\.$", end):
                wrong.append(f"{shown(path)}:{line}: {start or end}")
    assert wrong == []
    assert looked > 100


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_what_findings_say_is_in_style(rule: Rule) -> None:
    """Over the real findings of its fixtures: messages and help that are put together escape a look at the code."""
    wrong = []
    for path in sorted((ROOT / "fixtures" / "rules" / rule.name).rglob("bad_*.py")):
        for finding in analyze_path(path):
            for said in filter(None, (finding.message, finding.help)):
                if re.match(r"[A-Z][a-z]", said) or said.endswith(".") or said.count("`") % 2 or "  " in said:
                    wrong.append(f"{shown(path)}: {said}")
    assert wrong == []


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.name)
def test_a_summary_is_one_short_line(entry: object) -> None:
    summary = getattr(entry, "summary", "")
    assert 0 < len(summary) <= 120
    assert "\n" not in summary
    assert not summary.endswith(".")


# ---------------------------------------------------------------- documentation


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_script", ROOT / "scripts" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_documentation_is_current(docs: ModuleType) -> None:
    stale = [path.as_posix() for path in docs.differing(ROOT, docs.generated(ROOT))]
    assert stale == [], "run `python scripts/docs.py write`"


def test_stale_documentation_is_told_and_mended(
    docs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs, "sample", lambda: "the sample")
    monkeypatch.setattr(docs, "picture", lambda: "<svg/>")
    part = "before\n<!-- generated: {0} -->\nold\n<!-- end of {0} -->\nafter\n"
    (tmp_path / "README.md").write_text(part.format("rules") + part.format("sample"), encoding="utf-8")
    gone = tmp_path / "docs" / "rules" / "no-such-rule.md"
    gone.parent.mkdir(parents=True)
    gone.write_text("# LL999", encoding="utf-8")
    assert docs.main(["check"], tmp_path) == 1
    told = capsys.readouterr().out
    assert "docs/rules/no-such-rule.md is not current" in told
    assert "docs/rules/unscaled-accumulation.md is not current" in told
    assert docs.main(["write"], tmp_path) == 0
    assert docs.main(["check"], tmp_path) == 0
    assert not gone.exists()
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\nold\n" not in readme
    assert "the sample\n<!-- end of sample -->\nafter\n" in readme
    assert "[unscaled-accumulation](docs/rules/unscaled-accumulation.md)" in readme


def test_a_readme_without_its_marks_is_refused(docs: ModuleType) -> None:
    with pytest.raises(ValueError, match="lacks `<!-- generated: rules -->`"):
        docs.readme("# losslint\n", catalogue())


def test_every_finding_links_to_a_page_that_exists() -> None:
    for entry in catalogue():
        assert (ROOT / "docs" / "rules" / f"{entry.name}.md").is_file()


def test_links_lead_somewhere(docs: ModuleType) -> None:
    assert list(docs.dead_links(ROOT)) == []


def test_dead_links_are_told(docs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# `One` two: three!\n# Twice\n# Twice\n", encoding="utf-8")
    links = "docs/a.md docs/a.md#one-two-three docs/a.md#twice-1 #top https://losslint.dev/x"
    dead = "docs/b.md docs/a.md#one docs/a.md#twice-2 #bottom"
    text = "# Top\n```\n[x](in-code.md)\n# bottom\n```\n" + "".join(
        f"[x]({link})\n" for link in f"{links} {dead}".split()
    )
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert [link for _, link in docs.dead_links(tmp_path)] == dead.split()


def test_tool_codes_have_their_sections() -> None:
    for entry in TOOL_CODES:
        headings = re.findall(r"^## (.+)$", entry.page, re.MULTILINE)
        whole = ["What it does", "Why it matters", "Bad", "Good", "When it stays silent"]
        assert headings == [heading for heading in whole if heading in headings]
        assert {"What it does", "Why it matters", "When it stays silent"} <= set(headings)


@pytest.mark.parametrize("module", rule_modules(), ids=lambda module: module.stem)
def test_a_page_says_which_severities_it_has(module: Path) -> None:
    (rule,) = [rule for rule in rules() if rule.module == f"losslint.rules.{module.stem}"]
    marked = {severity for _, severity in re.findall(r"# expect: .*?(LL\d{3}) (\w+)", page_of(module))}
    assert rule.severity.label in marked, "no example is reported at the rule's own severity"
    assert all(Severity[severity.upper()] <= rule.severity for severity in marked)


# ---------------------------------------------------------------- losslint on itself


def test_losslint_is_clean_on_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "losslint", "losslint", "rules", "scripts", "benchmarks/loops.py", "--color=never"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("All clear: ")


@pytest.mark.parametrize("path", sorted(LIMITS.glob("*")), ids=lambda path: path.name)
def test_a_known_limit_is_still_one(path: Path) -> None:
    expected = expected_in(path)
    assert expected or python_files(path) == [], "a limit marks the finding that should be there"
    assert difference(expected, reported_in(path)), f"{shown(path)}: not missed any more: move it to fixtures/rules"
