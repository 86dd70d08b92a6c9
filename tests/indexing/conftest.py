"""Fixtures of the tests of updates: products, and an index home of half of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import InProcessPipeline
from tests.indexing.homes import START, Product, Truth


@pytest.fixture(scope="module")
def truth(repository: Path) -> Truth:
    return Truth(InProcessPipeline(repository))


@pytest.fixture(scope="module")
def pool(shop: Path) -> list[Product]:
    """Eighty products with titles and photos; some of the first ones lack one of them."""
    rows = pq.read_table(shop / "products.parquet").slice(0, 80).to_pylist()
    return [
        {
            "product_id": 2**40 + 7 * place,
            "title": None if place % 9 == 4 else row["title"],
            "image": None if place % 9 == 2 else row["image"],
            "colour": ["red", "blue", None][place % 3],
            "price": float(place),
        }
        for place, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def queries(truth: Truth, pool: list[Product]) -> np.ndarray:
    near = truth.vectors(pool[::13]) + 0.1 * np.random.default_rng(0).normal(size=(7, 128)).astype(np.float32)
    return near / np.linalg.norm(near, axis=1, keepdims=True)


@pytest.fixture
def home(tmp_path: Path, truth: Truth, pool: list[Product]) -> Path:
    """An index home with the first START products."""
    truth.build(tmp_path / "index", pool[:START])
    return tmp_path / "index"
