"""Where the loss is divided by the window, under which condition, and its backward."""

from __future__ import annotations

from losslint.fuzzing.programs.page import Page


def scale(page: Page) -> None:
    """The statement that divides the loss, where it is one of its own."""
    spec = page.spec
    loss, window = spec.loss, page.window
    if spec.tail == "true_length" and spec.scale in ("rebound", "in_place") and page.zero_based is not None:
        loader = page.own("loader")
        begun = f"{page.zero_based} // {window} * {window}"
        page.add(f"length = min({window}, len({loader}) - {begun})")
        page.add(f"{loss} = {loss} / length")
        return
    line = {
        "rebound": f"{loss} = {loss} / {window}",
        "in_place": f"{loss} /= {window}",
        "alias": f"scaled_loss = {loss} / {window}",
        "inverse": f"{loss} = {loss} * inverse",
        "helper": f"{loss} = scale_loss({loss}, {window})",
        "twice": f"{loss} = {loss} / {window}",
        "unused": f"scaled_loss = {loss} / {window}",
        "by_index": f"{loss} = {loss} / {page.one_based}" if page.one_based else "",
        "by_batch": f"{loss} = {loss} / inputs.size(0)",
        "by_batches": f"{loss} = {loss} / len({page.own('loader')})",
        "back_and_forth": f"{loss} = {loss} / {window} * {window}",
    }.get(spec.scale)
    if not line:
        return
    condition = {
        "debug": page.own("debug"),
        "first": f"{page.zero_based} == 0",
        "log": f"{page.zero_based} % {page.setting('log_every')} == 0",
        "window": f"{window} > 1",
        "finite": f"torch.isfinite({loss})",
        "epoch": "epoch == 0",
        "both": f"{page.zero_based} % 2 == 0",
    }.get(page.branch)
    if condition is None:
        page.add(line)
        return
    with page.block(f"if {condition}:"):
        if page.branch in ("first", "debug", "log"):
            page.add(f'print("device", {loss}.device)')
        page.add(line)
    if page.branch == "both":
        with page.block("else:"):
            page.add(line)


def backward(page: Page) -> None:
    """The backward of a micro-batch."""
    spec = page.spec
    call = f".backward({'retain_graph=True' if page.graph == 'kept' else ''})"
    expression = {
        "alias": "scaled_loss",
        "expression": f"({spec.loss} / {page.window})",
        "twice": f"({spec.loss} / {page.window})",
    }.get(spec.scale, spec.loss)
    if spec.framework == "accelerate":
        page.add(f"accelerator.backward({expression.strip('()')})")
    elif spec.framework == "fabric":
        page.add(f"fabric.backward({expression.strip('()')})")
    elif not page.uses_scaler or spec.amp == "unscaled_backward":
        if spec.scale == "expression" and spec.scale_where == "function" and not special_backward(page):
            page.add(f"accumulate_gradients({spec.loss}, {page.window})")
        else:
            page.add(f"{expression}{call}")
    elif spec.amp == "optional" and page.in_function:
        with page.block(f"if {page.own('use_amp')}:"):
            page.add(f"{page.own('scaler')}.scale({expression.strip('()')}){call}")
        with page.block("else:"):
            page.add(f"{expression}{call}")
    else:
        page.add(f"{page.own('scaler')}.scale({expression.strip('()')}){call}")


def special_backward(page: Page) -> bool:
    """Whether something else than the loss itself is asked for its backward."""
    return page.uses_scaler or page.spec.framework != "plain"
