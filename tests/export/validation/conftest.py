"""A fresh sound repository for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.validation.sound_repository import write_repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "models")
