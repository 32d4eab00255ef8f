"""A LightningModule: automatic optimisation, or manual with a window of its own."""

from __future__ import annotations

from losslint.fuzzing.programs import losses
from losslint.fuzzing.programs.page import Page


class ModulePage(Page):
    """The names of a module: whatever outlives a step is an attribute."""

    @property
    def manual(self) -> bool:
        """Whether the module steps by itself."""
        return self.spec.iteration in ("enumerate0", "plain")

    def own(self, name: str) -> str:
        """An attribute of the module."""
        return f"self.{name}"

    @property
    def window(self) -> str:
        """The number of micro-batches per step, as the code spells it."""
        return f"self.{self.spec.window_name}"


def text(page: ModulePage) -> str:
    """The whole file."""
    spec = page.spec
    page.add("import lightning as L", "import torch")
    if spec.criterion == "functional":
        page.add("import torch.nn.functional as F")
    page.add("from torch import nn", "", "")
    with page.block("class LitModel(L.LightningModule):"):
        with page.block(f"def __init__(self, model, {spec.window_name}={page.sizes.window}):"):
            page.add("super().__init__()", "self.model = model", f"{page.window} = {spec.window_name}")
            page.add(f"self.criterion = {losses.criterion_made(page)}")
            page.add(*(["self.automatic_optimization = False"] if page.manual else []))
        page.add("")
        with page.block("def training_step(self, batch, batch_idx):"):
            _step(page)
        page.add("")
        with page.block("def configure_optimizers(self):"):
            page.add("return torch.optim.SGD(self.model.parameters(), lr=0.1)")
    return "\n".join(page.lines) + "\n"


def entry() -> str:
    """The call of what the file defines."""
    return "fit(LitModel(model))"


def _step(page: ModulePage) -> None:
    spec = page.spec
    page.add("inputs, targets = batch", "outputs = self.model(inputs)")
    page.add(f"loss = {losses.expression(page, 'outputs', 'targets', 'inputs', 'self.criterion')}")
    scaled = spec.scale not in ("missing", "gradients", "after")
    if spec.accumulate_at == "before":
        page.add('self.log("train_loss", loss)')
    if scaled:
        page.add(f"loss = loss / {page.window}")
    if page.manual:
        page.add("self.manual_backward(loss)")
        with page.block(f"if (batch_idx + 1) % {page.window} == 0:"):
            page.add("optimizer = self.optimizers()", "optimizer.step()", "optimizer.zero_grad()")
    if spec.accumulate_at == "after":
        page.add('self.log("train_loss", loss)')
    if not page.manual:
        page.add("return loss")
