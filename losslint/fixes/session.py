"""A run that fixes: findings are fixed in memory until nothing more can be, then shown as a diff or written.

One fix changes a file at a time, and the file is analysed again before the next: a fix was tried on the text as it
was, and says nothing of what it does together with another.
"""

from __future__ import annotations

import codecs
import difflib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from losslint.check import Progress, Report, Wishes, check
from losslint.config import Configs
from losslint.discovery import Discovery, Target
from losslint.findings import Applicability, Edit, Finding, Fix
from losslint.fixes.apply import apply
from losslint.source import NOTEBOOK_SUFFIX, SourceError, decode, encode, read, split_lines
from losslint.unsaved import unsaved

MAX_PASSES = 100
"""How often a file is changed at most: fixes that undo each other must not run for ever."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be written, and why."""

    name: str
    message: str


@dataclass(slots=True)
class Session:
    """What has been fixed. `before` and `after` hold the bytes of each file that has changed; `report` is what is
    found in the files as they are now."""

    report: Report
    fixed: list[Finding] = field(default_factory=list)
    before: dict[Target, bytes] = field(default_factory=dict)
    after: dict[Target, bytes] = field(default_factory=dict)


def fix(found: Discovery, configs: Configs, wishes: Wishes, unsafe: bool, progress: Progress | None = None) -> Session:
    """Fixes what can be fixed, in memory. Only files that are to be checked are changed. Raises `ConfigError`."""
    targets = {os.path.abspath(target.path): target for target in found.targets}
    session = Session(check(found, configs, wishes, progress))
    report = session.report
    for _ in range(MAX_PASSES):
        changed = _fix_once(session, report, targets, unsafe)
        if not changed:
            if report is session.report:
                break
            # every changed file is clean by itself: what do the others say now
            changed = set(found.targets)
        with unsaved({target.path: data for target, data in session.after.items()}):
            report = check(Discovery(sorted(changed, key=lambda one: one.name)), configs, wishes)
        if changed == set(found.targets):
            session.report = report = replace(report, troubles=tuple(found.troubles))
    session.report = replace(session.report, fixed=len(session.fixed), unsafe_fixes=unsafe)
    return session


def _fix_once(session: Session, report: Report, targets: Mapping[str, Target], unsafe: bool) -> set[Target]:
    """Applies one fix to each file that has any; returns the files that changed."""
    changed: set[Target] = set()
    for finding in report.findings:
        if finding.fix is None or not (unsafe or finding.fix.applicability is Applicability.SAFE):
            continue
        edits = _by_target(finding.fix, targets)
        if edits is None or not changed.isdisjoint(edits):
            continue
        texts = {target: _edited(session, target, some) for target, some in edits.items()}
        new = {target: data for target, data in texts.items() if data is not None}
        if len(new) < len(texts):
            continue
        for target, data in new.items():
            session.before.setdefault(target, _content(session, target))
            session.after[target] = data
        changed |= set(new)
        session.fixed.append(finding)
    return changed


def _by_target(fix: Fix, targets: Mapping[str, Target]) -> dict[Target, list[Edit]] | None:
    """The edits by file; None where one of the files is not to be checked."""
    found: dict[Target, list[Edit]] = {}
    for edit in fix.edits:
        target = targets.get(os.path.abspath(edit.path))
        if target is None:
            return None
        found.setdefault(target, []).append(edit)
    return found


def _content(session: Session, target: Target) -> bytes:
    data = session.after.get(target)
    return data if data is not None else read(target.path) or b""


def _edited(session: Session, target: Target, edits: Iterable[Edit]) -> bytes | None:
    """The bytes of a file after some edits; None where they no longer fit it."""
    try:
        return edited(_content(session, target), target.path, edits)
    except (OSError, SourceError, ValueError):
        return None


def edited(data: bytes, path: Path, edits: Iterable[Edit]) -> bytes:
    """The bytes of a source file or notebook after some edits; encoding, byte-order mark, line ends, outputs and
    metadata are kept. Raises `SourceError`, and `ValueError` where an edit does not fit."""
    if path.suffix == NOTEBOOK_SUFFIX:
        return _edited_notebook(data, path, edits)
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    return mark + encode(apply(decode(data, path), edits)).removeprefix(codecs.BOM_UTF8)


def _edited_notebook(data: bytes, path: Path, edits: Iterable[Edit]) -> bytes:
    from losslint.notebookfile import open_notebook
    from losslint.notebooks import parse

    notebook = parse(data, path)
    sources = {cell.number: cell.source for cell in notebook.cells} if notebook is not None else {}
    by_cell: dict[int, list[Edit]] = {}
    for edit in edits:
        if edit.cell not in sources:
            raise ValueError("an edit of a notebook is in none of its cells")
        by_cell.setdefault(edit.cell, []).append(edit)
    changed = {cell: apply(sources[cell], some) for cell, some in by_cell.items()}
    return open_notebook(data, path).rewritten(changed)


# ---------------------------------------------------------------- what comes of it


def diff(session: Session) -> Iterator[str]:
    """The changes as a unified diff, line by line, without line ends."""
    for target in sorted(session.after, key=lambda one: one.name):
        old, new = (_text(data, target.path) for data in (session.before[target], session.after[target]))
        yield from difflib.unified_diff(old, new, target.name, target.name, lineterm="")


def _text(data: bytes, path: Path) -> list[str]:
    lines = list(split_lines(decode(data, path)))
    return lines[:-1] if lines and not lines[-1] else lines


def write(session: Session) -> list[Failure]:
    """Writes the changed files, each as a whole or not at all; a file that has changed meanwhile is left alone."""
    failures = []
    for target in sorted(session.after, key=lambda one: one.name):
        message = _write(target.path, session.before[target], session.after[target])
        if message:
            failures.append(Failure(target.name, message))
    return failures


def _write(path: Path, before: bytes, after: bytes) -> str:
    """Why a file cannot be written, or an empty string when it is."""
    try:
        # a link stays one: what it leads to is written
        real = path.resolve(strict=True)
        if real.read_bytes() != before:
            return "has changed since it was read, not fixed"
        if not os.access(real, os.W_OK):
            return "is read-only, not fixed"
        _replace(real, after)
    except OSError as error:
        return f"cannot be written: {(error.strerror or 'unknown error').lower()}"
    return ""


def _replace(path: Path, data: bytes) -> None:
    """Puts a new file in the place of an old one, with its mode. Raises `OSError`."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(name, path.stat().st_mode & 0o7777)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
