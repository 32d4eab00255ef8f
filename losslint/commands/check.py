"""`losslint [check] PATHS…`: lint files and folders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from losslint import __version__
from losslint.commands import COMMANDS
from losslint.commands.shared import Exit, add_color, command_parser, misuse, say

if TYPE_CHECKING:
    from losslint.check import Report

_HELP = (
    "commands:\n"
    + "".join(f"  losslint {name} {explanation}\n" for name, explanation in COMMANDS.items())
    + """
exit codes: 0 nothing found, 1 errors or warnings found, 2 a path, an option or the configuration cannot be used
"""
)


def run(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    from losslint import selection
    from losslint.check import Wishes, check
    from losslint.config import ConfigError, Configs
    from losslint.discovery import discover
    from losslint.findings import Severity
    from losslint.output import MACHINE_FORMATS, render, terminal
    from losslint.progress import ProgressBar

    if options.select is not None and not any(map(str.strip, options.select)):
        return misuse("`--select` names no code")
    if options.config is not None and not options.config.is_file():
        return misuse(f"no such file: `{options.config}`")
    if options.statistics and options.output_format == "lsp":
        return misuse("`--statistics` has no `lsp` format")
    configs = Configs(options.isolated, None if options.config is None else options.config.absolute())
    try:
        wishes = Wishes(
            select=None if options.select is None else selection.normalise(options.select),
            extend_select=selection.normalise(options.extend_select or ()),
            ignore=selection.normalise(options.ignore or ()),
            min_severity=None if options.min_severity is None else Severity[options.min_severity.upper()],
        )
        found = discover(options.paths, configs)
        with ProgressBar() as progress:
            report = check(found, configs, wishes, progress)
    except selection.SelectorError as error:
        return misuse(str(error))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.MISUSED
    _complain(report, options.verbose)
    colour = options.output_format not in MACHINE_FORMATS and terminal.wants_colour(options.color, sys.stdout)
    if options.statistics:
        from losslint.output import statistics

        lines = statistics.render(report, as_json=options.output_format == "json")
    else:
        lines = render(options.output_format, report, terminal.width(sys.stdout))
    terminal.write(lines, sys.stdout, colour)
    if report.failed:
        return Exit.MISUSED
    return Exit.FOUND if report.broken and not options.exit_zero else Exit.CLEAN


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("losslint [check]", "Find broken loss arithmetic in PyTorch training code.", _HELP)
    add = parser.add_argument
    add("paths", nargs="*", default=["."], metavar="PATHS", help="files and folders (default: the current folder)")
    add("--version", action="version", version=f"losslint {__version__}")
    choose = parser.add_argument_group("what is reported")
    for option, explanation in (
        ("--select", "only these: codes, prefixes such as LL1, names, ALL; comma-separated"),
        ("--ignore", "all but these"),
        ("--extend-select", "these as well"),
    ):
        choose.add_argument(option, action="extend", type=_codes, metavar="CODES", help=explanation)
    choose.add_argument(
        "--min-severity", choices=("info", "warning", "error"), help="hide what is less certain (default: warning)"
    )
    show = parser.add_argument_group("how it is shown")
    show.add_argument("--output-format", choices=("full", "concise", "json", "lsp"), default="full")
    show.add_argument("--statistics", action="store_true", help="show how often each code was found instead")
    add_color(show)
    show.add_argument("--verbose", action="store_true", help="say which files the analysis could not finish, and why")
    show.add_argument("--exit-zero", action="store_true", help="exit with 0 even where something is found")
    where = parser.add_argument_group("configuration").add_mutually_exclusive_group()
    where.add_argument("--config", type=Path, metavar="FILE", help="read `[tool.losslint]` of this file only")
    where.add_argument("--isolated", action="store_true", help="read no configuration")
    add("--no-cache", action="store_true", help="analyse every file afresh")
    return parser


def _codes(text: str) -> list[str]:
    return text.split(",")


def _complain(report: Report, verbose: bool) -> None:
    """Say on standard error what could not be checked, and with `verbose` what was not finished."""
    from losslint.output.text import escape

    for trouble in report.troubles:
        say(f"error: {escape(trouble.name)}: {trouble.message}")
    for file in report.files:
        if file.failure is not None:
            say(f"error: {escape(file.name)}: {escape(file.failure)}")
        if verbose:
            for note in file.notes:
                say(f"note: {escape(file.name)}: {escape(note)}")
            if file.detail:
                say(file.detail.rstrip())
    if not report.files and not report.troubles:
        say("warning: no Python files found")
