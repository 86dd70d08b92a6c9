"""The parity check leaves out broken rows, and finds a graph that is wrong for one kind of product only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval import InProcessPipeline
from shopwindow.towers.architecture.checkpoint import load_checkpoint
from shopwindow_export.parity import measure_parity, read_sample
from tests.conftest import CHECKPOINT


@pytest.fixture(scope="module")
def rows(shop: Path) -> list[dict[str, Any]]:
    """Twelve products of the shop, with title and photo."""
    table = pq.read_table(shop / "products.parquet", columns=["product_id", "title", "image"])
    return [row for row in table.slice(0, 40).to_pylist() if row["title"] and row["image"]][:12]


@pytest.fixture(scope="module")
def towers_alone(repository: Path) -> InProcessPipeline:
    return InProcessPipeline(repository)


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), folder / "products.parquet")
    return folder / "products.parquet"


def test_the_sample_leaves_out_broken_rows(
    tmp_path: Path, towers_alone: InProcessPipeline, rows: list[dict[str, Any]]
) -> None:
    broken = [{**rows[0], "product_id": None}, {**rows[0], "image": b"broken"}, {**rows[0], "title": "x" * 2_000}]
    mixed = write(tmp_path, [*broken, {**rows[0], "title": None}, *rows[1:]])
    sample = read_sample(mixed, towers_alone.preprocessor, size=10)  # the first ten rows are too few
    assert sample.products.modality_mask.tolist() == [[0, 1], *[[1, 1]] * 11]
    words = [row["title"].split() for row in rows[1:]]
    assert sample.queries == [" ".join(title[len(title) // 2 :]) for title in words]


def test_a_sample_that_is_too_small_is_refused_with_its_counts(
    tmp_path: Path, towers_alone: InProcessPipeline, rows: list[dict[str, Any]]
) -> None:
    few = write(tmp_path, [*rows[:9], {**rows[9], "image": b"broken"}])
    with pytest.raises(CatalogError, match=r"has 9 usable products, 9 with titles; at least 10 are needed"):
        read_sample(few, towers_alone.preprocessor)
    untitled = write(
        tmp_path, [{**row, "title": row["title"] if place < 3 else None} for place, row in enumerate(rows)]
    )
    with pytest.raises(CatalogError, match=r"has 12 usable products, 3 with titles"):
        read_sample(untitled, towers_alone.preprocessor)


def test_a_graph_that_is_wrong_for_photos_alone_fails(
    tmp_path: Path, towers_alone: InProcessPipeline, rows: list[dict[str, Any]]
) -> None:
    sample = read_sample(write(tmp_path, rows), towers_alone.preprocessor)  # all have a title and a photo
    checkpoint = load_checkpoint(CHECKPOINT)
    assert measure_parity(checkpoint, towers_alone, sample).passed
    with torch.no_grad():
        checkpoint.towers.product.no_title.neg_()
    report = measure_parity(checkpoint, towers_alone, sample)
    assert not report.passed
    assert report.overlap_at_10 == 1.0  # products as they are still agree
