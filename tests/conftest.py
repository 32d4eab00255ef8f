from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest

from losslint import selection


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is the working directory, outside of any configuration, and the fake analysis."""
    for variable in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    fakes.install(
        lambda name, module: monkeypatch.setitem(sys.modules, name, module),
        lambda rules: monkeypatch.setattr(selection, "rules", rules),
    )
    yield tmp_path
    selection.catalogue.cache_clear()
