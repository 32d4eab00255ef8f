"""`losslint completion SHELL`: a script that lets a shell complete commands, options, their values and codes."""

from __future__ import annotations

import argparse

from losslint.commands.shared import Exit, command_parser

_HELP = """\
examples:
  bash    eval "$(losslint completion bash)"                 in ~/.bashrc
  zsh     losslint completion zsh > ~/.zfunc/_losslint       with ~/.zfunc in fpath, before compinit
  fish    losslint completion fish > ~/.config/fish/completions/losslint.fish
"""


def run(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    from losslint.completion import SHELLS, collected

    print(SHELLS[options.shell](collected()), end="")
    return Exit.CLEAN


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = command_parser("losslint completion", "Print a script that completes command lines of losslint.", _HELP)
    made.add_argument("shell", choices=("bash", "zsh", "fish"))
    return made
