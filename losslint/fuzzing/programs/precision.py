"""Mixed precision: the context of the forward pass, and the scaler."""

from __future__ import annotations

from losslint.fuzzing.programs.page import Page


def autocast(page: Page) -> str:
    """The context of the forward pass; empty where there is none."""
    if page.spec.framework != "plain":
        return ""
    if page.spec.amp in ("bfloat16", "float16"):
        return f'torch.autocast("cpu", dtype=torch.{page.spec.amp})'
    if page.spec.amp == "none":
        return ""
    if page.spec.amp in ("optional", "disabled") and page.in_function:
        return f'torch.autocast("cpu", enabled={page.own("use_amp")})'
    return 'torch.autocast("cpu")'


def after_backward(page: Page) -> None:
    """What is asked of the scaler on every micro-batch, where it should be once a step."""
    if page.uses_scaler and page.spec.amp == "unscale_each":
        page.add(*(f"{page.own('scaler')}.unscale_({page.own(name)})" for name in page.optimizers))
    if page.uses_scaler and page.spec.amp == "update_each":
        page.add(f"{page.own('scaler')}.update()")


def scaler(page: Page) -> str:
    """The expression that makes the scaler."""
    if page.spec.amp == "disabled":
        enabled = page.own("use_amp") if page.in_function else "False"
        return f'torch.amp.GradScaler("cuda", enabled={enabled})'
    return "torch.cuda.amp.GradScaler()" if page.spec.index == "i" else 'torch.amp.GradScaler("cuda")'
