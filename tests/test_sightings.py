"""What a name holds where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from losslint.sightings import NamedUnit, named_units
from losslint.source import SourceError, SourceFile, project_roots

TRAIN = """\
from torch import nn
from helper import scaled


def train(model, loader, optimizer, accum_steps):
    criterion = nn.CrossEntropyLoss()
    total = 0.0
    for i, (x, y) in enumerate(loader):
        raw = criterion(model(x), y)
        loss = scaled(raw, accum_steps)
        loss.backward()
        total += loss.item()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
    print(total / len(loader))
"""


def units(path: Path, text: str) -> list[NamedUnit]:
    source = SourceFile(path, path.as_posix(), text)
    return list(named_units(source, project_roots(path, None, ())))


def words(found: list[NamedUnit], text: str, path: Path) -> set[tuple[int, str, str, bool]]:
    lines = text.splitlines()
    return {
        (
            one.range.start_line,
            lines[one.range.start_line - 1][one.range.start_column - 1 : one.range.end_column - 1],
            one.unit,
            one.bound,
        )
        for one in found
        if one.path == path.as_posix()
    }


def test_every_name_of_a_loss_has_its_unit(tmp_path: Path) -> None:
    helper = tmp_path / "helper.py"
    helper.write_text("def scaled(loss, n):\n    loss = loss / n\n    return loss\n")
    path = tmp_path / "train.py"
    found = units(path, TRAIN)
    assert words(found, TRAIN, path) == {
        (9, "raw", "1", True),
        (10, "raw", "1", False),
        (10, "loss", "1/accum_steps", True),
        (11, "loss", "1/accum_steps", False),
        (12, "loss", "1/accum_steps", False),
        (12, "total", "batches/accum_steps", True),
        (16, "total", "batches/accum_steps", False),
    }
    in_helper = {(one.range.start_line, one.unit, one.bound) for one in found if one.path == helper.as_posix()}
    assert in_helper == {(2, "1", False), (2, "1/accum_steps", True), (3, "1/accum_steps", False)}


def test_the_trail_ends_at_the_name(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def scaled(loss, n):\n    return loss / n\n")
    total = next(one for one in units(tmp_path / "train.py", TRAIN) if one.range.start_line == 16)
    assert [(step.range.start_line, step.unit) for step in total.trail] == [
        (9, "1"),
        (2, "1/accum_steps"),
        (12, "batches/accum_steps"),
    ]


def test_what_is_no_loss_has_no_unit(tmp_path: Path) -> None:
    assert units(tmp_path / "x.py", "for x in range(3):\n    y = x / 2\n    print(y)\n") == []


def test_a_file_that_does_not_parse(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        units(tmp_path / "x.py", "for\n")
