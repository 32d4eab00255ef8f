"""The file around the loop: its imports, a function, a method or a script, and the line that starts it."""

from __future__ import annotations

from losslint.fuzzing.programs import helpers, losses, passes, precision, reports, schedules
from losslint.fuzzing.programs.page import Page


def text(page: Page) -> str:
    """The whole file."""
    page.lines = []
    _program(page)
    program = page.lines
    page.lines = []
    _imports(page, "\n".join(program))
    page.add(*program)
    return "\n".join(page.lines).rstrip() + "\n"


def _imports(page: Page, program: str) -> None:
    if "itertools." in program:
        page.add("import itertools")
    if "logging." in program:
        page.add("import logging")
    if "ArgumentParser" in program:
        page.add("from argparse import ArgumentParser")
    if page.lines:
        page.add("")
    if "np." in program:
        page.add("import numpy as np")
    page.add("import torch")
    if "F." in program:
        page.add("import torch.nn.functional as F")
    if "wandb." in program:
        page.add("import wandb")
    if "Accelerator(" in program:
        page.add("from accelerate import Accelerator")
    if "Fabric(" in program:
        page.add("from lightning.fabric import Fabric")
    if "nn." in program.replace("torch.nn.", ""):
        page.add("from torch import nn")
    if "DataLoader(" in program:
        page.add("from torch.utils.data import DataLoader")
    if "tqdm(" in program:
        page.add("from tqdm import tqdm")
    if "Net()" in program:
        sets = "train_set, val_set" if "val_set" in program else "train_set"
        page.add("", f"from data import {sets}", "from models import Net")
    page.add("")


def _program(page: Page) -> None:
    spec = page.spec
    if spec.sink == "logger":
        page.add("logger = logging.getLogger(__name__)")
    if spec.criterion == "module" and spec.frame != "script":
        page.add(f"criterion = {losses.criterion_made(page)}")
    if page.lines:
        page.add("")
    if spec.accumulator == "meter":
        page.add("", *reports.METER.splitlines(), "")
    helpers.define(page)
    _FRAMES[spec.frame](page)


def _parameters(page: Page, *names: str) -> str:
    spec = page.spec
    given = [*names, *_given(page)]
    if spec.criterion == "parameter":
        given.append("criterion")
    if page.uses_scaler and spec.clip == "right":
        given.append("scaler")
    if spec.sink == "writer":
        given.append("writer")
    given += ["args"] if spec.settings == "args" else []
    given += [f"{name}={value}" for name, value in numbers(page) if spec.settings != "args"]
    return ", ".join(given + [f"{flag}=False" for flag in _needed_flags(page)])


def _given(page: Page) -> list[str]:
    """What the program is handed to train with, in order."""
    names = ["model", "loader", *(["optimizer"] if page.optimizers == ["optimizer"] else [])]
    return [*names, *(["val_loader"] if page.spec.validation != "none" else [])]


def numbers(page: Page) -> list[tuple[str, int | float]]:
    """The settings of the program, with their values."""
    spec, sizes = page.spec, page.sizes
    found: list[tuple[str, int | float]] = [(spec.window_name, sizes.window)]
    if spec.log in ("running", "loss") or page.branch == "log":
        found.append(("log_every", sizes.log_every))
    if page.has_epochs:
        found.append(("epochs", sizes.epochs))
    if schedules.reads_rate(page):
        found.append(("lr", 0.1))
    return found


def _needed_flags(page: Page) -> list[str]:
    flags = []
    if page.branch == "debug":
        flags.append("debug")
    if page.uses_scaler and page.spec.amp in ("optional", "disabled") and page.in_function:
        flags.append("use_amp")
    page.flags.update(flags)
    return flags


def _frame_function(page: Page) -> None:
    with page.block(f"def train_epoch({_parameters(page)}):"):
        passes.before(page)
        passes.epoch(page)


def _frame_fit(page: Page) -> None:
    with page.block(f"def train({_parameters(page)}):"):
        passes.before(page)
        passes.all_epochs(page)


def _frame_method(page: Page) -> None:
    parameters = _parameters(page, "self")
    with page.block("class Trainer:"):
        with page.block(f"def __init__({parameters}):"):
            for name in parameters.split(", ")[1:]:
                name = name.partition("=")[0]
                page.add(f"self.{name} = {name}")
            if page.spec.criterion == "local":
                page.add(f"self.criterion = {losses.criterion_made(page)}")
            if page.uses_scaler and page.spec.clip != "right":
                page.add(f"self.scaler = {precision.scaler(page)}")
            if page.gate == "global_step":
                page.add("self.global_step = 0")
        page.add("")
        with page.block(f"def {'fit' if page.has_epochs else 'train_epoch'}(self):"):
            passes.before(page)
            if page.has_epochs:
                passes.all_epochs(page)
            else:
                passes.epoch(page)


def _frame_script(page: Page) -> None:
    if page.spec.settings == "args":
        page.add("parser = ArgumentParser()")
        for name, value in numbers(page):
            page.add(f'parser.add_argument("--{name}", type={type(value).__name__}, default={value})')
        page.add("args = parser.parse_args()", "")
    else:
        page.add(*(f"{name.upper()} = {value}" for name, value in numbers(page)))
    page.add(f"BATCH_SIZE = {page.sizes.batch_size}", "")
    page.add("model = Net()")
    order = {
        "plain": "shuffle=True",
        "drop_last": "shuffle=True, drop_last=True",
        "sampler": "sampler=torch.utils.data.RandomSampler(train_set)",
    }[page.spec.loader]
    page.add(f"loader = DataLoader(train_set, batch_size=BATCH_SIZE, {order})")
    if page.spec.validation != "none":
        page.add("val_loader = DataLoader(val_set, batch_size=BATCH_SIZE)")
    if page.optimizers == ["optimizer"]:
        page.add("optimizer = torch.optim.SGD(model.parameters(), lr=0.1)")
    if page.spec.sink == "writer":
        page.add("writer = torch.utils.tensorboard.SummaryWriter()")
    passes.before(page)
    if page.has_epochs:
        passes.all_epochs(page)
    else:
        passes.epoch(page)


_FRAMES = {"function": _frame_function, "fit": _frame_fit, "method": _frame_method, "script": _frame_script}


def entry(page: Page) -> str:
    """The call of what the file defines."""
    spec = page.spec
    if spec.frame == "script":
        return ""
    given = _given(page)
    given += ["criterion=criterion"] if spec.criterion == "parameter" else []
    given += ["scaler=scaler"] if page.uses_scaler and spec.clip == "right" else []
    given += ["writer=writer"] if spec.sink == "writer" else []
    if spec.settings == "args":
        given.append(f"args=args({', '.join(f'{name}={value}' for name, value in numbers(page))})")
    given += ["**flags"]
    call = f"({', '.join(given)})"
    if spec.frame == "method":
        return f"Trainer{call}.{'fit' if page.has_epochs else 'train_epoch'}()"
    return f"{'train' if spec.frame == 'fit' else 'train_epoch'}{call}"
