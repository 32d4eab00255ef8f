"""The loop over validation data: its mode, its graph and its figure."""

from __future__ import annotations

from losslint.fuzzing.programs import losses
from losslint.fuzzing.programs.page import Page


def define(page: Page) -> None:
    """The function that judges a model."""
    page.inside_helper = True
    with page.block(f"def evaluate({', '.join(_arguments(page, 'model', 'val_loader', 'criterion'))}):"):
        _walk(page, "model", "val_loader", "criterion")
        page.add(f"return {_figure(page, 'val_loader')}")
    page.inside_helper = False
    page.add("", "")


def judge(page: Page) -> None:
    """Judges the model and shows the figure, or leaves it to the line that shows the training figure."""
    model, loader, criterion = page.own("model"), page.own("val_loader"), losses.criterion_name(page)
    if page.spec.validation == "helper":
        page.add(f"val_loss = evaluate({', '.join(_arguments(page, model, loader, criterion))})")
    else:
        _walk(page, model, loader, criterion)
        page.add(f"val_loss = {_figure(page, loader)}")
    if not page.together:
        page.add('print(f"validation loss {val_loss:.4f}")')


def _arguments(page: Page, model: str, loader: str, criterion: str) -> list[str]:
    return [model, loader, *losses.arguments(page, model, criterion)[3:]]


def _walk(page: Page, model: str, loader: str, criterion: str) -> None:
    if page.spec.judged == "eval":
        page.add(f"{model}.eval()")
    page.add("val_total = 0.0")
    if page.spec.judged_grad:
        _batches(page, model, loader, criterion)
        return
    with page.block("with torch.no_grad():"):
        _batches(page, model, loader, criterion)


def _batches(page: Page, model: str, loader: str, criterion: str) -> None:
    weighted = page.spec.judged_figure in ("weighted", "times_batch")
    with page.block(f"for inputs, targets in {loader}:"):
        page.add(f"outputs = {model}(inputs)")
        made = losses.expression(page, "outputs", "targets", "inputs", criterion)
        made = f"({made})" if page.spec.reduction == "sum_divided" else made
        page.add(f"val_total += {made}.item(){' * inputs.size(0)' if weighted else ''}")


def _figure(page: Page, loader: str) -> str:
    divisor = {"mean": f" / len({loader})", "weighted": f" / len({loader}.dataset)", "total": ""}
    return f"val_total{divisor.get(page.spec.judged_figure, f' / len({loader})')}"
