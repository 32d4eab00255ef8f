"""`losslint init`: a commented `[tool.losslint]` table at the end of `pyproject.toml`."""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path

from losslint.commands.shared import Exit, command_parser, misuse

_TABLE = re.compile(r"^[ \t]*\[\s*tool\s*\.\s*[\"']?losslint\b|^[ \t]*losslint\s*=", re.MULTILINE)

_HELP = """\
Every key is a comment that shows its default: nothing changes until one is taken in. A file that has the table
already is left as it is.

exit codes:
  0    written
  2    there is a table already, or the file cannot be read or written
"""


def run(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    path = options.folder / "pyproject.toml"
    try:
        before = path.read_bytes() if path.exists() else b""
        text = before.decode("utf-8")
        if _TABLE.search(text):
            return misuse(f"{path}: there is a `[tool.losslint]` table already")
        newline = "\r\n" if "\r\n" in text else "\n"
        added = section().replace("\n", newline)
        gap = "" if not text else newline if text.endswith("\n") else newline * 2
        path.write_bytes(before + (gap + added).encode())
    except UnicodeDecodeError:
        return misuse(f"{path}: invalid UTF-8")
    except OSError as error:
        return misuse(f"{path}: {(error.strerror or 'cannot be written').lower()}")
    print(f"{'added `[tool.losslint]` to' if before else 'wrote'} {path}")
    return Exit.CLEAN


def section() -> str:
    """The table with a comment for every key."""
    from losslint.settings import SETTINGS

    lines = ["[tool.losslint]"]
    for setting in SETTINGS:
        lines += [*textwrap.wrap(setting.meaning, 98, initial_indent="# ", subsequent_indent="# ")]
        shown = setting.default if setting.default not in ("", "[]", "{}") else setting.example
        lines += [f"# {setting.key} = {shown}", ""]
    return "\n".join(lines[:-1]) + "\n"


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = command_parser(
        "losslint init", "Add a commented `[tool.losslint]` table to the `pyproject.toml` of a project.", _HELP
    )
    made.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="of the project (default: this one)"
    )
    return made
