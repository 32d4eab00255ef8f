"""The verdict on a finding: its claim measured in the tiny world, beside what the algebra predicted.

Runs in the worker: imports torch. The three entries are `verify`, `holds` and `portray`.
"""

from __future__ import annotations

from pathlib import Path

from losslint.findings import Finding, Verdict
from losslint.runtime.ledger import Portrait


def verify(finding: Finding, text: str, path: Path, device: str = "cpu") -> Verdict:
    """The verdict on one finding of the file `path`, whose source is `text` (of a notebook: the joined cells).

    `device` is `cpu` or `cuda`. Runs the user's code in this process with everything that it imports put out of
    reach, but without any protection: the caller isolates, limits time and memory, and turns a `BaseException` that
    escapes (the user's code may raise one) into a crash. Nothing that derives from `Exception` escapes.
    """
    raise NotImplementedError


def holds(text: str, path: Path, code: str, device: str = "cpu") -> Verdict:
    """The claim of the rule `code` measured on a whole file in which nothing was found: `refuted` where the loops were
    reached and the law held, `confirmed` where some loop breaks it, else `inconclusive`."""
    raise NotImplementedError


def portray(finding: Finding, text: str, path: Path, device: str = "cpu") -> Portrait | None:
    """What a picture or a script of the finding shows; None where nothing could be measured."""
    raise NotImplementedError
