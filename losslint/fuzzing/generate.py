"""Writes the training loop of a seed, as a person would write it, and the line that starts it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from losslint.fuzzing.spec import Sizes, Spec, draw

_METER = """\
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


@dataclass(frozen=True, slots=True)
class Program:
    """`text` is the file that both sides get. `entry` is what the runtime side evaluates once the file has run: an
    expression over the names of the file and `model`, `loader`, `optimizer`, `criterion`, `scaler`, `writer`, `args`,
    `fit`; empty for a script. `flags` are the switches that `entry` can be given."""

    seed: int
    spec: Spec
    text: str
    entry: str
    flags: tuple[str, ...]


def generate(seed: int, sizes: Sizes | None = None) -> Program:
    """The program of a seed; `sizes` changes numbers in it and nothing else."""
    spec = draw(seed)
    writer = _Lightning(spec, sizes or Sizes()) if spec.framework == "lightning" else _Writer(spec, sizes or Sizes())
    return Program(seed, spec, writer.text(), writer.entry(), tuple(sorted(writer.flags)))


class _Lines:
    """Lines of code at the depth of the block that is open."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0

    def add(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line if line else "" for line in lines]

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        self.add(header)
        self.depth += 1
        yield
        self.depth -= 1


class _Base(_Lines):
    def __init__(self, spec: Spec, sizes: Sizes) -> None:
        super().__init__()
        self.spec = spec
        self.sizes = sizes
        self.flags: set[str] = set()
        self.inside_helper = False

    def own(self, name: str) -> str:
        """A thing that outlives a call: an attribute in a method."""
        return f"self.{name}" if self.spec.frame == "method" and not self.inside_helper else name

    def setting(self, name: str) -> str:
        """How the code spells one of its numbers."""
        if self.inside_helper:
            return name
        if self.spec.settings == "args":
            return self.own(f"args.{name}")
        return name.upper() if self.spec.frame == "script" else self.own(name)

    @property
    def window(self) -> str:
        return self.setting(self.spec.window_name)

    def criterion_expression(self) -> str:
        reduction = {"sum": "sum", "sum_divided": "sum", "none_mean": "none"}.get(self.spec.reduction)
        return f'nn.CrossEntropyLoss(reduction="{reduction}")' if reduction else "nn.CrossEntropyLoss()"

    def loss_expression(self, outputs: str, targets: str, inputs: str, criterion: str) -> str:
        spec = self.spec
        if spec.criterion == "functional":
            reduction = {"sum": "sum", "sum_divided": "sum", "none_mean": "none"}.get(spec.reduction)
            more = f', reduction="{reduction}"' if reduction else ""
            call = f"F.cross_entropy({outputs}, {targets}{more})"
        else:
            call = f"{criterion}({outputs}, {targets})"
        if spec.reduction == "none_mean":
            call += ".mean()"
        if spec.reduction == "sum_divided":
            call += f" / {inputs}.size(0)"
        return call


class _Writer(_Base):
    """A loop that the user writes: plain PyTorch, accelerate or Fabric."""

    # ------------------------------------------------------------ names

    @cached_property
    def zero_based(self) -> str | None:
        """The number of the batch from 0, where the loop counts its batches."""
        index = self.spec.index
        return {"enumerate0": index, "manual": index, "enumerate1": f"({index} - 1)", "count": f"({index} - 1)"}.get(
            self.spec.iteration
        )

    @cached_property
    def one_based(self) -> str | None:
        index = self.spec.index
        return {
            "enumerate0": f"({index} + 1)",
            "manual": f"({index} + 1)",
            "enumerate1": index,
            "count": index,
        }.get(self.spec.iteration)

    @cached_property
    def uses_scaler(self) -> bool:
        return self.spec.framework == "plain" and self.spec.amp not in ("none", "bfloat16")

    @cached_property
    def has_epochs(self) -> bool:
        return self.spec.frame == "fit" or (self.spec.frame in ("method", "script") and self.spec.epochs)

    @cached_property
    def in_function(self) -> bool:
        """Whether settings can be given as parameters with a default."""
        return self.spec.frame != "script"

    @cached_property
    def helper(self) -> str:
        """What stands in a function of its own: the loss, or the update where it needs nothing but its arguments."""
        spec = self.spec
        if spec.helper == "update" and (spec.framework != "plain" or spec.amp in ("optional", "disabled")):
            return "inline"
        return spec.helper

    @cached_property
    def branch(self) -> str:
        spec = self.spec
        scales_by_statement = spec.scale in ("rebound", "in_place", "inverse", "helper")
        if spec.branch == "skip_nan":
            return "skip_nan"
        if not scales_by_statement or self.spec.tail == "true_length":
            return "none"
        if spec.branch in ("first", "log", "both") and self.zero_based is None:
            return "none"
        if spec.branch == "epoch" and not self.has_epochs:
            return "none"
        if spec.branch == "debug" and not self.in_function:
            return "first" if self.zero_based else "none"
        return spec.branch

    @cached_property
    def gate(self) -> str:
        spec = self.spec
        if spec.gate in ("phase", "off_phase", "floor") and self.one_based is None:
            return "modulus"
        return spec.gate

    @cached_property
    def accumulates(self) -> bool:
        """Whether accelerate's `accumulate()` is the gate."""
        return self.spec.framework == "accelerate" and self.gate in ("accumulate", "nested")

    # ------------------------------------------------------------ the file

    def text(self) -> str:
        body = _Lines()
        self.lines, body.lines = body.lines, self.lines
        self._program()
        program = self.lines
        self.lines = []
        self._imports("\n".join(program))
        self.add(*program)
        return "\n".join(self.lines).rstrip() + "\n"

    def _imports(self, program: str) -> None:
        if "itertools." in program:
            self.add("import itertools")
        if "logging." in program:
            self.add("import logging")
        if "ArgumentParser" in program:
            self.add("from argparse import ArgumentParser")
        if self.lines:
            self.add("")
        if "np." in program:
            self.add("import numpy as np")
        self.add("import torch")
        if "F." in program:
            self.add("import torch.nn.functional as F")
        if "wandb." in program:
            self.add("import wandb")
        if "Accelerator(" in program:
            self.add("from accelerate import Accelerator")
        if "Fabric(" in program:
            self.add("from lightning.fabric import Fabric")
        if "nn." in program.replace("torch.nn.", ""):
            self.add("from torch import nn")
        if "DataLoader(" in program:
            self.add("from torch.utils.data import DataLoader")
        if "tqdm(" in program:
            self.add("from tqdm import tqdm")
        if "Net()" in program:
            self.add("", "from data import train_set", "from models import Net")
        self.add("")

    def _program(self) -> None:
        spec = self.spec
        if spec.sink == "logger":
            self.add("logger = logging.getLogger(__name__)")
        if spec.criterion == "module" and spec.frame != "script":
            self.add(f"criterion = {self.criterion_expression()}")
        if self.lines:
            self.add("")
        if spec.accumulator == "meter":
            self.add("", *_METER.splitlines(), "")
        self._helpers()
        getattr(self, f"_frame_{spec.frame}")()

    # ------------------------------------------------------------ frames

    def _parameters(self, *names: str) -> str:
        spec = self.spec
        given = list(names)
        if spec.criterion == "parameter":
            given.append("criterion")
        if self.uses_scaler and spec.clip == "right":
            given.append("scaler")
        if spec.sink == "writer":
            given.append("writer")
        given += ["args"] if spec.settings == "args" else []
        given += [f"{name}={value}" for name, value in self._numbers() if spec.settings != "args"]
        return ", ".join(given + [f"{flag}=False" for flag in self._needed_flags()])

    def _numbers(self) -> list[tuple[str, int]]:
        spec, sizes = self.spec, self.sizes
        numbers = [(spec.window_name, sizes.window)]
        if spec.log in ("running", "loss") or self.branch == "log":
            numbers.append(("log_every", sizes.log_every))
        if self.has_epochs:
            numbers.append(("epochs", sizes.epochs))
        return numbers

    def _needed_flags(self) -> list[str]:
        flags = []
        if self.branch == "debug":
            flags.append("debug")
        if self.uses_scaler and self.spec.amp in ("optional", "disabled") and self.in_function:
            flags.append("use_amp")
        self.flags.update(flags)
        return flags

    def _frame_function(self) -> None:
        with self.block(f"def train_epoch({self._parameters('model', 'loader', 'optimizer')}):"):
            self._before()
            self._epoch()

    def _frame_fit(self) -> None:
        with self.block(f"def train({self._parameters('model', 'loader', 'optimizer')}):"):
            self._before()
            self._all_epochs()

    def _frame_method(self) -> None:
        parameters = self._parameters("self", "model", "loader", "optimizer")
        with self.block("class Trainer:"):
            with self.block(f"def __init__({parameters}):"):
                for name in parameters.split(", ")[1:]:
                    name = name.partition("=")[0]
                    self.add(f"self.{name} = {name}")
                if self.spec.criterion == "local":
                    self.add(f"self.criterion = {self.criterion_expression()}")
                if self.uses_scaler and self.spec.clip != "right":
                    self.add(f"self.scaler = {self._scaler_expression()}")
                if self.gate == "global_step":
                    self.add("self.global_step = 0")
            self.add("")
            with self.block(f"def {'fit' if self.has_epochs else 'train_epoch'}(self):"):
                self._before()
                if self.has_epochs:
                    self._all_epochs()
                else:
                    self._epoch()

    def _frame_script(self) -> None:
        if self.spec.settings == "args":
            self.add("parser = ArgumentParser()")
            for name, value in self._numbers():
                self.add(f'parser.add_argument("--{name}", type=int, default={value})')
            self.add("args = parser.parse_args()", "")
        else:
            self.add(*(f"{name.upper()} = {value}" for name, value in self._numbers()))
        self.add(f"BATCH_SIZE = {self.sizes.batch_size}", "")
        self.add("model = Net()")
        self.add("loader = DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True)")
        self.add("optimizer = torch.optim.SGD(model.parameters(), lr=0.1)")
        if self.spec.sink == "writer":
            self.add("writer = torch.utils.tensorboard.SummaryWriter()")
        self._before()
        if self.has_epochs:
            self._all_epochs()
        else:
            self._epoch()

    def entry(self) -> str:
        """The call of what the file defines."""
        spec = self.spec
        if spec.frame == "script":
            return ""
        given = ["model", "loader", "optimizer"]
        given += ["criterion=criterion"] if spec.criterion == "parameter" else []
        given += ["scaler=scaler"] if self.uses_scaler and spec.clip == "right" else []
        given += ["writer=writer"] if spec.sink == "writer" else []
        if spec.settings == "args":
            given.append(f"args=args({', '.join(f'{name}={value}' for name, value in self._numbers())})")
        given += ["**flags"]
        call = f"({', '.join(given)})"
        if spec.frame == "method":
            return f"Trainer{call}.{'fit' if self.has_epochs else 'train_epoch'}()"
        return f"{'train' if spec.frame == 'fit' else 'train_epoch'}{call}"

    # ------------------------------------------------------------ helpers

    def _helpers(self) -> None:
        spec = self.spec
        if spec.scale == "helper":
            with self.block("def scale_loss(loss, steps):"):
                self.add("return loss / steps")
            self.add("", "")
        if spec.scale == "expression" and spec.scale_where == "function" and not self._special_backward():
            with self.block("def accumulate_gradients(loss, steps):"):
                self.add("(loss / steps).backward()")
            self.add("", "")
        if self.helper == "loss":
            self._loss_helper()
        if self.helper == "update":
            self._update_helper()

    def _loss_helper(self) -> None:
        made = self.loss_expression("outputs", "targets", "inputs", "criterion")
        with self.block(f"def compute_loss({', '.join(self._loss_arguments('model', 'criterion'))}):"):
            self.add("outputs = model(inputs)", f"return {made}")
        self.add("", "")

    def _loss_arguments(self, model: str, criterion: str) -> list[str]:
        given = [] if self.spec.criterion in ("functional", "module") and self.spec.frame != "script" else [criterion]
        given = [] if self.spec.criterion == "functional" else given
        return [model, "inputs", "targets", *given]

    def _update_helper(self) -> None:
        self.inside_helper = True
        with self.block(f"def update({', '.join(self._update_arguments())}):"):
            self._update_now()
        self.inside_helper = False
        self.add("", "")

    def _update_arguments(self) -> list[str]:
        """The names that an update needs, as parameters inside the helper and as arguments outside."""
        names = ["model", "optimizer", *(["scaler"] if self.uses_scaler else [])]
        steps = [self.window] if self.spec.scale == "gradients" else []
        return [*map(self.own, names), *steps]

    def _special_backward(self) -> bool:
        return self.uses_scaler or self.spec.framework != "plain"

    # ------------------------------------------------------------ before the loop

    def _before(self) -> None:
        spec = self.spec
        if spec.framework == "accelerate":
            told = f"gradient_accumulation_steps={self.window}" if self.accumulates else ""
            self.add(f"accelerator = Accelerator({told})")
            names = [self.own(name) for name in ("model", "loader", "optimizer")]
            self.add(f"{', '.join(names)} = accelerator.prepare({', '.join(names)})")
        if spec.framework == "fabric":
            self.add('fabric = Fabric(accelerator="cpu", devices=1)')
            model, loader, optimizer = (self.own(name) for name in ("model", "loader", "optimizer"))
            self.add(f"{model}, {optimizer} = fabric.setup({model}, {optimizer})")
            self.add(f"{loader} = fabric.setup_dataloaders({loader})")
        if self._makes_criterion:
            self.add(f"criterion = {self.criterion_expression()}")
        if self.uses_scaler and spec.frame != "method" and (spec.clip != "right" or spec.frame == "script"):
            self.add(f"scaler = {self._scaler_expression()}")
        if spec.scale == "inverse":
            self.add(f"inverse = 1.0 / {self.window}")
        if self.gate == "global_step" and spec.frame != "method":
            self.add("global_step = 0")

    @property
    def _makes_criterion(self) -> bool:
        spec = self.spec
        if spec.criterion == "functional":
            return False
        return spec.frame == "script" or (spec.criterion == "local" and spec.frame != "method")

    @cached_property
    def criterion(self) -> str:
        return self.own("criterion") if self.spec.criterion in ("local", "parameter") else "criterion"

    def _scaler_expression(self) -> str:
        if self.spec.amp == "disabled":
            enabled = self.own("use_amp") if self.in_function else "False"
            return f'torch.amp.GradScaler("cuda", enabled={enabled})'
        return "torch.cuda.amp.GradScaler()" if self.spec.index == "i" else 'torch.amp.GradScaler("cuda")'

    def _all_epochs(self) -> None:
        spec = self.spec
        if spec.sink == "returned" and self.in_function:
            self.add("history = []")
        with self.block(f"for epoch in range({self.setting('epochs')}):"):
            self._epoch()
        if spec.sink == "returned" and self.in_function:
            self.add("return history")

    # ------------------------------------------------------------ one pass

    def _epoch(self) -> None:
        self.add(f"{self.own('model')}.train()")
        self._initial_values()
        if self.spec.zero != "never" and not self.accumulates:
            self._zero()
        if self.gate in ("counter", "countdown"):
            self.add("pending = 0" if self.gate == "counter" else f"remaining = {self.window}")
        self._loop()
        self._flush()
        self._report()

    def _initial_values(self) -> None:
        spec = self.spec
        start = {
            "total": "total_loss = 0.0",
            "list": "losses = []",
            "meter": "meter = AverageMeter()",
            "detached": "total_loss = torch.zeros(())",
            "attached": "total_loss = 0.0",
        }.get(spec.accumulator)
        self.add(*([start] if start else []))
        if self._summed:
            counter = {"counted": "num_batches = 0", "steps": "num_updates = 0", "samples": "num_samples = 0"}
            self.add(*([counter[spec.divisor]] if spec.divisor in counter else []))
        if spec.log == "running":
            self.add("running_loss = 0.0")

    @property
    def _summed(self) -> bool:
        return self.spec.accumulator in ("total", "detached", "attached", "list")

    def _loop(self) -> None:
        spec = self.spec
        loader = self.own("loader")
        walked = f"tqdm({loader})" if spec.progress and spec.framework == "plain" else loader
        index = spec.index
        batch = "(inputs, targets)"
        if spec.iteration == "inner":
            self.add(f"batches = iter({loader})")
            with self.block(f"for group in range(len({loader}) // {self.window}):"):
                with self.block(f"for micro in range({self.window}):"):
                    self.add("inputs, targets = next(batches)")
                    self._body()
                self._update()
            return
        if spec.iteration == "manual":
            self.add(f"batches = iter({loader})")
            with self.block(f"for {index} in range(len({loader})):"):
                self.add("inputs, targets = next(batches)")
                self._body()
            return
        header = {
            "enumerate0": f"for {index}, {batch} in enumerate({walked}):",
            "enumerate1": f"for {index}, {batch} in enumerate({walked}, start=1):",
            "count": f"for {index}, {batch} in zip(itertools.count(1), {loader}):",
            "plain": f"for inputs, targets in {walked}:",
        }[spec.iteration]
        with self.block(header):
            self._body()

    def _body(self) -> None:
        spec = self.spec
        if spec.tail == "trimmed" and spec.iteration in ("enumerate0", "manual"):
            loader = self.own("loader")
            with self.block(f"if {spec.index} >= len({loader}) - len({loader}) % {self.window}:"):
                self.add("break")
        if self.accumulates:
            with self.block(f"with accelerator.accumulate({self.own('model')}):"):
                if self.gate == "nested":
                    with self.block(f"with accelerator.accumulate({self.own('model')}):"):
                        self._micro_batch()
                        self._update()
                else:
                    self._micro_batch()
                    self._update()
            self._after_backward()
            return
        if spec.zero == "every":
            self._zero()
        if spec.zero == "start" and self.zero_based is not None:
            with self.block(f"if {self.zero_based} % {self.window} == 0:"):
                self._zero()
        self._micro_batch()
        self._after_backward()
        if self.gate != "inner":
            self._gated_update()

    # ------------------------------------------------------------ forward, scale, backward

    def _micro_batch(self) -> None:
        spec = self.spec
        loss = spec.loss
        context = self._autocast()
        model = self.own("model")
        forward = [f"outputs = {model}(inputs)"]
        made = self.loss_expression("outputs", "targets", "inputs", self.criterion)
        if self.helper == "loss":
            forward, made = [], f"compute_loss({', '.join(self._loss_arguments(model, self.criterion))})"
        if spec.scale == "at_loss":
            made = f"{made} / {self.window}"
        if context:
            with self.block(f"with {context}:"):
                self.add(*forward, f"{loss} = {made}")
        else:
            self.add(*forward, f"{loss} = {made}")
        if self.branch == "skip_nan":
            with self.block(f"if torch.isnan({loss}):"):
                self.add('print("skipping a batch that is not a number")', "continue")
        if spec.accumulate_at == "before":
            self._accumulate()
        self._scale()
        self._backward()
        if spec.scale == "after":
            self.add(f"{loss} = {loss} / {self.window}")

    def _autocast(self) -> str:
        if self.spec.framework != "plain":
            return ""
        if self.spec.amp == "bfloat16":
            return 'torch.autocast("cpu", dtype=torch.bfloat16)'
        if self.spec.amp == "none":
            return ""
        if self.spec.amp in ("optional", "disabled") and self.in_function:
            return f'torch.autocast("cpu", enabled={self.own("use_amp")})'
        return 'torch.autocast("cpu")'

    def _scale(self) -> None:
        spec = self.spec
        loss, window = spec.loss, self.window
        if spec.tail == "true_length" and spec.scale in ("rebound", "in_place") and self.zero_based is not None:
            loader = self.own("loader")
            begun = f"{self.zero_based} // {window} * {window}"
            self.add(f"length = min({window}, len({loader}) - {begun})")
            self.add(f"{loss} = {loss} / length")
            return
        line = {
            "rebound": f"{loss} = {loss} / {window}",
            "in_place": f"{loss} /= {window}",
            "alias": f"scaled_loss = {loss} / {window}",
            "inverse": f"{loss} = {loss} * inverse",
            "helper": f"{loss} = scale_loss({loss}, {window})",
            "twice": f"{loss} = {loss} / {window}",
            "unused": f"scaled_loss = {loss} / {window}",
            "by_index": f"{loss} = {loss} / {self.one_based}" if self.one_based else "",
            "by_batch": f"{loss} = {loss} / inputs.size(0)",
            "by_batches": f"{loss} = {loss} / len({self.own('loader')})",
            "back_and_forth": f"{loss} = {loss} / {window} * {window}",
        }.get(spec.scale)
        if not line:
            return
        condition = {
            "debug": self.own("debug"),
            "first": f"{self.zero_based} == 0",
            "log": f"{self.zero_based} % {self.setting('log_every')} == 0",
            "window": f"{window} > 1",
            "finite": f"torch.isfinite({loss})",
            "epoch": "epoch == 0",
            "both": f"{self.zero_based} % 2 == 0",
        }.get(self.branch)
        if condition is None:
            self.add(line)
            return
        with self.block(f"if {condition}:"):
            if self.branch in ("first", "debug", "log"):
                self.add(f'print("device", {loss}.device)')
            self.add(line)
        if self.branch == "both":
            with self.block("else:"):
                self.add(line)

    def _backward(self) -> None:
        spec = self.spec
        expression = {
            "alias": "scaled_loss",
            "expression": f"({spec.loss} / {self.window})",
            "twice": f"({spec.loss} / {self.window})",
        }.get(spec.scale, spec.loss)
        if spec.framework == "accelerate":
            self.add(f"accelerator.backward({expression.strip('()')})")
        elif spec.framework == "fabric":
            self.add(f"fabric.backward({expression.strip('()')})")
        elif not self.uses_scaler or spec.amp == "unscaled_backward":
            if spec.scale == "expression" and spec.scale_where == "function" and not self._special_backward():
                self.add(f"accumulate_gradients({spec.loss}, {self.window})")
            else:
                self.add(f"{expression}.backward()")
        elif spec.amp == "optional" and self.in_function:
            with self.block(f"if {self.own('use_amp')}:"):
                self.add(f"{self.own('scaler')}.scale({expression.strip('()')}).backward()")
            with self.block("else:"):
                self.add(f"{expression}.backward()")
        else:
            self.add(f"{self.own('scaler')}.scale({expression.strip('()')}).backward()")

    # ------------------------------------------------------------ what is reported

    def _after_backward(self) -> None:
        spec = self.spec
        if spec.accumulate_at == "after":
            self._accumulate()
        if spec.log == "loss" and self.zero_based is not None:
            with self.block(f"if {self.zero_based} % {self.setting('log_every')} == 0:"):
                self.add(f'print(f"{spec.index} {{{spec.index}}} loss {{{spec.loss}.item():.4f}}")')
        if spec.log == "running" and self.one_based is not None:
            self.add(f"running_loss += {spec.loss}.item()")
            every = self.setting("log_every")
            with self.block(f"if {self.one_based} % {every} == 0:"):
                self.add(f'print("loss", running_loss / {every})', "running_loss = 0.0")

    def _accumulate(self) -> None:
        spec = self.spec
        if spec.accumulator in ("none", "last"):
            return
        tensor = "scaled_loss" if spec.value == "scaled" and self._has_alias else spec.loss
        if spec.accumulator == "attached":
            value = tensor
        elif spec.accumulator == "detached":
            value = f"{tensor}.detach()"
        else:
            value = f"{tensor}.item()"
        if spec.accumulator == "meter":
            count = ", inputs.size(0)" if spec.value == "times_batch" else ""
            factor = f" * {self.window}" if spec.value == "times_window" else ""
            self.add(f"meter.update({value}{factor}{count})")
            return
        if spec.value == "times_window":
            value = f"{value} * {self.window}"
        if spec.value == "times_batch":
            value = f"{value} * inputs.size(0)"
        if spec.accumulator == "list":
            self.add(f"losses.append({value})")
        else:
            self.add(f"total_loss += {value}")
        if spec.divisor == "counted":
            self.add("num_batches += 1")
        if spec.divisor == "samples":
            self.add("num_samples += inputs.size(0)")

    @property
    def _has_alias(self) -> bool:
        return self.spec.scale in ("alias", "unused") and self.spec.accumulate_at == "after"

    def _report(self) -> None:
        figure = self._figure()
        if figure is None:
            return
        spec = self.spec
        if spec.sink == "returned" and self.in_function:
            self.add(f"history.append({figure})" if self.has_epochs else f"return {figure}")
        elif spec.sink == "logger":
            self.add(f'logger.info("train loss %.6f", {figure})')
        elif spec.sink == "writer":
            self.add(f'{self.own("writer")}.add_scalar("train/loss", {figure}, {"epoch" if self.has_epochs else 0})')
        elif spec.sink == "wandb":
            self.add(f'wandb.log({{"train/loss": {figure}}})')
        else:
            self.add(f"average = {figure}", 'print(f"train loss {average:.4f}")')

    def _figure(self) -> str | None:
        spec = self.spec
        if spec.accumulator == "none":
            return None
        if spec.accumulator == "last":
            return f"{spec.loss}.item()"
        if spec.accumulator == "meter":
            return "meter.avg"
        total = "sum(losses)" if spec.accumulator == "list" else "total_loss"
        if spec.accumulator == "list" and spec.divisor in ("batches", "nothing", "index"):
            return "np.mean(losses)" if spec.divisor == "batches" else "sum(losses) / len(losses)"
        loader = self.own("loader")
        divisor = {
            "batches": f"len({loader})",
            "counted": "num_batches",
            "steps": "num_updates",
            "samples": "num_samples",
            "dataset": f"len({loader}.dataset)",
            "index": self.one_based or f"len({loader})",
            "window": self.window,
            "nothing": "",
        }[spec.divisor]
        figure = f"{total} / {divisor}" if divisor else total
        if spec.accumulator in ("attached", "detached"):
            figure = f"({figure}).item()" if divisor else f"{total}.item()"
        return figure

    # ------------------------------------------------------------ step

    def _condition(self) -> str:
        spec = self.spec
        window, index = self.window, spec.index
        counted = self.one_based or ""
        if self.gate == "off_phase":
            condition = f"{self.zero_based} % {window} == 0"
        elif self.gate == "phase":
            condition = f"{self.zero_based} % {window} == {window} - 1"
        elif self.gate == "floor":
            condition = f"{counted} // {window} > {self.zero_based} // {window}"
        elif self.gate == "negated":
            condition = f"not {counted} % {window}"
        else:
            condition = f"{counted} % {window} == 0"
        if spec.tail in ("last", "true_length"):
            loader = self.own("loader")
            last = f"{index} == len({loader})" if counted == index else f"{index} + 1 == len({loader})"
            condition = f"{condition} or {last}"
        return condition

    def _gated_update(self) -> None:
        spec = self.spec
        if self.gate == "counter":
            self.add("pending += 1")
            with self.block(f"if pending == {self.window}:"):
                self._update()
                self.add("pending = 0")
        elif self.gate == "countdown":
            self.add("remaining -= 1")
            with self.block("if remaining == 0:"):
                self._update()
                self.add(f"remaining = {self.window}")
        elif self.gate == "global_step":
            step = self.own("global_step")
            self.add(f"{step} += 1")
            with self.block(f"if {step} % {self.window} == 0:"):
                self._update()
        elif spec.gate_style == "flag":
            self.add(f"should_step = {self._condition()}")
            with self.block("if should_step:"):
                self._update()
        elif spec.gate_style == "skip":
            with self.block(f"if not ({self._condition()}):"):
                self.add("continue")
            self._update()
        else:
            with self.block(f"if {self._condition()}:"):
                self._update()

    def _update(self) -> None:
        if self.helper == "update":
            self.add(f"update({', '.join(self._update_arguments())})")
        else:
            self._update_now()
        if self._summed and self.spec.divisor == "steps":
            self.add("num_updates += 1")

    def _update_now(self) -> None:
        spec = self.spec
        optimizer, scaler = self.own("optimizer"), self.own("scaler")
        scales = self.uses_scaler
        parameters = f"{self.own('model')}.parameters()"
        if spec.zero == "early" and not self.accumulates:
            self._zero()
        if scales and spec.clip == "right" and spec.amp != "optional":
            self.add(f"{scaler}.unscale_({optimizer})")
        if spec.scale == "gradients":
            with self.block(f"for parameter in {parameters}:"), self.block("if parameter.grad is not None:"):
                self.add(f"parameter.grad /= {self.window}")
        clip = ""
        if spec.clip in ("right", "unscaled_first", "late"):
            clip = f"torch.nn.utils.clip_grad_norm_({parameters}, 1.0)"
        if spec.clip == "value":
            clip = f"torch.nn.utils.clip_grad_value_({parameters}, 1.0)"
        if spec.framework == "accelerate":
            clip = clip.replace("torch.nn.utils.", "accelerator.")
        if spec.framework == "fabric" and clip:
            clip = f"fabric.clip_gradients({self.own('model')}, {optimizer}, max_norm=1.0)"
        if clip and spec.clip != "late" and not (scales and spec.amp == "optional"):
            self.add(clip)
        self._step(optimizer, scaler, scales)
        if clip and spec.clip == "late":
            self.add(clip)
        if spec.zero == "after" or (spec.zero in ("every", "start", "early") and self.accumulates):
            self._zero()

    def _step(self, optimizer: str, scaler: str, scales: bool) -> None:
        spec = self.spec
        if scales and spec.amp == "optional" and self.in_function:
            with self.block(f"if {self.own('use_amp')}:"):
                self.add(f"{scaler}.step({optimizer})", f"{scaler}.update()")
            with self.block("else:"):
                self.add(f"{optimizer}.step()")
        elif scales and spec.amp != "bypassed":
            self.add(f"{scaler}.step({optimizer})")
            self.add(*([] if spec.amp == "no_update" else [f"{scaler}.update()"]))
        else:
            self.add(f"{optimizer}.step()")

    def _zero(self) -> None:
        spec = self.spec
        if spec.zero_call == "model":
            self.add(f"{self.own('model')}.zero_grad()")
        elif spec.zero_call == "none" and spec.framework == "plain":
            with self.block(f"for parameter in {self.own('model')}.parameters():"):
                self.add("parameter.grad = None")
        else:
            self.add(f"{self.own('optimizer')}.zero_grad()")

    def _flush(self) -> None:
        spec = self.spec
        if spec.tail != "flush" or self.accumulates:
            return
        if self.gate == "counter":
            condition = "pending > 0"
        elif self.gate == "countdown":
            condition = f"remaining < {self.window}"
        elif self.gate == "global_step":
            condition = f"len({self.own('loader')}) % {self.window} != 0"
        elif self.one_based is not None:
            condition = f"{self.one_based} % {self.window} != 0"
        else:
            return
        with self.block(f"if {condition}:"):
            self._update()


