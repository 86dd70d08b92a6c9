"""nDCG and recall by hand, and over a real ranking."""

from __future__ import annotations

from math import log2
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval import InProcessPipeline
from towers.evaluate import evaluate, ndcg, read_judgements


@pytest.mark.parametrize(
    ("ranked", "relevant", "expected"),
    [
        ([5, 9, 7], {5, 7}, 0.9197208),  # (1 + 1/2) / (1 + 1/log2 3)
        ([5, 7, 9], {5, 7}, 1.0),
        ([9, 8, 6], {5}, 0.0),
        ([9, 5], {5}, 0.6309298),  # 1/log2 3
        ([5], {5, 7}, 0.6131472),  # 1 / (1 + 1/log2 3)
        ([-1] * 10, {5}, 0.0),
        (list(range(20)), set(range(20)), 1.0),  # more relevant than places
        ([*range(10), 99], {99}, 0.0),  # eleventh is too late
        ([*range(9), 99], {99}, 0.2890648),  # 1/log2 11
    ],
)
def test_ndcg_by_hand(ranked: list[int], relevant: set[int], expected: float) -> None:
    assert ndcg(ranked, relevant) == pytest.approx(expected, abs=1e-6)


def test_ndcg_at_another_depth() -> None:
    assert ndcg([1, 2, 3], {3}, k=2) == 0.0
    assert ndcg([1, 2, 3], {3}, k=3) == pytest.approx(0.5)


def test_judgements_join_queries_and_what_is_relevant(tmp_path: Path) -> None:
    queries, qrels = tmp_path / "queries.parquet", tmp_path / "qrels.parquet"
    pq.write_table(pa.table({"query_id": [1, 2, 3, 4], "text": ["mug", "lamp", "boat", "chair"]}), queries)
    pq.write_table(
        pa.table({"query_id": [1, 1, 2, 4, 9], "product_id": [5, 6, 7, 8, 5], "relevance": [1, 2, 0, 1, 1]}), qrels
    )
    found = read_judgements(queries, qrels)
    assert found.queries == ["mug", "chair"]  # the others have nothing that answers them
    assert found.relevant == [{5, 6}, {8}]


def test_quality_is_the_mean_over_the_judged_queries(pipeline: InProcessPipeline, shop: Path) -> None:
    judged = read_judgements(shop / "queries.parquet", shop / "qrels.parquet")
    quality = evaluate(pipeline, judged)
    gains, recalls = [], []
    for query, relevant in zip(judged.queries, judged.relevant, strict=True):
        ranked = pipeline.retrieve([query], top_k=100).product_ids[0].tolist()
        gain = sum(1 / log2(place + 2) for place, product in enumerate(ranked[:10]) if product in relevant)
        gains.append(gain / sum(1 / log2(place + 2) for place in range(min(10, len(relevant)))))
        recalls.append(sum(product in relevant for product in ranked) / len(relevant))
    assert quality.queries == len(judged.queries) > 0
    assert quality.ndcg_at_10 == pytest.approx(sum(gains) / len(gains), abs=1e-3)  # ties may change places
    assert quality.recall_at_100 == pytest.approx(sum(recalls) / len(recalls), abs=1e-3)
