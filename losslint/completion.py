"""Completion scripts for shells, made from the parsers of the commands, so that they cannot disagree with them."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from shlex import quote

from losslint.commands import COMMANDS
from losslint.output import FORMATS
from losslint.selection import catalogue

_CODES = frozenset({"CODES", "CODE-OR-NAME"})
"""What the help calls a value that is a code, a prefix of codes or a name."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `values` are what it takes, None for a file and empty for anything else; a flag takes nothing."""

    names: tuple[str, ...]
    help: str
    flag: bool
    values: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Command:
    """One command with its options, and what its arguments may be: None for files."""

    name: str
    help: str
    options: tuple[Option, ...]
    values: tuple[str, ...] | None


def collected() -> tuple[Command, ...]:
    """Every command, with `check` first, as its parser has it."""
    codes = tuple(code for entry in catalogue() for code in (entry.code, entry.name))
    return tuple(_command(name, text, codes) for name, text in COMMANDS.items())


def _command(name: str, text: str, codes: tuple[str, ...]) -> Command:
    module = importlib.import_module(f"losslint.commands.{name.replace('-', '_')}")
    about = re.split(r"\s{2,}", f"  {text}")[-1]
    make: Callable[[], argparse.ArgumentParser] | None = getattr(module, "parser", None)
    actions = [] if make is None else make()._actions
    options = tuple(_option(action, codes) for action in actions if action.option_strings)
    values: tuple[str, ...] | None = None
    for action in actions:
        if not action.option_strings and (action.choices or action.metavar in (*_CODES, "KEY")):
            values = _values(action, codes)
    return Command(name, about, options, values)


def _option(action: argparse.Action, codes: tuple[str, ...]) -> Option:
    text = (action.help or "").replace("%%", "%")
    return Option(tuple(action.option_strings), text, action.nargs == 0, _values(action, codes))


def _values(action: argparse.Action, codes: tuple[str, ...]) -> tuple[str, ...] | None:
    if action.choices:
        return tuple(map(str, action.choices))
    if action.metavar in _CODES:
        return codes
    if action.metavar == "KEY":
        from losslint.settings import BY_KEY

        return tuple(BY_KEY)
    if action.metavar == "FORMAT=FILE":
        return tuple(f"{name}=" for name in FORMATS)
    return None if action.metavar in ("FILE", "NAME", "FOLDER", "PATHS") else ()


def bash(commands: Iterable[Command]) -> str:
    """For bash 4 and later."""
    names = [command.name for command in commands]
    options: list[str] = []
    values: list[str] = []
    for command in commands:
        flags = " ".join(name for option in command.options for name in option.names)
        given = "" if command.values is None else " ".join(command.values)
        options.append(f"        {command.name}) options={quote(flags)} given={quote(given)} ;;")
        for option in command.options:
            if not option.flag:
                pattern = "|".join(f"{command.name}:{name}" for name in option.names)
                words = "-" if option.values is None else " ".join(option.values)
                values.append(f"        {pattern}) words={quote(words)} ;;")
    return f"""\
_losslint() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local command=check options= given= words=
    case ${{COMP_WORDS[1]}} in
        {"|".join(names)}) [ "$COMP_CWORD" -gt 1 ] && command=${{COMP_WORDS[1]}} ;;
    esac
    case $command in
{chr(10).join(options)}
    esac
    # `--option=value` comes as three words
    if [ "$previous" = "=" ]; then previous=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    if [ "$current" = "=" ]; then current=; previous=${{COMP_WORDS[COMP_CWORD-1]}}; fi
    case $command:$previous in
{chr(10).join(values)}
    esac
    COMPREPLY=()
    if [ "$words" = "-" ]; then
        COMPREPLY=($(compgen -f -- "$current"))
    elif [ -n "$words" ]; then
        # the last of several codes
        local before=
        case $current in *,*) before=${{current%,*}}, ;; esac
        COMPREPLY=($(compgen -P "$before" -W "$words" -- "${{current##*,}}"))
        case ${{COMPREPLY[0]}} in *=) compopt -o nospace 2>/dev/null ;; esac
    elif [ "${{current:0:1}}" = "-" ]; then
        COMPREPLY=($(compgen -W "$options" -- "$current"))
    else
        [ "$COMP_CWORD" -eq 1 ] && given="$given {" ".join(names)}"
        COMPREPLY=($(compgen -W "$given" -- "$current"))
        case $command in {"|".join(command.name for command in commands if command.values is None)})
            COMPREPLY+=($(compgen -f -- "$current")) ;;
        esac
    fi
}}
complete -o filenames -F _losslint losslint
"""


def zsh(commands: Iterable[Command]) -> str:
    """For zsh, as a function in `fpath`."""
    described = "\n".join(f"        {quote(f'{command.name}:{_plain(command.help)}')}" for command in commands)
    cases = "\n".join(_zsh_case(command) for command in commands)
    return f"""\
#compdef losslint
_losslint() {{
    local -a commands
    commands=(
{described}
    )
    local command=check
    if (( CURRENT > 2 )) && (( ${{commands[(I)$words[2]:*]}} )); then
        command=$words[2]
        shift words
        (( CURRENT-- ))
    elif (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
        _describe command commands
    fi
    case $command in
{cases}
    esac
}}
if [ "$funcstack[1]" = "_losslint" ]; then
    _losslint "$@"
else
    compdef _losslint losslint
fi
"""


def _zsh_case(command: Command) -> str:
    specs = []
    for option in command.options:
        equals, value = ("", "") if option.flag else ("=", f":value:{_zsh_action(option.values)}")
        specs += [f"{name}{equals}[{_plain(option.help)}]{value}" for name in option.names]
    specs.append(f"*:argument:{_zsh_action(command.values)}")
    lines = " \\\n".join(f"                {quote(spec)}" for spec in specs)
    return f"        {command.name})\n            _arguments \\\n{lines} ;;"


def _zsh_action(values: tuple[str, ...] | None) -> str:
    return "_files" if values is None else f"({' '.join(values)})" if values else " "


def fish(commands: Iterable[Command]) -> str:
    """For fish."""
    names = " ".join(command.name for command in commands)
    lines = []
    for command in commands:
        there = f"__fish_seen_subcommand_from {command.name}"
        if command.name == "check":
            there = f"not __fish_seen_subcommand_from {names}; or {there}"
        about = quote(_plain(command.help))
        lines.append(f"complete -c losslint -n __fish_use_subcommand -a {command.name} -d {about}")
        for option in command.options:
            words = ["complete -c losslint -n", quote(there)]
            words += [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
            if not option.flag:
                words.append("-r -F" if option.values is None else f"-x -a {quote(' '.join(option.values))}")
            lines.append(" ".join([*words, "-d", quote(_plain(option.help))]))
        if command.values:
            lines.append(f"complete -c losslint -f -n {quote(there)} -a {quote(' '.join(command.values))}")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """A help text without what shells read in descriptions."""
    return re.sub(r"[\[\]`'\":\\]", "", text)


SHELLS: dict[str, Callable[[Iterable[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
"""Every shell and what makes its script."""
