"""What a program puts into a function of its own."""

from __future__ import annotations

from losslint.fuzzing.programs import losses, scaling, updates, validation
from losslint.fuzzing.programs.page import Page


def define(page: Page) -> None:
    """Every helper of the program, one after the other."""
    spec = page.spec
    if spec.scale == "helper":
        with page.block("def scale_loss(loss, steps):"):
            page.add("return loss / steps")
        page.add("", "")
    if spec.scale == "expression" and spec.scale_where == "function" and not scaling.special_backward(page):
        with page.block("def accumulate_gradients(loss, steps):"):
            page.add("(loss / steps).backward()")
        page.add("", "")
    if page.helper == "loss":
        _loss_helper(page)
    if page.spec.validation == "helper":
        validation.define(page)
    if page.helper == "update":
        _update_helper(page)


def _loss_helper(page: Page) -> None:
    made = losses.expression(page, "outputs", "targets", "inputs", "criterion")
    with page.block(f"def compute_loss({', '.join(losses.arguments(page, 'model', 'criterion'))}):"):
        page.add("outputs = model(inputs)", f"return {made}")
    page.add("", "")


def _update_helper(page: Page) -> None:
    page.inside_helper = True
    with page.block(f"def update({', '.join(updates.arguments(page))}):"):
        updates.now(page)
    page.inside_helper = False
    page.add("", "")
