"""`losslint [check] PATHS…`: lint files and folders."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from losslint import __version__
from losslint.commands import COMMANDS
from losslint.commands.shared import EXIT_CODES, Exit, add_color, command_parser, misuse, say
from losslint.commands.verify import add_options as add_verification
from losslint.output import FORMATS

if TYPE_CHECKING:
    from losslint.check import Report, Wishes
    from losslint.config import Configs
    from losslint.discovery import Discovery
    from losslint.fixes.session import Session
    from losslint.output.destinations import Destination

_HELP = f"""\
commands:
{"".join(f"  losslint {name} {explanation}" + chr(10) for name, explanation in COMMANDS.items())}
examples:
  losslint                                     check the current folder
  losslint src/ train.py --select LL1,LL2      only the laws of the gradient and of the report
  losslint --output sarif=losslint.sarif       show the findings, and write them for code scanning
  losslint --write-baseline losslint-baseline.json
                                               adopt losslint: from now on only new findings are shown
  cat train.py | losslint --stdin-filename src/train.py -

{EXIT_CODES}
"""


def run(arguments: list[str]) -> int:
    shape = parser()
    shape.add_argument("--verify", action="store_true", help="run the loops in question, as `losslint verify` does")
    return lint(shape.parse_args(arguments))


def lint(options: argparse.Namespace) -> int:
    """Do what the options of `parser` ask for, and give the exit code."""
    from dataclasses import replace

    from losslint import selection
    from losslint.baseline import BaselineError
    from losslint.check import check
    from losslint.config import ConfigError, Configs
    from losslint.output import destinations
    from losslint.progress import ProgressBar
    from losslint.unsaved import unsaved

    trouble = _trouble(options)
    if trouble is not None:
        return misuse(trouble)
    configs = Configs(options.isolated, None if options.config is None else options.config.absolute())
    session: Session | None = None
    undecided, unwritten = False, 0
    try:
        outputs = _outputs(options)
        wishes = _wishes(options, outputs)
        texts = _standard_input(options)
        # what is shown of a text from standard input are its own lines
        with unsaved(texts):
            found = _found(options, configs, texts)
            if options.show_files or options.show_settings:
                return _show(options, found, configs)
            with ProgressBar() as progress:
                if options.fix or options.diff:
                    from losslint.fixes.session import fix

                    session = fix(found, configs, wishes, options.unsafe_fixes, progress)
                    report = session.report
                else:
                    report = replace(check(found, configs, wishes, progress), unsafe_fixes=options.unsafe_fixes)
            report = _without_known(options, report, found, configs)
            _complain(report, options.verbose)
            if options.verify:
                from losslint.verification import only_confirmed, verified

                outcome = verified(report, options)
                if isinstance(outcome, int):
                    return outcome
                undecided = outcome.undecided
                report = only_confirmed(outcome) if options.only_confirmed else outcome
            if session is not None and options.diff:
                return _show_diff(session)
            if session is not None:
                unwritten = _write(session)
            if unwritten:
                # what is shown is what is there
                fixed = report.fixed - unwritten
                report = replace(check(found, configs, wishes), fixed=fixed, unsafe_fixes=options.unsafe_fixes)
            for output in outputs:
                destinations.write(output, report, options.color)
    except (selection.SelectorError, BaselineError, destinations.UnusableError) as error:
        return misuse(str(error))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.MISUSED
    if report.failed or unwritten:
        return Exit.MISUSED
    if undecided and options.strict:
        return Exit.UNDECIDED
    return Exit.FOUND if report.broken and not options.exit_zero else Exit.CLEAN


def parser(
    program: str = "losslint [check]",
    description: str = "Find broken loss arithmetic in PyTorch training code.",
    epilog: str = _HELP,
) -> argparse.ArgumentParser:
    """The parser of a command that lints."""
    made = command_parser(program, description, epilog)
    add = made.add_argument
    add(
        "paths",
        nargs="*",
        metavar="PATHS",
        help="files and folders; `-` is standard input (default: the current folder)",
    )
    add("--version", action="version", version=f"losslint {__version__}")
    choose = made.add_argument_group("what is reported")
    for option, explanation in (
        ("--select", "only these: codes, prefixes such as LL1, names, ALL; comma-separated"),
        ("--ignore", "all but these"),
        ("--extend-select", "these as well"),
    ):
        choose.add_argument(option, action="extend", type=_codes, metavar="CODES", help=explanation)
    choose.add_argument(
        "--min-severity", choices=("info", "warning", "error"), help="hide what is less certain (default: warning)"
    )
    choose.add_argument(
        "--baseline", type=Path, metavar="FILE", help="hide the findings that this baseline holds; tell those gone"
    )
    choose.add_argument(
        "--write-baseline",
        type=Path,
        metavar="FILE",
        help="write all findings as a baseline, and hide them",
    )
    show = made.add_argument_group("how it is shown")
    show.add_argument(
        "--output-format",
        choices=tuple(FORMATS),
        default="full",
        metavar="FORMAT",
        help=f"{', '.join(FORMATS)} (default: full)",
    )
    show.add_argument("--output-file", type=Path, metavar="FILE", help="write there instead of to standard output")
    show.add_argument(
        "--output", action="append", default=[], metavar="FORMAT=FILE", help="write this file as well; repeatable"
    )
    show.add_argument("--statistics", action="store_true", help="show how often each code was found instead")
    add_color(show)
    show.add_argument("--verbose", action="store_true", help="say which files the analysis could not finish, and why")
    show.add_argument("--exit-zero", action="store_true", help="exit with 0 even where something is found")
    fixes = made.add_argument_group("fixes")
    how = fixes.add_mutually_exclusive_group()
    how.add_argument("--fix", action="store_true", help="fix what can be fixed safely, and report what remains")
    how.add_argument("--diff", action="store_true", help="print what `--fix` would change, and change nothing")
    fixes.add_argument("--unsafe-fixes", action="store_true", help="also fixes that may change a run that was right")
    which = made.add_argument_group("which files")
    which.add_argument(
        "--stdin-filename", type=Path, metavar="NAME", help="check standard input as if it were this file"
    )
    which.add_argument(
        "--force-exclude", action="store_true", help="pass over excluded files even where they are named (for hooks)"
    )
    which.add_argument("--show-files", action="store_true", help="only list the files that would be checked")
    where = made.add_argument_group("configuration")
    source = where.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="FILE", help="read `[tool.losslint]` of this file only")
    source.add_argument("--isolated", action="store_true", help="read no configuration")
    where.add_argument("--show-settings", action="store_true", help="only show what is configured for the files")
    where.add_argument("--no-cache", action="store_true", help="accepted for scripts; every file is analysed afresh")
    add_verification(made)
    return made


def _codes(text: str) -> list[str]:
    return text.split(",")


def _trouble(options: argparse.Namespace) -> str | None:
    """What is wrong with options that cannot be used together, or as they are."""
    from losslint.output import statistics

    if options.select is not None and not any(map(str.strip, options.select)):
        return "`--select` names no code"
    if options.config is not None and not options.config.is_file():
        return f"no such file: `{options.config}`"
    if options.statistics and options.output_format not in statistics.FORMATS:
        return f"`--statistics` has no `{options.output_format}` format"
    if options.baseline is not None and options.write_baseline is not None:
        return "`--baseline` and `--write-baseline` cannot be used together"
    if options.verify and (options.fix or options.diff):
        return "findings cannot be fixed and verified in one run"
    if options.fix and (options.stdin_filename is not None or "-" in options.paths):
        return "standard input cannot be fixed in place; `--diff` prints what would change"
    named = [path for path in options.paths if path != "-"]
    if named and (len(named) < len(options.paths) or options.stdin_filename is not None):
        return f"standard input is checked alone, without `{named[0]}`"
    return None


def _outputs(options: argparse.Namespace) -> tuple[Destination, ...]:
    """Where the report goes. Raises `UnusableError`."""
    from losslint.output.destinations import Destination, parsed, verified

    first = Destination(options.output_format, options.output_file, options.statistics)
    return verified([first, *map(parsed, options.output)])


def _wishes(options: argparse.Namespace, outputs: Iterable[Destination]) -> Wishes:
    """What the options ask to be reported. Raises `SelectorError`."""
    from losslint import selection
    from losslint.check import Wishes
    from losslint.findings import Severity
    from losslint.output import WITH_FIXES

    shown = any(output.format in WITH_FIXES and not output.counts for output in outputs)
    return Wishes(
        select=None if options.select is None else selection.normalise(options.select),
        extend_select=selection.normalise(options.extend_select or ()),
        ignore=selection.normalise(options.ignore or ()),
        min_severity=None if options.min_severity is None else Severity[options.min_severity.upper()],
        fixes=shown or options.fix or options.diff,
    )


def _standard_input(options: argparse.Namespace) -> dict[Path, bytes]:
    """The text on standard input by the path it stands for, where it is what is to be checked."""
    if options.stdin_filename is None and "-" not in options.paths:
        return {}
    path = Path(os.path.abspath(options.stdin_filename or "-"))
    return {path: b"" if options.show_files or options.show_settings else sys.stdin.buffer.read()}


def _found(options: argparse.Namespace, configs: Configs, texts: dict[Path, bytes]) -> Discovery:
    from losslint.discovery import Discovery, as_target, discover, is_left_out

    if not texts:
        return discover(options.paths or ["."], configs, options.force_exclude)
    targets = [as_target(path, configs) for path in texts if not (options.force_exclude and is_left_out(path, configs))]
    return Discovery(targets)


def _show(options: argparse.Namespace, found: Discovery, configs: Configs) -> int:
    """The files of the run, or what is configured for them."""
    from losslint.output.text import escape

    for trouble in found.troubles:
        say(f"error: {escape(trouble.name)}: {trouble.message}")
    if options.show_files:
        for target in found.targets:
            print(escape(target.name))
    else:
        from losslint.settings import written

        folders = [target.path.parent for target in found.targets] or [Path.cwd()]
        for number, config in enumerate(dict.fromkeys(map(configs.of, folders))):
            print("\n" * (number > 0) + written(config), end="")
    return Exit.MISUSED if found.troubles else Exit.CLEAN


def _without_known(options: argparse.Namespace, report: Report, found: Discovery, configs: Configs) -> Report:
    """The report without the findings of the baseline; says which entries are gone. Raises `BaselineError`."""
    from losslint import baseline

    chosen: Path | None = options.baseline
    if options.write_baseline is not None:
        chosen = options.write_baseline
        number = baseline.write(chosen.absolute(), report.findings)
        say(f"wrote {number} finding{'' if number == 1 else 's'} to `{chosen}`")

    def file_of(name: str) -> Path | None:
        return chosen.absolute() if chosen is not None else configs.of(Path(os.path.abspath(name)).parent).baseline

    files = {name: file for name in (file.name for file in report.files) if (file := file_of(name)) is not None}
    hidden, baselines = baseline.known_findings(list(report.findings), files)
    # a run that was asked for less than the configuration wants finds less
    narrowed = options.select or options.ignore or options.min_severity
    if not narrowed:
        failed = {name for name, _ in report.unchecked}
        for file, known in baselines.items():
            checked = {one.name for one in found.targets if files.get(one.name) == file} - failed
            for line in baseline.stale_words(known, known.stale(checked), options.verbose):
                say(f"note: {line}")
    return report.without(lambda finding: id(finding) in hidden)


def _complain(report: Report, verbose: bool) -> None:
    """Say on standard error what could not be checked, and with `verbose` what was not finished."""
    for line in _complaints(report, verbose):
        say(line)


def _complaints(report: Report, verbose: bool) -> Iterator[str]:
    from losslint.output.text import escape

    for trouble in report.troubles:
        yield f"error: {escape(trouble.name)}: {trouble.message}"
    for file in report.files:
        if file.failure is not None:
            yield f"error: {escape(file.name)}: {escape(file.failure)}"
        if verbose:
            for note in file.notes:
                yield f"note: {escape(file.name)}: {escape(note)}"
            if file.detail:
                yield file.detail.rstrip()
    if not report.files and not report.troubles:
        yield "warning: no Python files found"


def _show_diff(session: Session) -> int:
    """Print what `--fix` would change, and say on standard error how much that is."""
    from losslint.fixes.session import diff
    from losslint.output.text import counted

    for line in diff(session):
        sys.stdout.write(f"{line}\n")
    if session.fixed:
        say(f"Would fix {counted(len(session.fixed), 'finding')} in {counted(len(session.after), 'file')}")
    else:
        say("No finding would be fixed")
    if session.report.failed:
        return Exit.MISUSED
    return Exit.FOUND if session.fixed else Exit.CLEAN


def _write(session: Session) -> int:
    """Write what was fixed; how many fixes could not be written, which is said on standard error."""
    from losslint.fixes.session import write
    from losslint.output.text import escape

    failures = write(session)
    for failure in failures:
        say(f"error: {escape(failure.name)}: {failure.message}")
    lost = {failure.name for failure in failures}
    fixes = [finding.fix for finding in session.fixed if finding.fix is not None]
    return sum(any(edit.path in lost for edit in fix.edits) for fix in fixes)
