"""Reading judged queries, their answers and their groups."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.towers.judging.judgements import MOST_GROUPS, read_judgements


def write(folder: Path, **tables: dict[str, list]) -> tuple[Path, Path]:
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder / "queries.parquet", folder / "qrels.parquet"


QRELS = {"query_id": [1, 1, 2, 4, 9], "product_id": [5, 6, 7, 8, 5], "relevance": [1, 2, 0, 1, 1]}


def test_judgements_join_queries_with_their_relevant_products(tmp_path: Path) -> None:
    queries = {"query_id": [1, 2, 3, 4], "text": ["mug", "lamp", "boat", "chair"]}
    found = read_judgements(*write(tmp_path, queries=queries, qrels=QRELS))
    assert found.queries == ["mug", "chair"]  # the others have no relevant product
    assert found.relevant == [{5, 6}, {8}]
    assert found.groups == {}


def test_columns_of_the_queries_and_of_a_meta_file_become_groups(tmp_path: Path) -> None:
    queries = {"query_id": [1, 2, 4], "text": ["mug", "lamp", "chair"], "kind": ["plain", "visual", "visual"]}
    meta = {
        "query_id": [4, 1, *range(100, 130)],
        "template": ["b", "a", *["c"] * 30],
        "attrs": [f"its own {n}" for n in range(MOST_GROUPS + 12)],
    }
    found = read_judgements(*write(tmp_path, queries=queries, qrels=QRELS, query_meta=meta))
    assert found.groups == {"kind": ["plain", "visual"], "template": ["a", "b"]}  # attrs differs from row to row


def test_judgements_without_an_answer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"qrels\.parquet has no product"):
        read_judgements(*write(tmp_path, queries={"query_id": [2], "text": ["lamp"]}, qrels=QRELS))
