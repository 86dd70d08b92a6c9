"""Fixtures that several tests of retrieval share."""

from __future__ import annotations

import pytest

from shopwindow.retrieval.engines import MilvusOptions


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> MilvusOptions:
    """A Milvus Lite in this process. Each test that fills it uses another prefix for its collections."""
    return MilvusOptions(uri=str(tmp_path_factory.mktemp("milvus") / "lite.db"), timeout_s=120)
