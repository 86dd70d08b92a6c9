"""Reading clicks: what is left out is counted, and wrong values are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.towers.data.training_data import Clicks, load_clicks


class Catalogue:
    """Two products."""

    row_of = {5: 0, 2**53 + 1: 1}  # noqa: RUF012


def load(file: Path, **columns: Any) -> Clicks:
    pq.write_table(pa.table(columns), file)
    return load_clicks(file, Catalogue())


def test_clicks_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    queries, products = ["Red  mug", None, " ", "lamp", "red mug"], [2**53 + 1, 5, 5, 2**53, 5]
    clicks = load(tmp_path / "clicks", query=queries, product_id=products, count=[4, 1, 1, 1, 9])
    assert clicks.queries == ["red mug"]
    assert (clicks.product.tolist(), clicks.weight.tolist()) == ([1, 0], [2.0, 3.0])
    assert clicks.notes == (
        "clicks: 1 of 5 clicks are of products that the catalogue lacks or that are held out, such as "
        "9007199254740992, and are left out",
        "clicks: 2 of 5 clicks have a query without words, and are left out",
    )


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"search_term": ["mug"], "product_id": [5]}, r"has no column 'query' \(texts\); it has \['search_term', "),
        (
            {"query": ["mug"], "product_id": [5.0]},
            r"'product_id' .*got floating-point numbers, such as 5.0 in row 0 \(from 0\)",
        ),
        (
            {"query": ["mug", "mug"], "product_id": [5, None]},
            r"'product_id' .* row 1 \(from 0\) has no value",
        ),
        (
            {"query": ["mug"], "product_id": [5], "count": [0]},
            r"'count' .* from 1, row 0 .* has 0; ",
        ),
        (
            {"query": ["mug"], "product_id": [5], "count": [1.5]},
            r"'count' .* from 1, got floating-point numbers, ",
        ),
        ({"query": ["mug"], "product_id": [6]}, r"no click names a product of the catalogue and has words; 1 of 1 are"),
    ],
)
def test_wrong_clicks_are_refused_in_one_line(tmp_path: Path, columns: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named) as refused:
        load(tmp_path / "clicks", **columns)
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"clicks: {tmp_path / 'clicks'}")
