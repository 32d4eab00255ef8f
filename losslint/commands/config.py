"""`losslint config [KEY]`: the keys of `[tool.losslint]`, or all about one of them."""

from __future__ import annotations

import argparse

from losslint.commands.shared import Exit, command_parser, misuse

_HELP = """\
examples:
  losslint config                          list every key
  losslint config loss-functions           what a key means, its type, its default, an example
  losslint config --output-format json     the JSON schema of the table, for editors
  losslint check --show-settings           what is configured here
"""


def run(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    from losslint import selection
    from losslint.settings import BY_KEY, SETTINGS, json_schema

    if options.output_format == "json":
        import json

        print(json.dumps(json_schema(), indent=2))
        return Exit.CLEAN
    if options.key is None:
        width = max(map(len, BY_KEY))
        for setting in SETTINGS:
            print(f"{setting.key:<{width}}  {setting.kind.words}")
        return Exit.CLEAN
    if options.key not in BY_KEY:
        return misuse(f"unknown key `{options.key}`{selection.nearest(options.key, BY_KEY)}")
    setting = BY_KEY[options.key]
    print(f"{setting.meaning}\n")
    print(f"Type: {setting.kind.words}")
    print(f"Default: {setting.default or 'none'}")
    print(f"Example:\n  [tool.losslint]\n  {setting.key} = {setting.example}")
    return Exit.CLEAN


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = command_parser("losslint config", "Explain the keys of `[tool.losslint]` in a `pyproject.toml`.", _HELP)
    made.add_argument("key", nargs="?", metavar="KEY", help="such as `per-file-ignores` (default: list all)")
    made.add_argument("--output-format", choices=("text", "json"), default="text", help="json is the JSON schema")
    return made
