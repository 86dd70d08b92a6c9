"""Fixtures that several tests of retrieval share."""

from __future__ import annotations

import pytest

from shopwindow.retrieval.engines import MilvusOptions


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> MilvusOptions:
    """A Milvus Lite in this process, a new one for each file. Tests that fill it use different prefixes.

    One for all files would break: gRPC cuts a connection that was idle for too long ("Too many pings").
    """
    return MilvusOptions(uri=str(tmp_path_factory.mktemp("milvus") / "lite.db"), timeout_s=120)
