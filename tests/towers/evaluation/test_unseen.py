"""Rankings of the products that training never saw, and of as many drawn from the others."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from shopwindow.towers.evaluation.unseen import restrict, unseen_table
from shopwindow.towers.judging.corpus import Corpus
from shopwindow.towers.judging.metrics import Estimate
from tests.towers.judged import judged_by

IDS = np.arange(10, 22)
WORDS = ["red", "blue", "green"]
THINGS = ["mug", "lamp", "chair", "shirt"]
CORPUS = Corpus(
    product_ids=IDS,
    titles=[f"{word} {thing}" for thing in THINGS for word in WORDS],
    images=[b""] * 12,
    columns={},
)
JUDGED = judged_by(
    queries=["red", "mug", "lamp", "green shirt"], relevant=[{10, 13, 16, 19}, {10, 11, 12}, {13, 14, 15}, {21}]
)
UNSEEN = np.isin(IDS, [10, 12, 13, 15, 19])
RNG = np.random.default_rng(3)
QUERIES, PRODUCTS = (RNG.normal(size=(rows, 5)).astype(np.float32) for rows in (4, 12))
QUERIES /= np.linalg.norm(QUERIES, axis=1, keepdims=True)
PRODUCTS /= np.linalg.norm(PRODUCTS, axis=1, keepdims=True)


def mean_ndcg(among: set[int]) -> tuple[int, float]:
    """Return the number of queries that these products answer, and their mean nDCG@10 by its definition."""
    gains = []
    for query, relevant in zip(QUERIES, JUDGED.relevant, strict=True):
        answers = relevant & among
        if not answers:
            continue
        similar = {int(product): float(vector @ query) for product, vector in zip(IDS, PRODUCTS, strict=True)}
        ranked = sorted(among, key=lambda product: -similar[product])[:10]
        gain = sum(1 / log2(place + 2) for place, product in enumerate(ranked) if product in answers)
        gains.append(gain / sum(1 / log2(place + 2) for place in range(min(10, len(answers)))))
    return len(gains), float(np.mean(gains))


def mean(cell: object) -> float:
    assert isinstance(cell, Estimate)
    return cell.mean


def test_towers_rank_only_the_unseen_products() -> None:
    table = unseen_table(QUERIES, PRODUCTS, CORPUS, JUDGED, UNSEEN, seed=0)
    assert table is not None
    row = table.rows[0]
    assert (row["products"], row["of"], row["system"]) == ("never seen", 5, "towers")
    assert (row["queries"], mean(row["nDCG@10"])) == pytest.approx(mean_ndcg({10, 12, 13, 15, 19}))
    assert row["queries"] == 3  # no unseen product answers the fourth


def test_as_many_seen_products_are_drawn_and_judged_on_the_queries_that_they_answer() -> None:
    seen = set(IDS[~UNSEEN].tolist())
    found = set()
    for seed in range(4):
        table = unseen_table(QUERIES, PRODUCTS, CORPUS, JUDGED, UNSEEN, seed=seed)
        assert table is not None
        row = table.rows[2]
        assert (row["products"], row["of"], row["system"]) == ("seen", 5, "towers")
        drawn = set(np.random.default_rng(seed).permutation(sorted(seen))[:5].tolist())
        assert drawn < seen
        assert (row["queries"], mean(row["nDCG@10"])) == pytest.approx(mean_ndcg(drawn))
        found.add(frozenset(drawn))
    assert len(found) > 1


def test_bm25_ranks_the_same_products() -> None:
    table = unseen_table(QUERIES, PRODUCTS, CORPUS, JUDGED, UNSEEN, seed=0)
    assert table is not None
    towers, bm25 = table.rows[:2]
    assert (bm25["products"], bm25["of"], bm25["queries"], bm25["system"]) == ("never seen", 5, 3, "BM25")
    # Among the unseen, titles name every answer: "red" finds 10, 13, 19, "mug" 10, 12 and "lamp" 13, 15.
    assert mean(bm25["nDCG@10"]) == mean(bm25["recall@10"]) == mean(bm25["MRR"]) == 1.0
    assert mean(towers["nDCG@10 ahead of BM25"]) == pytest.approx(mean(towers["nDCG@10"]) - 1.0)


def test_without_an_answer_among_the_unseen_there_is_no_table() -> None:
    assert unseen_table(QUERIES, PRODUCTS, CORPUS, JUDGED, IDS == 17, seed=0) is None
    assert unseen_table(QUERIES, PRODUCTS, CORPUS, JUDGED, np.zeros(12, dtype=bool), seed=0) is None


def test_if_more_products_are_unseen_than_seen_all_seen_ones_are_ranked() -> None:
    table = unseen_table(QUERIES, PRODUCTS, CORPUS, JUDGED, IDS > 12, seed=0)
    assert table is not None
    assert [(row["products"], row["of"]) for row in table.rows[::2]] == [("never seen", 9), ("seen", 3)]


def test_restricted_judgements_hold_no_other_products() -> None:
    judged = restrict(JUDGED, np.array([12, 13]))
    assert judged.queries == ["red", "mug", "lamp"]
    assert judged.relevant == [{13}, {12}, {13}]
