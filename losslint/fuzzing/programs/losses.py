"""The criterion, the forward pass and the loss of a micro-batch."""

from __future__ import annotations

from losslint.fuzzing.programs import precision, reports, scaling
from losslint.fuzzing.programs.page import Page


def criterion_made(page: Page) -> str:
    """The expression that makes the criterion."""
    reduction = {"sum": "sum", "sum_divided": "sum", "none_mean": "none"}.get(page.spec.reduction)
    return f'nn.CrossEntropyLoss(reduction="{reduction}")' if reduction else "nn.CrossEntropyLoss()"


def expression(page: Page, outputs: str, targets: str, inputs: str, criterion: str) -> str:
    """The loss of a micro-batch."""
    spec = page.spec
    if spec.criterion == "functional":
        reduction = {"sum": "sum", "sum_divided": "sum", "none_mean": "none"}.get(spec.reduction)
        more = f', reduction="{reduction}"' if reduction else ""
        call = f"F.cross_entropy({outputs}, {targets}{more})"
    else:
        call = f"{criterion}({outputs}, {targets})"
    if spec.reduction == "none_mean":
        call += ".mean()"
    if spec.reduction == "sum_divided":
        call += f" / {inputs}.size(0)"
    return call


def arguments(page: Page, model: str, criterion: str) -> list[str]:
    """What a helper that computes the loss is given."""
    given = [] if page.spec.criterion in ("functional", "module") and page.spec.frame != "script" else [criterion]
    given = [] if page.spec.criterion == "functional" else given
    return [model, "inputs", "targets", *given]


def criterion_name(page: Page) -> str:
    """How the code spells the criterion."""
    return page.own("criterion") if page.spec.criterion in ("local", "parameter") else "criterion"


def micro_batch(page: Page) -> None:
    """From the forward pass to the backward."""
    spec = page.spec
    loss = spec.loss
    context = precision.autocast(page)
    model = page.own("model")
    forward = [f"outputs = {model}(inputs)"]
    made = expression(page, "outputs", "targets", "inputs", criterion_name(page))
    if page.helper == "loss":
        forward, made = [], f"compute_loss({', '.join(arguments(page, model, criterion_name(page)))})"
    if spec.scale == "at_loss":
        made = f"{made} / {page.window}"
    if context:
        with page.block(f"with {context}:"):
            page.add(*forward, f"{loss} = {made}")
    else:
        page.add(*forward, f"{loss} = {made}")
    if page.branch == "skip_nan":
        with page.block(f"if torch.isnan({loss}):"):
            page.add('print("skipping a batch that is not a number")', "continue")
    if spec.accumulate_at == "before":
        reports.accumulate(page)
    scaling.scale(page)
    scaling.backward(page)
    if spec.scale == "after":
        page.add(f"{loss} = {loss} / {page.window}")
