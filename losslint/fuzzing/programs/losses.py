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
    forward = _forward(page, model)
    made = expression(page, "outputs", "targets", "inputs", criterion_name(page))
    if page.helper == "loss":
        forward, made = [], f"compute_loss({', '.join(arguments(page, model, criterion_name(page)))})"
    if spec.scale == "at_loss":
        made = f"{made} / {page.window}"
    if not context:
        page.add(*forward, f"{loss} = {made}")
        _from_loss_to_backward(page)
        return
    with page.block(f"with {context}:"):
        page.add(*forward, f"{loss} = {made}")
        if spec.scope == "backward":
            _from_loss_to_backward(page)
    if spec.scope != "backward":
        _from_loss_to_backward(page)


def _forward(page: Page, model: str) -> list[str]:
    if page.graph == "no_grad":
        return ["with torch.no_grad():", f"    outputs = {model}(inputs)"]
    if page.graph == "rounded":
        return [f"outputs = torch.round({model}(inputs))"]
    return [f"outputs = {model}(inputs){'.detach()' if page.graph == 'detached' else ''}"]


def _from_loss_to_backward(page: Page) -> None:
    spec = page.spec
    loss = spec.loss
    page.add(
        *{
            "rewrapped": [f"{loss} = torch.tensor({loss}.item(), requires_grad=True)"],
            "made_leaf": [f"{loss} = {loss}.detach().requires_grad_()"],
            "dead_term": ["penalty = F.l1_loss(outputs, targets)", f"{loss} = {loss} + 0.1 * penalty.item()"],
            "live_term": ["penalty = F.l1_loss(outputs, targets)", f"{loss} = {loss} + 0.1 * penalty"],
        }.get(page.graph, [])
    )
    if page.branch == "skip_nan":
        with page.block(f"if torch.isnan({loss}):"):
            page.add('print("skipping a batch that is not a number")', "continue")
    if spec.accumulate_at == "before":
        reports.accumulate(page)
    scaling.scale(page)
    scaling.backward(page)
    if spec.scale == "after":
        page.add(f"{loss} = {loss} / {page.window}")
