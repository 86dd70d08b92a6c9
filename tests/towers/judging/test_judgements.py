"""Reading judged queries, their answers and their groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.towers.judging.judgements import MOST_GROUPS, note_unknown, read_judgements


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
    assert found.grades == [{5: 1.0, 6: 2.0}, {8: 1.0}]
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


TEXTS = {"query_id": [1, 2, 4], "text": ["mug", "lamp", "chair"]}


def test_what_is_left_out_is_said_with_figures(tmp_path: Path) -> None:
    qrels = {"query_id": [1, 2, 9, 8], "product_id": [5, 6, 7, 7], "relevance": [1.0, float("nan"), 1.0, 1.0]}
    queries, judged = write(tmp_path, queries=TEXTS, qrels=qrels)
    found = read_judgements(queries, judged)
    assert found.queries == ["mug"]
    assert found.notes == (
        f"queries: 2 of 3 queries have no relevant product in {judged} and are left out",
        f"qrels: 2 of 4 judgements are of queries that {queries} lacks, such as 9, and are left out",
        "qrels: 1 of 4 values of relevance are NaN and count as not relevant",
    )


def test_relevant_products_that_do_not_exist_are_said_with_figures(tmp_path: Path) -> None:
    qrels = {"query_id": [1, 1, 2, 4], "product_id": [5, 6, 7, 5], "relevance": [1, 1, 1, 1]}
    judged = read_judgements(*write(tmp_path, queries=TEXTS, qrels=qrels))
    assert judged.notes == ()
    assert note_unknown(judged, np.array([5, 6, 7, 8]), "the index") is None
    assert note_unknown(judged, np.array([5, 8]), "the index") == (
        "qrels: 2 of 3 relevant products (67%), such as 6, are not in the index and count as missed; 1 of 3 queries "
        "have no other"
    )
    with pytest.raises(ValueError, match="none of the 3 relevant products, such as 5, is in the index; give"):
        note_unknown(judged, np.array([8]), "the index")


def test_text_ids_booleans_negative_grades_and_repeated_rows_are_read(tmp_path: Path) -> None:
    queries = {"query_id": pa.array(["a", "b"]).dictionary_encode(), "text": ["mug", "lamp"]}
    qrels = {"query_id": ["a", "a", "b"], "product_id": [2**53 + 1, 2**53 + 1, 6], "relevance": [True, True, True]}
    found = read_judgements(*write(tmp_path, queries=queries, qrels=qrels))
    assert found.grades == [{2**53 + 1: 1.0}, {6: 1.0}]
    qrels |= {"relevance": [0.5, 0.5, -2.0]}
    assert read_judgements(*write(tmp_path, queries=queries, qrels=qrels)).grades == [{2**53 + 1: 0.5}]


@pytest.mark.parametrize(
    ("queries", "qrels", "named"),
    [
        ({"query_id": [1, 2, 1]}, {}, r"column 'query_id' has 1 twice, in rows 0 and 2 \(from 0\); leave one"),
        (
            {"text": ["mug", None, "  "]},
            {},
            r"column 'text' must hold texts, row 1 \(from 0\) has no value \(2 such rows",
        ),
        ({"text": [b"mug", b"", b""]}, {}, r"column 'text' must hold texts, got bytes"),
        (
            {"query_id": [1.0, 2.0, 4.0]},
            {},
            r"column 'query_id' must hold whole numbers or texts, got floating-point numbers",
        ),
        (
            {"query_id": ["1", "2", "4"]},
            {},
            r"holds text in .*queries.parquet, such as '1', and whole numbers in .*qrels",
        ),
        (
            {},
            {"product_id": ["5", "6", "7", "", "5"]},
            r"qrels.*'product_id' must hold whole numbers .*or texts, row 3 \(from 0\) has ''",
        ),
        (
            {},
            {"product_id": [5.0, 6, 7, 8, 5]},
            r"'product_id' must hold whole numbers .*got floating-point numbers, .*lose digits",
        ),
        ({}, {"product_id": [5, None, 7, 8, 5]}, r"'product_id' must hold .* row 1 \(from 0\) has no value"),
        ({}, {"product_id": [5, 6, 7, -1, 5]}, r"'product_id' must hold .* row 3 \(from 0\) has -1; "),
        ({}, {"product_id": pa.array([5, 6, 2**63, 8, 5], pa.uint64())}, r"row 2 \(from 0\) has 9223372036854775808"),
        ({}, {"relevance": [1, 1, None, 1, 1]}, r"'relevance' must hold finite numbers, row 2 \(from 0\) has no value"),
        (
            {},
            {"relevance": [1, 1, 1, 1, float("inf")]},
            r"'relevance' must hold finite numbers, row 4 \(from 0\) has inf",
        ),
        ({}, {"relevance": ["1"] * 5}, r"'relevance' must hold finite numbers, got text"),
        ({}, {"product_id": [5, 5, 7, 8, 5]}, r"has 1 in row 0 and 2 in row 1 \(from 0\) for product 5 and query 1"),
    ],
)
def test_wrong_values_are_refused_with_their_place(
    tmp_path: Path, queries: dict[str, Any], qrels: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named) as refused:
        read_judgements(*write(tmp_path, queries=TEXTS | queries, qrels=QRELS | qrels))
    assert len(str(refused.value).splitlines()) == 1
    assert str(tmp_path) in str(refused.value)
