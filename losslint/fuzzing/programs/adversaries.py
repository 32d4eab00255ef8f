"""A generator and a critic that are trained in turns, each with an optimizer of its own."""

from __future__ import annotations

from losslint.fuzzing.programs import losses
from losslint.fuzzing.programs.page import Page


def text(page: Page) -> str:
    """The whole file."""
    spec = page.spec
    page.add(*(["import torch.nn.functional as F"] if spec.criterion == "functional" else ["from torch import nn"]), "")
    if spec.criterion != "functional":
        page.add(f"criterion = {losses.criterion_made(page)}", "")
    page.add("")
    with page.block("def train_epoch(generator, critic, loader, optimizer_g, optimizer_d):"):
        page.add("generator.train()", "critic.train()", "total_loss = 0.0")
        with page.block("for inputs, targets in loader:"):
            _turns(page)
            page.add("total_loss += loss_g.item()")
        page.add("return total_loss / len(loader)")
    return "\n".join(page.lines) + "\n"


def entry() -> str:
    """The call of what the file defines."""
    return "train_epoch(generator, critic, loader, optimizer_g, optimizer_d)"


def _turns(page: Page) -> None:
    """The critic's turn and the generator's."""
    zero = page.spec.zero
    real, fake, fooled = (
        losses.expression(page, f"critic({given})", "targets", "inputs", "criterion")
        for given in ("inputs", "fake.detach()", "fake")
    )
    page.add("fake = generator(inputs)")
    # the critic's gradients hold those of the generator's turn as well, unless they are set to zero here
    page.add(*(["optimizer_d.zero_grad()"] if zero in ("after", "every", "start") else []))
    page.add(f"loss_d = {real} + {fake}", "loss_d.backward()")
    page.add(*(["optimizer_d.zero_grad()"] if zero == "early" else []), "optimizer_d.step()")
    page.add(*(["optimizer_g.zero_grad()"] if page.spec.zero_call != "none" else []))
    page.add(f"loss_g = {fooled}", "loss_g.backward()", "optimizer_g.step()")
