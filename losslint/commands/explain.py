"""`losslint explain CODE-OR-NAME`: the page of a rule."""

from __future__ import annotations

import sys

from losslint.commands.shared import Exit, add_color, command_parser, misuse


def run(arguments: list[str]) -> int:
    parser = command_parser("losslint explain", "Print the page of a rule.")
    parser.add_argument("code", metavar="CODE-OR-NAME", help="such as `LL102` or `unscaled-accumulation`")
    add_color(parser)
    options = parser.parse_args(arguments)
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
