"""`losslint run -- train.py ARGS…`: watch the user's real script for a few optimizer steps."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from losslint.commands.shared import Exit, add_color, command_parser, misuse, say

_HELP = """
The script runs in a child process, is watched for its first optimizer steps and is then stopped. What it prints goes to
standard error; standard output holds the report alone. Under torchrun:

  torchrun --nproc_per_node 2 -m losslint run -- train.py ARGS…

exit codes: 0 nothing found, 1 errors or warnings found, 2 the script failed or took no step, or an option is wrong
"""
_GRACE = 10.0
"""Seconds between asking the script to stop and killing it."""


def run(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        return misuse("name the script to run: `losslint run -- train.py`")
    if options.steps < 1:
        return misuse("`--steps` must be at least 1")
    kind, target, rest = ("script", command[0], command[1:])
    if command[0] == "-m":
        if len(command) < 2:
            return misuse("`-m` needs the name of a module")
        kind, target, rest = ("module", command[1], command[2:])
    elif not Path(target).is_file():
        return misuse(f"no such script: `{target}`")
    if options.plot is not None:
        from losslint.runtime import plot

        try:
            plot.check(options.plot)
        except plot.PlotError as error:
            return misuse(str(error))
    if importlib.util.find_spec("torch") is None:
        return misuse("`losslint run` needs torch: `pip install 'losslint[verify]'`")
    result = _observe([str(options.steps), kind, target, *rest], options.timeout)
    if int(os.environ.get("RANK", "0")):
        # one report, from rank 0
        return Exit.CLEAN
    return _report(result, options)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("losslint run", "Watch a training script for a few optimizer steps.", _HELP)
    parser.usage = "losslint run [OPTIONS] [--] train.py ARGS…"
    parser.add_argument("--steps", type=int, default=8, metavar="N", help="optimizer steps to watch (default: 8)")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="stop and report after this time (default: 600)"
    )
    parser.add_argument("--output-format", choices=("full", "json"), default="full")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the weights: .png, .svg or .html")
    add_color(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the script or `-m module`, and its arguments")
    return parser


def _observe(arguments: list[str], timeout: float) -> dict[str, Any] | None:
    """The result of the child, None where it sent none."""
    steps, *rest = arguments
    environment = {**os.environ, "TORCHDYNAMO_DISABLE": "1", "PYTORCH_JIT": "0"}
    with tempfile.TemporaryFile() as stream:
        descriptor = stream.fileno()
        child = subprocess.Popen(
            [sys.executable, "-m", "losslint.runtime.observe.child", steps, str(descriptor), *rest],
            stdout=sys.stderr.fileno(),
            pass_fds=(descriptor,),
            env=environment,
            start_new_session=True,
        )
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            say(f"note: stopped after {timeout:g} s")
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_GRACE)
        finally:
            _kill(child)
        stream.seek(0)
        text = stream.read()
    return json.loads(text) if text else None


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the child and everything that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _report(result: dict[str, Any] | None, options: argparse.Namespace) -> int:
    from losslint.findings import Severity
    from losslint.output import terminal
    from losslint.runtime.observe import report
    from losslint.runtime.observe.facts import from_object

    if result is None:
        return misuse("the script ended its process before losslint could report")
    facts = [from_object(fact) for fact in result["facts"]]
    if options.output_format == "json":
        print(json.dumps(result, indent=2))
    else:
        colour = terminal.wants_colour(options.color, sys.stdout)
        terminal.write(report.render(result, facts, terminal.width(sys.stdout)), sys.stdout, colour)
    if options.plot is not None:
        from losslint.runtime.observe.picture import draw_ledger

        if not draw_ledger(result["ledger"], facts, options.plot):
            say("warning: no picture: no weight was read")
    if not result["steps"]:
        return misuse(result["trouble"] or "the script took no optimizer step")
    return Exit.FOUND if any(fact.severity > Severity.INFO for fact in facts) else Exit.CLEAN
