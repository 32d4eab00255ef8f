"""`losslint explain CODE-OR-NAME`: the page of a rule."""

from __future__ import annotations

import argparse
import sys

from losslint.commands.shared import Exit, add_color, command_parser, misuse

_HELP = """\
examples:
  losslint explain LL102
  losslint explain unscaled-accumulation --color always | less -R

`losslint rules` lists every code. An unknown one ends with exit code 2.
"""


def run(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    from losslint import selection
    from losslint.output import terminal

    try:
        entry = selection.find(options.code)
    except selection.SelectorError as error:
        return misuse(str(error))
    heading = f"# {entry.code} {entry.name}\n\n{entry.summary} ({entry.severity.label}, {entry.law.value} law)\n"
    page = f"{heading}\n{entry.page.strip()}\n"
    if terminal.wants_colour(options.color, sys.stdout):
        terminal.write_markdown(page, sys.stdout)
    else:
        sys.stdout.write(page)
    return Exit.CLEAN


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = command_parser("losslint explain", "Print the page of a rule.", _HELP)
    made.add_argument("code", metavar="CODE-OR-NAME", help="such as `LL102` or `unscaled-accumulation`")
    add_color(made)
    return made
