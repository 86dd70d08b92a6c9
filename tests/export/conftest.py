"""A repository of small towers for all tests of exporting, which only read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.small_repository import write_repository


@pytest.fixture(scope="session")
def small_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("small") / "model_repository")
