"""The runtime verifier against the fixes: where a finding that a run can measure has one, its law holds afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_runtime_evidence import MEASURABLE, bad_and_good, told

pytest.importorskip("torch", reason="the verifier needs torch: `pip install losslint[verify]`")

from losslint.engine import analyze
from losslint.findings import Outcome, Severity
from losslint.fixes.apply import apply, compatible
from losslint.registry import Rule, rules
from losslint.runtime import judge
from losslint.source import SourceFile, project_roots

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("scaled-loss-accumulated", "bad_divisor_elsewhere.py"): "a sum over the pass: the caller divides by its length",
    ("scaled-loss-accumulated", "bad_history_of_sums.py"): "a sum over the pass by design",
    ("scaled-loss-accumulated", "bad_sum_over_batch.py"): "the loss is a sum over its batch by design",
}
"""(rule, fixture file) -> why the verifier cannot say that the law holds in the fixed code."""


def fixed(rule: Rule, path: Path, text: str) -> str:
    """The text after all fixes of one rule; as it was where it has none."""
    source = SourceFile(path, path.as_posix(), text)
    findings = analyze(source, project_roots(path, None, ()), rules(), Severity.INFO, fixes=True).findings
    fixes = compatible(finding.fix for finding in findings if finding.code == rule.code and finding.fix is not None)
    return apply(text, [edit for fix in fixes for edit in fix.edits if edit.path == path.as_posix()])


@pytest.mark.parametrize("rule", MEASURABLE, ids=lambda rule: rule.name)
def test_the_law_holds_in_the_fixed_code(rule: Rule) -> None:
    wrong = []
    for label, bad, path, text in bad_and_good(rule):
        after = fixed(rule, path, text) if bad else text
        if after == text:
            continue
        verdict = judge.holds(after, path, rule.code)
        known = (rule.name, label) in EXCEPTIONS
        if verdict.outcome is not Outcome.REFUTED and not known:
            wrong.append(f"{label}: {told(verdict)}")
        elif verdict.outcome is Outcome.REFUTED and known:
            wrong.append(f"{label}: holds now; take it out of the exceptions")
    assert not wrong, "\n".join(wrong)
