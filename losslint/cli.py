"""The command line: `losslint [check] PATHS…`, `losslint rules`, `losslint explain CODE-OR-NAME`.

Nothing heavy is imported before it is known that it will be needed: `--version` needs none of it.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from losslint import __version__

if TYPE_CHECKING:
    from losslint.check import Report
    from losslint.selection import Entry

CLEAN, FOUND, MISUSED, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141

_COMMANDS_HELP = """\
commands:
  losslint [check] PATHS…          check files and folders (the default)
  losslint rules                   list every code
  losslint explain CODE-OR-NAME    print the page of a rule

exit codes: 0 nothing found, 1 errors or warnings found, 2 a path, an option or the configuration cannot be used
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        # a file name or a source line that the terminal's encoding lacks must not end the run
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    command: Callable[[list[str]], int] = _check
    if arguments and arguments[0] in _COMMANDS:
        command = _COMMANDS[arguments.pop(0)]
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read the output has seen enough; Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def run() -> None:
    """The console script: run the command line and end the process.

    The process ends at once: taking apart what a run has built takes Python longer than many a file takes to lint.
    """
    # nothing is freed that a run of one file would notice; longer runs collect between files
    gc.disable()
    code = main()
    sys.stderr.flush()
    os._exit(code)


def _check(arguments: list[str]) -> int:
    options = _check_parser().parse_args(arguments)
    from losslint import selection
    from losslint.check import Wishes, check
    from losslint.config import ConfigError, Configs
    from losslint.discovery import discover
    from losslint.findings import Severity
    from losslint.output import MACHINE_FORMATS, render, terminal
    from losslint.progress import ProgressBar

    if options.select is not None and not any(map(str.strip, options.select)):
        return _misuse("`--select` names no code")
    if options.config is not None and not options.config.is_file():
        return _misuse(f"no such file: `{options.config}`")
    if options.statistics and options.output_format == "lsp":
        return _misuse("`--statistics` has no `lsp` format")
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
        return _misuse(str(error))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return MISUSED
    _complain(report, options.verbose)
    colour = options.output_format not in MACHINE_FORMATS and terminal.wants_colour(options.color, sys.stdout)
    if options.statistics:
        from losslint.output import statistics

        lines = statistics.render(report, as_json=options.output_format == "json")
    else:
        lines = render(options.output_format, report, terminal.width(sys.stdout))
    terminal.write(lines, sys.stdout, colour)
    if report.failed:
        return MISUSED
    return FOUND if report.broken and not options.exit_zero else CLEAN


def _rules(arguments: list[str]) -> int:
    parser = _parser("losslint rules", "List every code that losslint reports.")
    parser.add_argument("--output-format", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    from losslint import selection

    entries = selection.catalogue()
    if options.output_format == "json":
        import json

        print(json.dumps([_entry(entry) for entry in entries], indent=2))
    else:
        name_width = max(len(entry.name) for entry in entries)
        for entry in entries:
            print(f"{entry.code}  {entry.name:<{name_width}}  {entry.severity.label:<7}  {entry.summary}")
    return CLEAN


def _explain(arguments: list[str]) -> int:
    parser = _parser("losslint explain", "Print the page of a rule.")
    parser.add_argument("code", metavar="CODE-OR-NAME", help="such as `LL102` or `unscaled-accumulation`")
    _add_color(parser)
    options = parser.parse_args(arguments)
    from losslint import selection
    from losslint.output import terminal

    try:
        entry = selection.find(options.code)
    except selection.SelectorError as error:
        return _misuse(str(error))
    heading = f"# {entry.code} {entry.name}\n\n{entry.summary} ({entry.severity.label}, {entry.law.value} law)\n"
    page = f"{heading}\n{entry.page.strip()}\n"
    if terminal.wants_colour(options.color, sys.stdout):
        terminal.write_markdown(page, sys.stdout)
    else:
        sys.stdout.write(page)
    return CLEAN


_COMMANDS: dict[str, Callable[[list[str]], int]] = {"check": _check, "rules": _rules, "explain": _explain}


def _check_parser() -> argparse.ArgumentParser:
    parser = _parser("losslint [check]", "Find broken loss arithmetic in PyTorch training code.", _COMMANDS_HELP)
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
    _add_color(show)
    show.add_argument("--verbose", action="store_true", help="say which files the analysis could not finish, and why")
    show.add_argument("--exit-zero", action="store_true", help="exit with 0 even where something is found")
    where = parser.add_argument_group("configuration").add_mutually_exclusive_group()
    where.add_argument("--config", type=Path, metavar="FILE", help="read `[tool.losslint]` of this file only")
    where.add_argument("--isolated", action="store_true", help="read no configuration")
    add("--no-cache", action="store_true", help="analyse every file afresh")
    return parser


def _codes(text: str) -> list[str]:
    return text.split(",")


def _parser(program: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _add_color(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto colours a terminal, and heeds NO_COLOR and FORCE_COLOR",
    )


def _entry(entry: Entry) -> dict[str, str]:
    return {
        "code": entry.code,
        "name": entry.name,
        "severity": entry.severity.label,
        "law": entry.law.value,
        "summary": entry.summary,
    }


def _complain(report: Report, verbose: bool) -> None:
    """Say on standard error what could not be checked, and with `verbose` what was not finished."""
    from losslint.output.text import escape

    for trouble in report.troubles:
        _say(f"error: {escape(trouble.name)}: {trouble.message}")
    for file in report.files:
        if file.failure is not None:
            _say(f"error: {escape(file.name)}: {escape(file.failure)}")
        if verbose:
            for note in file.notes:
                _say(f"note: {escape(file.name)}: {escape(note)}")
            if file.detail:
                _say(file.detail.rstrip())
    if not report.files and not report.troubles:
        _say("warning: no Python files found")


def _misuse(message: str) -> int:
    _say(f"error: {message}")
    return MISUSED


def _say(message: str) -> None:
    print(message, file=sys.stderr)
