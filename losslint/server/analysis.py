"""What the analysing process does: it is asked on standard input, answers on standard output, and keeps what it parsed.

It is a process of its own so that an analysis which dies, hangs or takes long costs its answer and nothing else.
Each message is a pickle behind its length; both ends are the same losslint.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from losslint.baseline import BaselineError, known_findings
from losslint.check import FileReport, Report, Wishes, check, units
from losslint.config import ConfigError, Configs, Problem
from losslint.discovery import Discovery, Target, as_target, is_left_out
from losslint.selection import SelectorError, normalise
from losslint.server.settings import Settings
from losslint.sightings import NamedUnit
from losslint.unsaved import unsaved

HEADER = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Question:
    """What is open (absolute path → bytes), and which of it is to be judged; `units` asks for the units of names
    instead."""

    texts: Mapping[Path, bytes]
    judged: frozenset[Path]
    settings: Settings
    units: bool = False


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of the open files and of files that they call. `problems` lie in configuration files, `complaints` in
    the settings."""

    files: tuple[FileReport, ...] = ()
    problems: tuple[Problem, ...] = ()
    complaints: tuple[str, ...] = ()


def answer(question: Question) -> Findings | tuple[NamedUnit, ...]:
    """The answer to one question."""
    with unsaved(question.texts):
        return _units(question) if question.units else _findings(question)


def _findings(question: Question) -> Findings:
    settings = question.settings
    try:
        wishes = Wishes(
            None if settings.select is None else normalise(settings.select),
            normalise(settings.extend_select),
            normalise(settings.ignore),
            settings.min_severity,
            fixes=True,
        )
    except SelectorError as error:
        return Findings(complaints=(str(error),))
    configs = _configs(settings)
    problems: dict[Problem, None] = {}
    targets = list(_targets(question, configs, problems))
    try:
        report = check(Discovery(sorted(targets, key=lambda target: target.name)), configs, wishes)
    except ConfigError as error:
        # the file of a finding that lies elsewhere has a broken configuration
        return Findings(problems=tuple({**problems, **dict.fromkeys(error.problems)}))
    try:
        report = _without_known(report, configs)
    except BaselineError as error:
        return Findings(report.files, tuple(problems), (str(error),))
    return Findings(report.files, tuple(problems))


def _without_known(report: Report, configs: Configs) -> Report:
    """The report without what the configured baselines hold, as on the command line. Raises `BaselineError`."""
    chosen = {file.name: configs.of(Path(os.path.abspath(file.name)).parent).baseline for file in report.files}
    files = {name: baseline for name, baseline in chosen.items() if baseline is not None}
    hidden, _ = known_findings(list(report.findings), files)
    return report.without(lambda finding: id(finding) in hidden)


def _targets(question: Question, configs: Configs, problems: dict[Problem, None]) -> Iterator[Target]:
    for path in question.judged:
        try:
            if not is_left_out(path, configs):
                yield as_target(path, configs)
        except ConfigError as error:
            problems.update(dict.fromkeys(error.problems))


def _configs(settings: Settings) -> Configs:
    return Configs(file=None if settings.configuration is None else Path(settings.configuration).absolute())


def _units(question: Question) -> tuple[NamedUnit, ...]:
    configs = _configs(question.settings)
    return units(Discovery(list(_targets(question, configs, {}))), configs)


def read(stream: BinaryIO) -> bytes | None:
    """The next message, None at the end."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    return stream.read(HEADER.unpack(header)[0])


def main() -> None:
    """Answer until the questions end. `argv[1]` is the working directory of the server."""
    os.chdir(sys.argv[1])
    questions = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # nothing that is printed by mistake may end up among the answers
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while (message := read(questions)) is not None:
        data = pickle.dumps(answer(pickle.loads(message)))
        answers.write(HEADER.pack(len(data)) + data)
        answers.flush()
