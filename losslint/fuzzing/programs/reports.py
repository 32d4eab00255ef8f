"""What is accumulated, divided and shown."""

from __future__ import annotations

from losslint.fuzzing.programs.page import Page

METER = """\
class AverageMeter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.sum = 0.0
        self.count = 0

    def update(self, value, n=1):
        self.sum += value * n
        self.count += n

    @property
    def avg(self):
        return self.sum / self.count
"""


def initial_values(page: Page) -> None:
    """The start of whatever is accumulated in a pass."""
    spec = page.spec
    start = {
        "total": "total_loss = 0.0",
        "list": "losses = []",
        "meter": "meter = AverageMeter()",
        "detached": "total_loss = torch.zeros(())",
        "attached": "total_loss = 0.0",
    }.get(spec.accumulator)
    page.add(*([start] if start else []))
    if is_summed(page):
        counter = {"counted": "num_batches = 0", "steps": "num_updates = 0", "samples": "num_samples = 0"}
        page.add(*([counter[spec.divisor]] if spec.divisor in counter else []))
    if spec.log == "running":
        page.add("running_loss = 0.0")


def is_summed(page: Page) -> bool:
    """Whether something is added up by hand."""
    return page.spec.accumulator in ("total", "detached", "attached", "list")


def after_backward(page: Page) -> None:
    """What stands between the backward and the step."""
    spec = page.spec
    if spec.accumulate_at == "after":
        accumulate(page)
    if spec.log == "loss" and page.zero_based is not None:
        with page.block(f"if {page.zero_based} % {page.setting('log_every')} == 0:"):
            page.add(f'print(f"{spec.index} {{{spec.index}}} loss {{{spec.loss}.item():.4f}}")')
    if spec.log == "running" and page.one_based is not None:
        page.add(f"running_loss += {spec.loss}.item()")
        every = page.setting("log_every")
        with page.block(f"if {page.one_based} % {every} == 0:"):
            page.add(f'print("loss", running_loss / {every})', "running_loss = 0.0")


def accumulate(page: Page) -> None:
    """Adds the loss of a micro-batch to what is reported."""
    spec = page.spec
    if spec.accumulator in ("none", "last"):
        return
    tensor = "scaled_loss" if spec.value == "scaled" and _has_alias(page) else spec.loss
    if spec.accumulator == "attached":
        value = tensor
    elif spec.accumulator == "detached":
        value = f"{tensor}.detach()"
    else:
        value = f"{tensor}.item()"
    if spec.accumulator == "meter":
        count = ", inputs.size(0)" if spec.value == "times_batch" else ""
        factor = f" * {page.window}" if spec.value == "times_window" else ""
        page.add(f"meter.update({value}{factor}{count})")
        return
    if spec.value == "times_window":
        value = f"{value} * {page.window}"
    if spec.value == "times_batch":
        value = f"{value} * inputs.size(0)"
    if spec.accumulator == "list":
        page.add(f"losses.append({value})")
    else:
        page.add(f"total_loss += {value}")
    if spec.divisor == "counted":
        page.add("num_batches += 1")
    if spec.divisor == "samples":
        page.add("num_samples += inputs.size(0)")


def _has_alias(page: Page) -> bool:
    return page.spec.scale in ("alias", "unused") and page.spec.accumulate_at == "after"


def report(page: Page) -> None:
    """Shows the figure of a pass."""
    figure = _figure(page)
    if figure is None:
        return
    spec = page.spec
    if spec.sink == "returned" and page.in_function:
        page.add(f"history.append({figure})" if page.has_epochs else f"return {figure}")
    elif spec.sink == "logger":
        page.add(f'logger.info("train loss %.6f", {figure})')
    elif spec.sink == "writer":
        page.add(f'{page.own("writer")}.add_scalar("train/loss", {figure}, {"epoch" if page.has_epochs else 0})')
    elif spec.sink == "wandb":
        page.add(f'wandb.log({{"train/loss": {figure}}})')
    else:
        more = " validation loss {val_loss:.4f}" if page.together else ""
        page.add(f"average = {figure}", f'print(f"train loss {{average:.4f}}{more}")')


def _figure(page: Page) -> str | None:
    spec = page.spec
    if spec.accumulator == "none":
        return None
    if spec.accumulator == "last":
        return f"{spec.loss}.item()"
    if spec.accumulator == "meter":
        return "meter.avg"
    total = "sum(losses)" if spec.accumulator == "list" else "total_loss"
    if spec.accumulator == "list" and spec.divisor in ("batches", "nothing", "index"):
        return "np.mean(losses)" if spec.divisor == "batches" else "sum(losses) / len(losses)"
    loader = page.own("loader")
    divisor = {
        "batches": f"len({loader})",
        "counted": "num_batches",
        "steps": "num_updates",
        "samples": "num_samples",
        "dataset": f"len({loader}.dataset)",
        "index": page.one_based or f"len({loader})",
        "window": page.window,
        "nothing": "",
    }[spec.divisor]
    figure = f"{total} / {divisor}" if divisor else total
    if spec.accumulator in ("attached", "detached"):
        figure = f"({figure}).item()" if divisor else f"{total}.item()"
    return figure
