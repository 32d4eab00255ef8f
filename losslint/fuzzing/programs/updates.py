"""When the optimizer steps, and what is done to the gradients then."""

from __future__ import annotations

from losslint.fuzzing.programs import reports, schedules
from losslint.fuzzing.programs.page import Page


def _condition(page: Page) -> str:
    spec = page.spec
    window, index = page.window, spec.index
    counted = page.one_based or ""
    if page.gate == "off_phase":
        condition = f"{page.zero_based} % {window} == 0"
    elif page.gate == "phase":
        condition = f"{page.zero_based} % {window} == {window} - 1"
    elif page.gate == "floor":
        condition = f"{counted} // {window} > {page.zero_based} // {window}"
    elif page.gate == "negated":
        condition = f"not {counted} % {window}"
    else:
        condition = f"{counted} % {window} == 0"
    if spec.tail in ("last", "true_length"):
        loader = page.own("loader")
        last = f"{index} == len({loader})" if counted == index else f"{index} + 1 == len({loader})"
        condition = f"{condition} or {last}"
    return condition


def gated(page: Page) -> None:
    """The update, once a window."""
    spec = page.spec
    if page.gate == "counter":
        page.add("pending += 1")
        with page.block(f"if pending == {page.window}:"):
            update(page)
            page.add("pending = 0")
    elif page.gate == "countdown":
        page.add("remaining -= 1")
        with page.block("if remaining == 0:"):
            update(page)
            page.add(f"remaining = {page.window}")
    elif page.gate == "global_step":
        step = page.own("global_step")
        page.add(f"{step} += 1")
        with page.block(f"if {step} % {page.window} == 0:"):
            update(page)
    elif spec.gate_style == "flag":
        page.add(f"should_step = {_condition(page)}")
        with page.block("if should_step:"):
            update(page)
    elif spec.gate_style == "skip":
        with page.block(f"if not ({_condition(page)}):"):
            page.add("continue")
        update(page)
    else:
        with page.block(f"if {_condition(page)}:"):
            update(page)


def update(page: Page) -> None:
    """The update, here or in its helper."""
    if page.helper == "update":
        page.add(f"update({', '.join(arguments(page))})")
    else:
        now(page)
    if reports.is_summed(page) and page.spec.divisor == "steps":
        page.add("num_updates += 1")


def arguments(page: Page) -> list[str]:
    """The names that an update needs, as parameters inside the helper and as arguments outside."""
    names = ["model", "optimizer", *(["scaler"] if page.uses_scaler else [])]
    steps = [page.window] if page.spec.scale == "gradients" else []
    return [*map(page.own, names), *steps]


def now(page: Page) -> None:
    """The statements of an update."""
    spec = page.spec
    scaler = page.own("scaler")
    parameters = f"{page.own('model')}.parameters()"
    if spec.zero == "early" and not page.accumulates:
        zero(page)
    if page.uses_scaler and spec.clip == "right" and spec.amp not in ("optional", "unscale_each"):
        page.add(*(f"{scaler}.unscale_({page.own(name)})" for name in page.optimizers))
    if spec.scale == "gradients":
        with page.block(f"for parameter in {parameters}:"), page.block("if parameter.grad is not None:"):
            page.add(f"parameter.grad /= {page.window}")
    if spec.clip not in ("late", "early") and not (page.uses_scaler and spec.amp == "optional"):
        clip(page)
    schedules.step(page, "ahead")
    _step(page)
    schedules.step(page, "update")
    if spec.clip == "late":
        clip(page)
    if spec.zero == "after" or (spec.zero in ("every", "start", "early") and page.accumulates):
        zero(page)


def clip(page: Page) -> None:
    """Clips the gradients."""
    spec = page.spec
    if spec.clip == "none":
        return
    if spec.framework == "fabric":
        page.add(f"fabric.clip_gradients({page.own('model')}, {page.own('optimizer')}, max_norm=1.0)")
        return
    exhausted = spec.clip == "exhausted" and spec.framework == "plain"
    parameters = "parameters" if exhausted else f"{page.own('model')}.parameters()"
    function = "clip_grad_value_" if spec.clip == "value" else "clip_grad_norm_"
    module = "accelerator" if spec.framework == "accelerate" else "torch.nn.utils"
    page.add(f"{module}.{function}({parameters}, 1.0)")


def _step(page: Page) -> None:
    spec = page.spec
    scaler = page.own("scaler")
    plain = [f"{page.own(name)}.step{'' if spec.order == 'uncalled' else '()'}" for name in page.optimizers]
    if not page.uses_scaler or spec.amp == "bypassed":
        page.add(*plain)
        return
    scaled = [f"{scaler}.step({page.own(name)})" for name in page.optimizers]
    scaled += [] if spec.amp in ("no_update", "update_each") else [f"{scaler}.update()"]
    if spec.amp != "optional" or not page.in_function:
        page.add(*scaled)
        return
    with page.block(f"if {page.own('use_amp')}:"):
        page.add(*scaled)
    with page.block("else:"):
        page.add(*plain)


def zero(page: Page) -> None:
    """Sets the gradients to zero."""
    spec = page.spec
    if spec.optimizers == "one_zeroed" and len(page.optimizers) > 1:
        page.add(f"{page.optimizers[0]}.zero_grad()")
    elif spec.zero_call == "model":
        page.add(f"{page.own('model')}.zero_grad()")
    elif spec.zero_call == "none" and spec.framework == "plain":
        with page.block(f"for parameter in {page.own('model')}.parameters():"):
            page.add("parameter.grad = None")
    else:
        page.add(*(f"{page.own(name)}.zero_grad()" for name in page.optimizers))


def flush(page: Page) -> None:
    """The update of an incomplete last window, after the loop."""
    spec = page.spec
    if spec.tail != "flush" or page.accumulates:
        return
    if page.gate == "counter":
        condition = "pending > 0"
    elif page.gate == "countdown":
        condition = f"remaining < {page.window}"
    elif page.gate == "global_step":
        condition = f"len({page.own('loader')}) % {page.window} != 0"
    elif page.one_based is not None:
        condition = f"{page.one_based} % {page.window} != 0"
    else:
        return
    with page.block(f"if {condition}:"):
        update(page)
