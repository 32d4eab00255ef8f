"""The commands of the command line: one module each, with `run(arguments) -> exit code`, imported when it is called."""

from __future__ import annotations

COMMANDS = {
    "check": "[PATHS…]          check files and folders (the default)",
    "rules": "                  list every code",
    "explain": "CODE-OR-NAME    print the page of a rule",
}
"""Every command, which is also the name of its module, and what help says of it."""
