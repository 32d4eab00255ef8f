"""Scripts with one line replaced: the bugs that observe mode has to find."""

from __future__ import annotations

import re
from pathlib import Path

_MARK = re.compile(r"(?P<code>.*?)\s*# bug (?P<names>[a-z, -]+): (?P<line>.*)")


def mutants(script: Path) -> dict[str, str]:
    """The text of the script with each of its bugs, by name; the unchanged one is `clean`."""
    lines = script.read_text(encoding="utf-8").splitlines()
    marks = [_MARK.fullmatch(line) for line in lines]
    plain = [line if mark is None else mark["code"] for line, mark in zip(lines, marks, strict=True)]
    found = {"clean": "\n".join(plain) + "\n"}
    for name in dict.fromkeys(name for mark in marks if mark is not None for name in _names(mark)):
        changed = [
            before if mark is None or name not in _names(mark) else _indent(line) + mark["line"]
            for line, before, mark in zip(lines, plain, marks, strict=True)
        ]
        found[name] = "\n".join(changed) + "\n"
    return found


def _names(mark: re.Match[str]) -> list[str]:
    return mark["names"].split(", ")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