class _Lightning(_Base):
    """A LightningModule: automatic optimisation, or manual with a window of its own."""

    @property
    def manual(self) -> bool:
        return self.spec.iteration in ("enumerate0", "plain")

    def own(self, name: str) -> str:
        return f"self.{name}"

    @property
    def window(self) -> str:
        return f"self.{self.spec.window_name}"

    def text(self) -> str:
        spec = self.spec
        self.add("import lightning as L", "import torch")
        if spec.criterion == "functional":
            self.add("import torch.nn.functional as F")
        self.add("from torch import nn", "", "")
        with self.block("class LitModel(L.LightningModule):"):
            with self.block(f"def __init__(self, model, {spec.window_name}={self.sizes.window}):"):
                self.add("super().__init__()", "self.model = model", f"{self.window} = {spec.window_name}")
                self.add(f"self.criterion = {self.criterion_expression()}")
                self.add(*(["self.automatic_optimization = False"] if self.manual else []))
            self.add("")
            with self.block("def training_step(self, batch, batch_idx):"):
                self._step()
            self.add("")
            with self.block("def configure_optimizers(self):"):
                self.add("return torch.optim.SGD(self.model.parameters(), lr=0.1)")
        return "\n".join(self.lines) + "\n"

    def entry(self) -> str:
        return "fit(LitModel(model))"

    def _step(self) -> None:
        spec = self.spec
        self.add("inputs, targets = batch", "outputs = self.model(inputs)")
        self.add(f"loss = {self.loss_expression('outputs', 'targets', 'inputs', 'self.criterion')}")
        scaled = spec.scale not in ("missing", "gradients", "after")
        if spec.accumulate_at == "before":
            self.add('self.log("train_loss", loss)')
        if scaled:
            self.add(f"loss = loss / {self.window}")
        if self.manual:
            self.add("self.manual_backward(loss)")
            with self.block(f"if (batch_idx + 1) % {self.window} == 0:"):
                self.add("optimizer = self.optimizers()", "optimizer.step()", "optimizer.zero_grad()")
        if spec.accumulate_at == "after":
            self.add('self.log("train_loss", loss)')
        if not self.manual:
            self.add("return loss")
