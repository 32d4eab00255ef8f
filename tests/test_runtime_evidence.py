"""The runtime verifier against the rules' own pages and fixtures: every bad one is confirmed, every good one holds.

Two oracles that share nothing but the source text have to agree here. What does not is in `EXCEPTIONS`, with the
reason; an entry that starts to agree fails the test, so that the table says what is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_fixtures import BLOCK, FIXTURES, MARKS

pytest.importorskip("torch", reason="the verifier needs torch: `pip install losslint[verify]`")

from losslint.engine import analyze
from losslint.findings import Finding, Outcome, Severity, Verdict
from losslint.registry import Rule, rules, section
from losslint.runtime import judge
from losslint.source import SourceFile, project_roots

MEASURABLE = [rule for rule in rules() if rule.claim is not None]

EXCEPTIONS: dict[tuple[str, str], str] = {
    # right for a reason that lies in the program's own numbers, which the world replaces by its own
    ("leftover-micro-batches", "good_sizes_divide.py"): "the code's own sizes divide; the world's do not",
    ("off-phase-step", "good_resumed_counter.py"): "where the counter starts lies in a checkpoint",
    ("zero-grad-inside-window", "good_window_of_one.py"): "the code's own window is one",
    ("mean-loss-over-samples", "good_batch_size_one.py"): "the code's own batches hold one sample",
    ("uneven-batch-mean", "good_even_batches.py"): "the code's own batches are all full",
    # right because of what the figure or the term means, which no number shows
    ("uneven-batch-mean", "good_progress_display.py"): "what a progress bar shows may be rough",
    ("mean-of-nonlinear", "good_rmse_is_the_loss.py"): "the root is the loss itself",
    ("rank-local-loss-logged", "good_labelled_local.py"): "the label says that the loss is local",
    (
        "leftover-micro-batches",
        "good_plain_gate_is_info.py",
    ): "broken as claimed: an info, and therefore in the good ones",
    ("leftover-micro-batches", "good_zeroed_at_epoch_start_is_info.py"): "broken as claimed: an info",
    ("scheduler-per-micro-batch", "good_length_not_in_sight.py"): "broken as claimed: an info",
    ("missing-zero-grad", "good_zeroed_by_the_caller.py"): "a caller in another file zeroes",
    ("mean-loss-over-samples", "good_opaque_criterion.py"): "the criterion may be a sum: it is taken for a mean",
    ("unscaled-accumulation", "good_gradients_over_batch_total.py"): "what gradients are divided by is not in sight",
    ("unscaled-accumulation", "good_gradients_over_token_total.py"): "what gradients are divided by is not in sight",
    ("wrong-loss-divisor", "good_loss_of_another_library.py"): "how a class of another library reduces is not in sight",
    ("misplaced-gradient-clipping", "good_hooks.py"): "hooks on parameters clip: nothing is called that clips",
    ("non-differentiable-before-loss", "good_temperature_is_learnt.py"): "a temperature is learnt, no part of a loss",
    # more than a linear weight per item
    ("unscaled-accumulation", "good_cached_features.py"): "one loss over all batches of the window: no sum of means",
    ("unscaled-accumulation", "good_gradient_cache.py"): "one loss over all batches of the window: no sum of means",
    ("unscaled-accumulation", "good_nominal_batch.py"): "the weight decay is rescaled to make up for the window",
    ("unscaled-accumulation", "good_gan_generator_accumulates.py"): "adversaries: several optimizers",
    ("unscaled-accumulation", "good_gan_n_critic.py"): "adversaries: several optimizers",
    ("unscaled-accumulation", "good_rl_delayed_policy.py"): "actor and critic: several optimizers",
    ("loss-scaled-in-branch", "good_auxiliary_term.py"): "a penalty on the parameters, which are the world's losses",
    # not modelled
    ("mean-of-nonlinear", "bad_f1_per_batch.py"): "a score of predictions is not made of losses",
    ("mean-of-nonlinear", "good_f1_over_set.py"): "a score of predictions is not made of losses",
    ("mean-of-nonlinear", "good_micro_f1.py"): "a score of predictions is not made of losses",
    ("last-batch-reported", "good_loop_over_loss_terms.py"): "no figure is shown",
    ("last-batch-reported", "good_terms_are_returned.py"): "no figure is shown",
    ("unscaled-accumulation", "good_hf_trainer_training_step.py"): "a method that a trainer in another file calls",
    ("missing-zero-grad", "bad_closure.py"): "LBFGS runs its closure as often as it likes",
    ("missing-zero-grad", "good_closure.py"): "LBFGS runs its closure as often as it likes",
    ("missing-zero-grad", "good_lbfgs_closure.py"): "LBFGS runs its closure as often as it likes",
    ("missing-zero-grad", "good_full_epoch.py"): "one step per pass: too few in the world to see what is stale",
    ("missing-zero-grad", "good_optimizer_in_backward.py"): "a hook steps on each parameter during backward",
    ("masked-mean", "good_sample_weights.py"): "weights per sample that nobody told",
    ("token-mean-of-means", "good_class_weights_sum.py"): "the class weights of the batch are not in sight",
}
"""(rule, fixture file or folder) -> why the verifier cannot agree."""


def findings_of(path: Path, text: str) -> tuple[Finding, ...]:
    source = SourceFile(path, path.as_posix(), text)
    return analyze(source, project_roots(path, None, ()), rules(), Severity.INFO).findings


def marked(text: str, code: str) -> set[int]:
    """The lines on which a page or a fixture says that there is a finding of a rule."""
    lines = enumerate(text.splitlines(), 1)
    return {number for number, line in lines if (mark := MARKS.search(line)) and code in mark[1]}


def bad_and_good(rule: Rule) -> Iterator[tuple[str, bool, Path, str]]:
    """Label, whether it is bad, path and text of each example of a rule that is one file."""
    for heading in ("Bad", "Good"):
        for number, block in enumerate(BLOCK.findall(section(rule.page, heading))):
            yield f"{heading} {number}", heading == "Bad", Path(f"{rule.name}.py"), block
    for path in sorted((FIXTURES / rule.name).glob("*.py")):
        yield path.name, path.name.startswith("bad"), path, path.read_text(encoding="utf-8")


def told(verdict: Verdict) -> str:
    return (
        f"{verdict.outcome.value} ({verdict.reason.value if verdict.reason else ''}): measured {verdict.measured},"
        f" predicted {verdict.predicted}; {verdict.detail}"
    )


def agrees(rule: Rule, bad: bool, path: Path, text: str, also: tuple[Path, ...] = ()) -> str:
    """Empty where the verifier agrees with an example, else what it says. `also` are other files of its project, from
    which it may be found."""
    if not bad:
        verdict = judge.holds(text, path, rule.code)
        return "" if verdict.outcome is Outcome.REFUTED else told(verdict)
    lines = marked(text, rule.code)
    found = [*findings_of(path, text), *(f for other in also for f in findings_of(other, other.read_text("utf-8")))]
    here = [
        finding for finding in found if finding.code == rule.code and Path(finding.path).resolve() == path.resolve()
    ]
    asked = [finding for finding in here if finding.range.start_line in lines]
    assert asked, f"{path}: the static side finds nothing"
    for finding in asked:
        verdict = judge.verify(finding, text, path)
        if verdict.outcome is not Outcome.CONFIRMED:
            return f"line {finding.range.start_line}: {told(verdict)}"
        if verdict.predicted is not None:
            assert verdict.measured == pytest.approx(verdict.predicted, rel=1e-3)
    return ""


@pytest.mark.parametrize("rule", MEASURABLE, ids=lambda rule: rule.name)
def test_the_two_oracles_agree(rule: Rule) -> None:
    wrong = []
    for label, bad, path, text in bad_and_good(rule):
        said = agrees(rule, bad, path, text)
        known = EXCEPTIONS.get((rule.name, label))
        if said and known is None:
            wrong.append(f"{label}: {said}")
        elif not said and known is not None:
            wrong.append(f"{label}: agrees now; take it out of the exceptions")
    assert not wrong, "\n".join(wrong)


FOLDERS = [
    pytest.param(rule, folder, id=f"{rule.name}-{folder.name}")
    for rule in MEASURABLE
    for folder in sorted((FIXTURES / rule.name).glob("*/"))
    if folder.name.startswith(("bad", "good"))
]


@pytest.mark.parametrize(("rule", "folder"), FOLDERS)
def test_the_two_oracles_agree_on_projects(rule: Rule, folder: Path) -> None:
    """A finding is measured with the files that it rests on; a law that holds, in one of the files that use it."""
    bad = folder.name.startswith("bad")
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}
    asked = [path for path in texts if not bad or marked(texts[path], rule.code)]
    said = [what for path in asked if (what := agrees(rule, bad, path, texts[path], tuple(texts)))]
    assert not any("refuted" in what for what in said) if bad else not any("confirmed" in what for what in said), said
    agreed = not said if bad else len(said) < len(asked)
    assert agreed is ((rule.name, folder.name) not in EXCEPTIONS), said


def test_exceptions_are_of_fixtures_that_exist() -> None:
    assert [key for key in EXCEPTIONS if not (FIXTURES / key[0] / key[1]).exists()] == []
