"""The scheduler: how it is made, how long it is laid out for, and where it steps."""

from __future__ import annotations

from losslint.fuzzing.programs.page import Page


def make(page: Page) -> None:
    """Makes the scheduler."""
    steps = _horizon(page)
    made = {
        "cosine": f"CosineAnnealingLR({{}}, T_max={steps})",
        "linear": f"LinearLR({{}}, start_factor=1.0, end_factor=0.1, total_iters={steps})",
        "onecycle": f"OneCycleLR({{}}, max_lr=0.1, total_steps={steps})",
        "step": "StepLR({}, step_size=30)",
        "factor": "LambdaLR({}, lambda epoch: 0.95**epoch)",
        "absolute": f"LambdaLR({{}}, lambda epoch: {page.setting('lr')} * 0.95**epoch)",
    }[page.spec.scheduler]
    page.add(f"scheduler = torch.optim.lr_scheduler.{made.format(page.own('optimizer'))}")


def reads_rate(page: Page) -> bool:
    """Whether the function of the scheduler needs the learning rate."""
    return bool(page.cadence) and page.spec.scheduler == "absolute"


def step(page: Page, place: str) -> None:
    """Steps the scheduler where its cadence says so."""
    if page.cadence == place:
        page.add("scheduler.step()")


def _horizon(page: Page) -> str:
    """How many steps the schedule is laid out for, as the code says it."""
    spec = page.spec
    loader = page.own("loader")
    batches = f"{page.setting('epochs')} * len({loader})" if page.has_epochs else f"len({loader})"
    if spec.horizon == "literal":
        return "1000"
    if spec.horizon == "epochs" and page.has_epochs:
        return page.setting("epochs")
    # one cycle raises an error where it is asked for a step more, and an incomplete window may take one
    if spec.horizon == "updates" and spec.scheduler != "onecycle":
        return f"{batches} // {page.window}"
    return batches
