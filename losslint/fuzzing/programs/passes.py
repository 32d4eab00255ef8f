"""What comes before the loop, the loop over epochs, and one pass over the batches."""

from __future__ import annotations

from losslint.fuzzing.programs import losses, precision, reports, schedules, updates, validation
from losslint.fuzzing.programs.page import Page


def before(page: Page) -> None:
    """What is set up ahead of the loop."""
    spec = page.spec
    if spec.framework == "accelerate":
        told = f"gradient_accumulation_steps={page.window}" if page.accumulates else ""
        page.add(f"accelerator = Accelerator({told})")
        names = [page.own(name) for name in ("model", "loader", "optimizer")]
        page.add(f"{', '.join(names)} = accelerator.prepare({', '.join(names)})")
    if spec.framework == "fabric":
        page.add('fabric = Fabric(accelerator="cpu", devices=1)')
        model, loader, optimizer = (page.own(name) for name in ("model", "loader", "optimizer"))
        page.add(f"{model}, {optimizer} = fabric.setup({model}, {optimizer})")
        page.add(f"{loader} = fabric.setup_dataloaders({loader})")
    if _makes_criterion(page):
        page.add(f"criterion = {losses.criterion_made(page)}")
    if page.uses_scaler and spec.frame != "method" and (spec.clip != "right" or spec.frame == "script"):
        page.add(f"scaler = {precision.scaler(page)}")
    if len(page.optimizers) > 1:
        for name in page.optimizers:
            module = f"model.{name.removeprefix('optimizer_')}"
            page.add(f"{name} = torch.optim.SGD({module}.parameters(), lr=0.1)")
    if page.cadence:
        schedules.make(page)
    if spec.clip == "exhausted" and spec.framework == "plain":
        page.add(f"parameters = {page.own('model')}.parameters()")
    if spec.scale == "inverse":
        page.add(f"inverse = 1.0 / {page.window}")
    if page.gate == "global_step" and spec.frame != "method":
        page.add("global_step = 0")


def _makes_criterion(page: Page) -> bool:
    spec = page.spec
    if spec.criterion == "functional":
        return False
    return spec.frame == "script" or (spec.criterion == "local" and spec.frame != "method")


def all_epochs(page: Page) -> None:
    """The loop over epochs."""
    spec = page.spec
    if spec.sink == "returned" and page.in_function:
        page.add("history = []")
    if spec.trains == "once":
        page.add(f"{page.own('model')}.train()")
    with page.block(f"for epoch in range({page.setting('epochs')}):"):
        epoch(page)
    if spec.sink == "returned" and page.in_function:
        page.add("return history")


def epoch(page: Page) -> None:
    """One pass over the batches, and its figure."""
    if page.spec.trains != "once" or not page.has_epochs:
        page.add(f"{page.own('model')}.train()")
    schedules.step(page, "epoch_first")
    reports.initial_values(page)
    if page.spec.zero != "never" and not page.accumulates:
        updates.zero(page)
    if page.gate in ("counter", "countdown"):
        page.add("pending = 0" if page.gate == "counter" else f"remaining = {page.window}")
    _loop(page)
    updates.flush(page)
    schedules.step(page, "epoch")
    if page.spec.validation != "none":
        validation.judge(page)
    reports.report(page)


def _loop(page: Page) -> None:
    spec = page.spec
    loader = page.own("loader")
    walked = f"tqdm({loader})" if spec.progress and spec.framework == "plain" else loader
    index = spec.index
    batch = "(inputs, targets)"
    if spec.iteration == "inner":
        page.add(f"batches = iter({loader})")
        with page.block(f"for group in range(len({loader}) // {page.window}):"):
            with page.block(f"for micro in range({page.window}):"):
                page.add("inputs, targets = next(batches)")
                _body(page)
            updates.update(page)
        return
    if spec.iteration == "manual":
        page.add(f"batches = iter({loader})")
        with page.block(f"for {index} in range(len({loader})):"):
            page.add("inputs, targets = next(batches)")
            _body(page)
        return
    header = {
        "enumerate0": f"for {index}, {batch} in enumerate({walked}):",
        "enumerate1": f"for {index}, {batch} in enumerate({walked}, start=1):",
        "count": f"for {index}, {batch} in zip(itertools.count(1), {loader}):",
        "plain": f"for inputs, targets in {walked}:",
    }[spec.iteration]
    with page.block(header):
        _body(page)


def _body(page: Page) -> None:
    spec = page.spec
    if spec.tail == "trimmed" and spec.iteration in ("enumerate0", "manual"):
        loader = page.own("loader")
        with page.block(f"if {spec.index} >= len({loader}) - len({loader}) % {page.window}:"):
            page.add("break")
    if page.accumulates:
        with page.block(f"with accelerator.accumulate({page.own('model')}):"):
            if page.gate == "nested":
                with page.block(f"with accelerator.accumulate({page.own('model')}):"):
                    losses.micro_batch(page)
                    updates.update(page)
            else:
                losses.micro_batch(page)
                updates.update(page)
        reports.after_backward(page)
        return
    if spec.zero == "every":
        updates.zero(page)
    if spec.zero == "start" and page.zero_based is not None:
        with page.block(f"if {page.zero_based} % {page.window} == 0:"):
            updates.zero(page)
    if page.steps_first:
        updates.gated(page)
    if spec.clip == "early":
        updates.clip(page)
    losses.micro_batch(page)
    precision.after_backward(page)
    reports.after_backward(page)
    schedules.step(page, "batch")
    if page.gate != "inner" and not page.steps_first:
        updates.gated(page)
