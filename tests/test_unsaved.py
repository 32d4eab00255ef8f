"""Texts in memory are linted as if they were on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from losslint.check import Wishes, check_texts
from losslint.config import Configs
from losslint.source import decode, encode

HELPER = "def scaled(loss, n):\n    return loss{}\n"
TRAIN = """\
import torch
from torch import nn
from helper import scaled

accum_steps = 4
criterion = nn.CrossEntropyLoss()


def train(model, loader, optimizer):
    for i, (x, y) in enumerate(loader):
        loss = scaled(criterion(model(x), y), accum_steps)
        loss.backward()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
"""


def codes(texts: dict[Path, str]) -> dict[str, list[str]]:
    data = {path: text.encode() for path, text in texts.items()}
    report = check_texts(data, Configs(), Wishes())
    assert not report.failed
    return {Path(file.name).name: [finding.code for finding in file.findings] for file in report.files}


def test_an_unsaved_helper_is_followed(tmp_path: Path) -> None:
    train, helper = tmp_path / "train.py", tmp_path / "helper.py"
    train.write_text(TRAIN)
    helper.write_text(HELPER.format(" / n"))
    assert codes({train: TRAIN}) == {"train.py": []}
    assert codes({train: TRAIN, helper: HELPER.format("")}) == {"train.py": ["LL102"], "helper.py": []}
    assert codes({train: TRAIN, helper: HELPER.format(" / n")}) == {"train.py": [], "helper.py": []}


def test_a_file_that_changes_on_disk_is_read_again(tmp_path: Path) -> None:
    train, helper = tmp_path / "train.py", tmp_path / "helper.py"
    helper.write_text(HELPER.format(" / n"))
    assert codes({train: TRAIN}) == {"train.py": []}
    helper.write_text(HELPER.format(""))
    assert codes({train: TRAIN}) == {"train.py": ["LL102"]}
    helper.unlink()
    assert codes({train: TRAIN}) == {"train.py": []}


def test_files_that_are_not_on_disk_import_each_other(tmp_path: Path) -> None:
    texts = {tmp_path / "train.py": TRAIN, tmp_path / "helper.py": HELPER.format("")}
    assert codes(texts)["train.py"] == ["LL102"]


@pytest.mark.parametrize(
    "text", ["x = 'é😀'\n", "# coding: latin-1\nx = 'é'\n", "\n# -*- coding: utf-8 -*-\nx = 'é'\r\n"]
)
def test_encoded_text_decodes_to_itself(text: str) -> None:
    assert decode(encode(text), Path("x.py")) == text


def test_what_an_encoding_lacks_takes_as_many_columns() -> None:
    assert decode(encode("# coding: latin-1\nx = '😀'\n"), Path("x.py")) == "# coding: latin-1\nx = '?'\n"
