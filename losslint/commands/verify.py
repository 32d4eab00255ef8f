"""`losslint verify PATHS…`: lint, run the user's own statements in a tiny world, and say whether the findings hold.

`losslint check --verify` is the same without the options for one finding.
"""

from __future__ import annotations

import argparse
import math
import re
from contextlib import suppress
from pathlib import Path

from losslint.commands.shared import misuse

_HELP = """
exit codes: 0 nothing found, all of it refuted, or the script or picture written, 1 errors or warnings found that are
not refuted, 2 a path, an option or the configuration cannot be used, 3 a finding could not be decided under `--strict`
"""


def run(arguments: list[str]) -> int:
    from losslint.commands import check
    from losslint.verification import place_of

    parser = check.parser("losslint verify", "Lint, and run the loops in question: do the findings hold?", _HELP)
    one = parser.add_argument_group("one finding, named by FILE:LINE in the place of PATHS")
    one.add_argument("--emit", metavar="FILE", help="write a script that shows the bug with torch alone; `-` prints it")
    one.add_argument("--plot", type=Path, metavar="FILE", help="draw what was measured, as .png, .svg or .html")
    options = parser.parse_args(arguments)
    places = [place for place in map(place_of, options.paths) if place is not None]
    if options.emit is not None and options.plot is not None:
        return misuse("`--emit` and `--plot` cannot be given together")
    if (options.emit is not None or options.plot is not None) and (len(places) != 1 or len(options.paths) != 1):
        return misuse(f"`{'--plot' if options.emit is None else '--emit'}` needs one finding, as `FILE:LINE`")
    if places and len(places) != len(options.paths):
        return misuse("`FILE:LINE` cannot be mixed with whole files and folders")
    if places:
        options.paths = [place.path for place in places]
        # whoever names a line wants to know of what is hidden otherwise, too
        options.min_severity = options.min_severity or "info"
    options.verify, options.places = True, places
    return check.lint(options)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `check --verify` and `verify` share."""
    add = parser.add_argument_group("verification").add_argument
    add("--device", choices=("auto", "cuda", "cpu"), default="auto", help="where slices run (default: a GPU if any)")
    add("--timeout", type=_seconds, default=10.0, metavar="SECONDS", help="for each finding (default: 10)")
    add("--jobs", type=_count, default=0, metavar="N", help="slices at a time (default: as fits the device)")
    add("--strict", action="store_true", help="exit with 3 where a finding could not be decided")
    add("--only-confirmed", action="store_true", help="show confirmed findings only, and exit by them")
    parser.set_defaults(verify=False, places=[], emit=None, plot=None)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        seconds = float(text)
        if 0 < seconds < math.inf:
            return seconds
    raise argparse.ArgumentTypeError(f"not a number of seconds: `{text}`")


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,2}", text):
        raise argparse.ArgumentTypeError(f"not a number of jobs: `{text}`")
    return int(text)
