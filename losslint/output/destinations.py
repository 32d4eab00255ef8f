"""Where reports go: one format to standard output or a file, others to files beside it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from losslint.output import FORMATS, MACHINE_FORMATS, render, terminal
from losslint.selection import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from losslint.check import Report
    from losslint.output.text import Line


@dataclass(frozen=True, slots=True)
class Destination:
    """A format and the file that it goes to; None is standard output. `counts`: how often each code was found."""

    format: str
    file: Path | None
    counts: bool = False


class UnusableError(Exception):
    """A destination that cannot be used; the message says why."""


def parsed(text: str) -> Destination:
    """`FORMAT=FILE` as a destination. Raises `UnusableError`."""
    name, equals, file = text.partition("=")
    if not equals or not file:
        raise UnusableError(f"`--output {text}`: expected `FORMAT=FILE`, such as `sarif=losslint.sarif`")
    if name not in FORMATS:
        raise UnusableError(f"`--output {text}`: unknown format `{name}`{nearest(name, FORMATS)}")
    return Destination(name, Path(file))


def verified(destinations: Iterable[Destination]) -> tuple[Destination, ...]:
    """The destinations, each of which can be tried. Raises `UnusableError`, so that no long run is for nothing."""
    result = tuple(destinations)
    files = [os.path.abspath(one.file) for one in result if one.file is not None]
    for destination in result:
        file = destination.file
        if file is not None:
            if files.count(os.path.abspath(file)) > 1:
                raise UnusableError(f"two outputs go to `{file}`")
            if not os.path.isdir(os.path.dirname(file) or "."):
                raise UnusableError(f"cannot write `{file}`: no such folder")
    return result


def write(destination: Destination, report: Report, color: str) -> None:
    """Write the report in its format; a file is never coloured. Raises `UnusableError`, for a full disk as well."""
    file = destination.file
    if file is None:
        colour = destination.format not in MACHINE_FORMATS and terminal.wants_colour(color, sys.stdout)
        try:
            terminal.write(_lines(destination, report, terminal.width(sys.stdout)), sys.stdout, colour)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UnusableError(f"cannot write standard output: {_reason(error)}") from None
        return
    try:
        with open(file, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            terminal.write(_lines(destination, report, terminal.PLAIN_WIDTH), stream, colour=False)
    except OSError as error:
        raise UnusableError(f"cannot write `{file}`: {_reason(error)}") from None


def _lines(destination: Destination, report: Report, width: int) -> Iterable[Line]:
    if destination.counts:
        from losslint.output import statistics

        return statistics.render(report, destination.format)
    return render(destination.format, report, width)


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()
