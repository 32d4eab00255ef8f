"""Where scripts report their loss: what is printed, logged, or given to a framework's or a board's log."""

from __future__ import annotations

import builtins
import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from losslint.runtime.observe import places
from losslint.runtime.observe.patches import Patches
from losslint.runtime.observe.recorder import Recorder
from losslint.runtime.observe.records import Figure

_NUMBER = re.compile(
    r"(?P<name>[\w/]*loss\w*)[\"')\]]*\s*[:=]?\s*[\"'(\[]*(?:tensor\()?(?P<value>[-+]?\d+\.\d+(?:e[-+]?\d+)?)",
    re.IGNORECASE,
)
_OTHER_DATA = re.compile(r"val|test|eval|dev|best", re.IGNORECASE)
_BEFORE = 12
"""Characters before a name in which `validation` and its like are looked for."""
_LATE = (
    ("lightning.pytorch.core.module", "LightningModule", "log"),
    ("lightning.pytorch.core.module", "LightningModule", "log_dict"),
    ("pytorch_lightning.core.module", "LightningModule", "log"),
    ("transformers.trainer", "Trainer", "log"),
    ("accelerate.accelerator", "Accelerator", "log"),
    ("torch.utils.tensorboard.writer", "SummaryWriter", "add_scalar"),
    ("tqdm.std", "tqdm", "set_postfix"),
)
"""What is patched once the script has imported it: module, class, method."""


class Sinks:
    """Watches every sink; `catch_up` patches those whose modules have come in since."""

    def __init__(self, patches: Patches, recorder: Recorder) -> None:
        self._patches = patches
        self._recorder = recorder
        self._waiting = list(_LATE)
        patches.replace(builtins, "print", self._printing)
        patches.replace(logging.Logger, "handle", self._handling)

    def catch_up(self) -> None:
        for entry in list(self._waiting):
            module, owner, method = entry
            found = getattr(sys.modules.get(module), owner, None)
            if found is not None:
                self._waiting.remove(entry)
                self._patches.replace(found, method, functools.partial(self._logging, f"{owner}.{method}"))

    def _printing(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def print_(*given: Any, **named: Any) -> None:
            original(*given, **named)
            if given and len(given) < 50:
                self._read(" ".join(map(str, given)), "print")

        return print_

    def _handling(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def handle(logger: logging.Logger, record: logging.LogRecord) -> None:
            original(logger, record)
            self._read(record.getMessage(), "logging")

        return handle

    def _logging(self, sink: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def log(owner: Any, *given: Any, **named: Any) -> Any:
            for name, value in _named_values(given, named):
                self._take(name, value, sink)
            return original(owner, *given, **named)

        return log

    def _read(self, text: str, sink: str) -> None:
        if "loss" not in text and "Loss" not in text and "LOSS" not in text:
            return
        for match in _NUMBER.finditer(text):
            before = text[max(0, match.start() - _BEFORE) : match.end("name")]
            if not _OTHER_DATA.search(before):
                digits = match["value"].lower().partition("e")[0].partition(".")[2]
                value = float(match["value"])
                exponent = match["value"].lower().partition("e")[2] or "0"
                self._keep(match["name"], value, 0.5 * 10.0 ** (int(exponent) - len(digits)), sink)

    def _take(self, name: str, value: Any, sink: str) -> None:
        if "loss" not in name.lower() or _OTHER_DATA.search(name):
            return
        if isinstance(value, str):
            self._read(f"{name}: {value}", sink)
        elif isinstance(value, (int, float)) or (isinstance(value, torch.Tensor) and value.numel() == 1):
            number = value.detach() if isinstance(value, torch.Tensor) else value
            self._keep(name, float(number), 0.0, sink)

    def _keep(self, name: str, value: float, precision: float, sink: str) -> None:
        after = len(self._recorder.run.micro_batches)
        self._recorder.run.figures.append(Figure(name, value, precision, after, places.user_place(), sink))


def _named_values(given: tuple[Any, ...], named: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if len(given) > 1 and isinstance(given[0], str):
        yield given[0], given[1]
    elif "name" in named and "value" in named:
        yield str(named["name"]), named["value"]
    for value in given[:1]:
        if isinstance(value, Mapping):
            yield from ((str(key), entry) for key, entry in value.items())
    yield from ((key, entry) for key, entry in named.items() if "loss" in key)
