"""`losslint rules`: every code, as a table or as JSON."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from losslint.commands.shared import Exit, command_parser

if TYPE_CHECKING:
    from losslint.selection import Entry

_HELP = """\
Each line has a code, its name, the highest severity it is reported at, and what it finds.

examples:
  losslint rules
  losslint rules --output-format json
"""


def run(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    from losslint import selection

    entries = selection.catalogue()
    if options.output_format == "json":
        import json

        print(json.dumps([_entry(entry) for entry in entries], indent=2))
    else:
        name_width = max(len(entry.name) for entry in entries)
        for entry in entries:
            print(f"{entry.code}  {entry.name:<{name_width}}  {entry.severity.label:<7}  {entry.summary}")
    return Exit.CLEAN


def _entry(entry: Entry) -> dict[str, str]:
    return {
        "code": entry.code,
        "name": entry.name,
        "severity": entry.severity.label,
        "law": entry.law.value,
        "summary": entry.summary,
    }


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = command_parser("losslint rules", "List every code that losslint reports.", _HELP)
    made.add_argument("--output-format", choices=("text", "json"), default="text", help="(default: text)")
    return made
