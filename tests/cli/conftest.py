"""Fixtures that several tests of the command share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval.index.folder import read_manifest, write_manifest
from shopwindow.retrieval.index.home import resolve_index
from shopwindow_client import RetrievalClient

OTHER_TOWERS = "f00d" * 16


@pytest.fixture(scope="session")
def products(shop: Path) -> dict[int, dict[str, Any]]:
    """The rows of the shop's catalogue by product id."""
    return {row["product_id"]: row for row in pq.read_table(shop / "products.parquet").to_pylist()}


@pytest.fixture(scope="session")
def photo(products: dict[int, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file `photo.jpg` with the photo of a product."""
    file = tmp_path_factory.mktemp("photo") / "photo.jpg"
    file.write_bytes(next(iter(products.values()))["image"])
    return file


@pytest.fixture
def client(served: Any) -> Iterator[RetrievalClient]:
    with RetrievalClient(served.grpc_url, timeout_s=30.0) as client:
        yield client


@pytest.fixture(scope="session")
def index_of_other_towers(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the index whose manifest names `OTHER_TOWERS`."""
    folder = tmp_path_factory.mktemp("other") / "index"
    shutil.copytree(index, folder)
    place = resolve_index(folder)
    write_manifest(place, replace(read_manifest(place), tower_hash=OTHER_TOWERS))
    return folder
