"""The commands of the command line: one module each, with `run(arguments) -> exit code`, imported when it is called."""

from __future__ import annotations

COMMANDS = {
    "check": "[PATHS…]          check files and folders (the default)",
    "verify": "PATHS…           check, and run the loops in question: do the findings hold?",
    "server": "                 serve an editor, on standard input and output",
    "rules": "                  list every code",
    "run": "-- train.py ARGS…  watch a training script for a few optimizer steps",
    "explain": "CODE-OR-NAME    print the page of a rule",
    "config": "[KEY]            explain the configuration",
    "init": "[FOLDER]           add a commented table to `pyproject.toml`",
    "new-rule": "NAME            begin a rule, in a checkout of losslint",
    "completion": "SHELL        print a completion script for bash, zsh or fish",
}
"""Every command, which is also the name of its module, and what help says of it."""
