"""The command line: `losslint [check] PATHS…` and the other commands, each a module of `losslint.commands`.

Nothing heavy is imported before it is known that it will be needed: `--version` needs none of it.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence

from losslint.commands import COMMANDS
from losslint.commands.shared import Exit, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # a file name or a source line that the terminal's encoding lacks must not end the run
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "check"
    try:
        code: int = importlib.import_module(f"losslint.commands.{name.replace('-', '_')}").run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        say("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # whoever read the output has seen enough; Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE_CLOSED
    except OSError as error:
        # what a command reads it answers for itself: this is a full disk behind standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        say(f"error: cannot write: {(error.strerror or str(error)).lower()}")
        return Exit.MISUSED


def _open_closed_streams() -> None:
    """Python has no stream where the shell closed one: what is said on it is then said to nobody."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def run() -> None:
    """The console script: run the command line and end the process.

    The process ends at once: taking apart what a run has built takes Python longer than many a file takes to lint.
    """
    # nothing is freed that a run of one file would notice; longer runs collect between files
    gc.disable()
    code = main()
    sys.stderr.flush()
    os._exit(code)
