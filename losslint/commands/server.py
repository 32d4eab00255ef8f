"""`losslint server`: the language server, on standard input and output."""

from __future__ import annotations

from losslint.commands.shared import Exit, command_parser, misuse

_DESCRIPTION = """\
Serve an editor: diagnostics while you type, fixes, and the unit of a loss where you point. The editor starts it and
speaks the Language Server Protocol on standard input and output; docs/editors.md has the configuration of each.
"""


def run(arguments: list[str]) -> int:
    parser = command_parser("losslint server", _DESCRIPTION)
    parser.add_argument("--stdio", action="store_true", help="what it does anyway; some editors add it by themselves")
    parser.parse_args(arguments)
    try:
        from losslint.server.app import serve
    except ModuleNotFoundError as error:
        if error.name not in ("pygls", "lsprotocol"):
            raise
        return misuse("`losslint server` needs pygls: `pip install 'losslint[server]'`")
    return Exit.CLEAN if serve() else Exit.FOUND
