"""`losslint verify` for one finding, in a process of its own: the one thing here that runs user code, when asked."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import losslint
from losslint.findings import Finding, Outcome, Reason, Verdict

LONGEST = 300.0
"""Seconds that a verification may take, the import of torch included."""


class VerificationError(Exception):
    """The finding could not be verified; the message says why."""


async def verify(finding: Finding, path: Path) -> Verdict:
    """What a tiny step says of a finding of the file at `path`, as it is on disk. Raises `VerificationError`."""
    line = finding.range.start_line
    place = f"{path}:{line}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "losslint", "verify", place, "--output-format", "json"),
        # modules are looked for in the working directory first: it must be losslint's, never the user's
        cwd=Path(losslint.__file__).resolve().parent.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), LONGEST)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise VerificationError(f"`losslint verify` took longer than {LONGEST:.0f} s and was ended") from error
    finally:
        if process.returncode is None:
            process.kill()
    try:
        found = json.loads(output)
    except ValueError as error:
        words = errors.decode(errors="replace").strip() or f"it ended with exit code {process.returncode}"
        raise VerificationError(f"`losslint verify` gave no verdict: {words}") from error
    return _verdict(found, finding, place)


def _verdict(found: Any, finding: Finding, place: str) -> Verdict:
    """The verdict on the finding in the output of the command."""
    line = finding.range.start_line
    for one in found if isinstance(found, list) else ():
        if one["code"] == finding.code and one["range"]["start"]["line"] == line and one["verdict"] is not None:
            verdict = one["verdict"]
            reason = verdict["reason"]
            return Verdict(
                Outcome(verdict["outcome"]),
                verdict["measured"],
                verdict["predicted"],
                verdict["setting"],
                verdict["device"],
                None if reason is None else Reason(reason),
                verdict["detail"],
                tuple(verdict["assumes"]),
            )
    raise VerificationError(f"`losslint verify` knows no {finding.code} at {place}")
