"""What the commands of the command line share: exit codes, the shape of a parser, and how trouble is told."""

from __future__ import annotations

import argparse
import sys
from enum import IntEnum


class Exit(IntEnum):
    """What the process ends with."""

    CLEAN = 0
    FOUND = 1
    MISUSED = 2
    UNDECIDED = 3
    INTERRUPTED = 130
    PIPE_CLOSED = 141


EXIT_CODES = """\
exit codes:
  0    nothing found, or nothing but `info`
  1    errors or warnings found
  2    a path, an option, the configuration or an output cannot be used"""
"""The end of the help of a command that reports findings."""


def command_parser(program: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of one command, its help laid out as written."""
    return argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_color(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """The option that decides on colour."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto colours a terminal, and heeds NO_COLOR and FORCE_COLOR",
    )


def misuse(message: str) -> int:
    """Say why the command cannot be run, and give its exit code."""
    say(f"error: {message}")
    return Exit.MISUSED


def say(message: str) -> None:
    """A line on standard error."""
    print(message, file=sys.stderr)
