"""A baseline: the findings that a code base had when it adopted losslint, so that only new ones are reported.

An entry is a code, a file and the statement; neither lines nor columns. A finding that is known stays known when lines
move, and when its file is renamed: then the file of the entry is gone, and the code and the statement are the same.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from losslint.findings import Finding
from losslint.wording import lowered

_VERSION = 1


class BaselineError(Exception):
    """A baseline that cannot be read or written; the message names the file, and the line where there is one."""


class Entry(NamedTuple):
    """What a finding is known by. `path` is posix and relative to the folder of the baseline."""

    path: str
    code: str
    statement: str


@dataclass(slots=True)
class Baseline:
    """The entries of one file, and how many findings each stands for. Those that are met are taken out."""

    file: Path
    left: Counter[Entry]

    def unknown(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings that no entry stands for."""
        folder = self.file.parent
        here = [(finding, _entry(finding, folder)) for finding in findings]
        rest = [(finding, entry) for finding, entry in here if not self._take(entry)]
        return [finding for finding, entry in rest if not self._take(self._renamed(entry))]

    def stale(self, checked: Iterable[str]) -> list[tuple[Entry, int]]:
        """The entries that nothing was found for, with how many are too many, after all findings were looked at.

        `checked` are the names of the files that were checked: nothing is said of other files that exist.
        """
        known = {_relative(name, self.file.parent) for name in checked}
        over = sorted((entry, number) for entry, number in self.left.items() if number > 0)
        return [(entry, number) for entry, number in over if entry.path in known or self._is_gone(entry.path)]

    def _take(self, entry: Entry | None) -> bool:
        if entry is None or self.left[entry] <= 0:
            return False
        self.left[entry] -= 1
        return True

    def _renamed(self, entry: Entry) -> Entry | None:
        """The entry of a file that is gone, for the same code and statement."""
        for other, number in self.left.items():
            if number > 0 and other[1:] == entry[1:] and self._is_gone(other.path):
                return other
        return None

    def _is_gone(self, path: str) -> bool:
        return not os.path.lexists(self.file.parent / path)


def read(file: Path) -> Baseline:
    """The baseline in a file. Raises `BaselineError`."""
    try:
        data = json.loads(file.read_bytes())
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise BaselineError(f"{_shown(file)}: {reason}; `--write-baseline` writes a baseline") from None
    except json.JSONDecodeError as error:
        raise BaselineError(f"{_shown(file)}:{error.lineno}: no valid JSON: {lowered(error.msg)}") from None
    except (UnicodeDecodeError, RecursionError):
        raise BaselineError(f"{_shown(file)}: no valid JSON") from None
    if not isinstance(data, dict) or not isinstance(data.get("findings"), list):
        raise BaselineError(f"{_shown(file)}: no baseline: an object with a list of `findings` is expected")
    if data.get("version") != _VERSION:
        raise BaselineError(f"{_shown(file)}: version {data.get('version')} of the format is not known, {_VERSION} is")
    left: Counter[Entry] = Counter()
    for number, item in enumerate(data["findings"], start=1):
        entry = _parsed(item)
        if entry is None:
            raise BaselineError(f"{_shown(file)}: entry {number}: `path`, `code`, `statement` and `count` are expected")
        left[entry] += item["count"]
    return Baseline(file, left)


def known_findings(findings: Sequence[Finding], files: Mapping[str, Path]) -> tuple[set[int], dict[Path, Baseline]]:
    """The identities of the findings that the baselines hold, and the baselines with what is left of them.

    `files` gives the baseline of a file by the name of the file. Raises `BaselineError`.
    """
    baselines = {file: read(file) for file in dict.fromkeys(files.values())}
    known: set[int] = set()
    for file, baseline in baselines.items():
        here = [finding for finding in findings if files.get(finding.path) == file]
        known |= set(map(id, here)) - set(map(id, baseline.unknown(here)))
    return known, baselines


def write(file: Path, findings: Iterable[Finding]) -> int:
    """Write the findings as a baseline, sorted, and return how many they are. Raises `BaselineError`."""
    found = [(_entry(finding, file.parent), finding.name) for finding in findings]
    names = {entry.code: name for entry, name in found}
    counts = Counter(entry for entry, _ in found)
    items = [_item(entry, names[entry.code], number) for entry, number in sorted(counts.items())]
    text = json.dumps({"version": _VERSION, "findings": items}, indent=2) + "\n"
    try:
        file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise BaselineError(f"{_shown(file)}: {(error.strerror or 'cannot be written').lower()}") from None
    return len(found)


def _item(entry: Entry, name: str, number: int) -> Mapping[str, str | int]:
    return {"path": entry.path, "code": entry.code, "name": name, "statement": entry.statement, "count": number}


def _parsed(item: object) -> Entry | None:
    if not isinstance(item, dict):
        return None
    words = [item.get(key) for key in Entry._fields]
    count = item.get("count")
    if type(count) is not int or count < 1 or not all(isinstance(word, str) for word in words):
        return None
    return Entry(*map(str, words))


def _entry(finding: Finding, folder: Path) -> Entry:
    return Entry(_relative(finding.path, folder), finding.code, finding.statement)


def _relative(name: str, folder: Path) -> str:
    return os.path.relpath(os.path.abspath(name), folder).replace(os.sep, "/")


def _shown(file: Path) -> str:
    return _relative(os.fspath(file), Path.cwd()) if file.is_relative_to(Path.cwd()) else file.as_posix()


def stale_words(baseline: Baseline, stale: list[tuple[Entry, int]], verbose: bool) -> Iterator[str]:
    """What is said of entries that nothing was found for: how many, and with `verbose` each."""
    number = sum(count for _, count in stale)
    if number:
        shown = _shown(baseline.file)
        what = "1 finding is" if number == 1 else f"{number} findings are"
        yield f"{shown}: {what} gone; `--write-baseline {shown}` takes {'it' if number == 1 else 'them'} out"
        if verbose:
            for entry, count in stale:
                times = f" ({count} times)" if count > 1 else ""
                yield f"{shown}: gone: {entry.path}: {entry.code}: {entry.statement}{times}"
