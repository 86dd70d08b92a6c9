"""The scores of the pipeline and of BM25, and the slices of the queries."""

from __future__ import annotations

from math import log2
from pathlib import Path

import numpy as np
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.towers.evaluation.retrieval_quality import (
    NDCG,
    RECALL,
    quality_table,
    score_bm25,
    score_pipeline,
    slices,
)
from shopwindow.towers.judging.bm25 import rank_bm25
from shopwindow.towers.judging.corpus import Corpus
from shopwindow.towers.judging.judgements import read_judgements
from shopwindow.towers.judging.metrics import Estimate
from tests.towers.judged import judged_by

CORPUS = Corpus(
    product_ids=np.array([50, 60, 70]),
    titles=["red mug", "blue mug with a blue spoon", "oak table"],
    images=[b""] * 3,
    columns={"category": ["kitchen", "kitchen", "furniture"]},
)


def test_scores_equal_those_of_each_query_alone(pipeline: InProcessPipeline, shop: Path) -> None:
    judged = read_judgements(shop / "queries.parquet", shop / "qrels.parquet")
    scores = score_pipeline(pipeline, judged)
    gains, recalls, ranks = [], [], []
    for query, relevant in zip(judged.queries, judged.relevant, strict=True):
        ranked = pipeline.retrieve([query], top_k=100).product_ids[0].tolist()
        gain = sum(1 / log2(place + 2) for place, product in enumerate(ranked[:10]) if product in relevant)
        gains.append(gain / sum(1 / log2(place + 2) for place in range(min(10, len(relevant)))))
        recalls.append(sum(product in relevant for product in ranked) / len(relevant))
        ranks.append(max((1 / place for place, product in enumerate(ranked, 1) if product in relevant), default=0))
    assert len(scores[NDCG]) == len(judged.queries) > 0
    assert scores[NDCG].mean() == pytest.approx(np.mean(gains), abs=1e-3)  # ties may change places
    assert scores[RECALL].mean() == pytest.approx(np.mean(recalls), abs=1e-3)
    assert scores["MRR"].mean() == pytest.approx(np.mean(ranks), abs=1e-3)


def test_bm25_finds_titles_by_their_words_and_nothing_without_them() -> None:
    judged = judged_by(queries=["blue mug", "Table", "sofa"], relevant=[{60}, {70}, {70}])
    scores = score_bm25(CORPUS, judged)
    assert scores["MRR"].tolist() == [1.0, 1.0, 0.0]
    assert scores[RECALL].tolist() == [1.0, 1.0, 0.0]


def test_bm25_matches_plurals_possessives_and_hyphens() -> None:
    titles = ["Men's T-Shirt", "women tshirts", "oak table"]
    corpus = Corpus(product_ids=CORPUS.product_ids, titles=titles, images=[b""] * 3, columns={})
    judged = judged_by(queries=["mens tshirt", "t-shirts for women", "oak-tables"], relevant=[{50}, {60}, {70}])
    assert score_bm25(corpus, judged)["MRR"].tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("dress", "Summer Dresses"),
        ("watches", "Oak Watch"),
        ("accessory", "Accessories"),
        ("t shirt", "Tshirts"),
        ("men’s", "Men"),
    ],
)
def test_bm25_matches_other_forms_of_a_word(query: str, title: str) -> None:
    assert rank_bm25(["glass", title, "bus"], np.array([1, 2, 3]), [query], 3).tolist() == [[2, -1, -1]]


def test_bm25_finds_nothing_by_stop_words_or_in_a_catalogue_without_words() -> None:
    assert rank_bm25(["mug for the table"], np.array([1]), ["for", "mug for"], 2).tolist() == [[-1, -1], [1, -1]]
    assert rank_bm25(["", "!"], np.array([1, 2]), ["mug"], 2).tolist() == [[-1, -1]]


def test_slices_are_by_group_number_of_answers_and_category() -> None:
    judged = judged_by(
        queries=["mug", "table", "mugs and tables"],
        relevant=[{50, 60}, {70}, {50, 60, 70}],
        groups={"kind": ["plain", "plain", None]},
    )
    found = {name: mask.tolist() for name, mask in slices(judged, CORPUS, "category").items()}
    assert found == {
        "all": [True, True, True],
        "kind: plain": [True, True, False],
        "head (more than 2 relevant)": [False, False, True],
        "tail (at most 2 relevant)": [True, True, False],
        "category: furniture": [False, True, False],
        "category: kitchen": [True, False, True],
    }


def test_the_table_holds_means_of_slices_and_the_paired_lead_over_bm25() -> None:
    scores, baseline = {NDCG: np.array([1.0, 0.5, 0.0])}, {NDCG: np.array([0.5, 0.0, 0.0])}
    members = {"all": np.ones(3, dtype=bool), "first two": np.array([True, True, False])}
    judged = judged_by(queries=["a", "b", "c"], relevant=[{1}, {2}, set(range(200))], groups={})
    table = quality_table(scores, baseline, members, judged, seed=0)
    towers, bm25, towers_of_two, _ = table.rows
    lead = towers_of_two[f"{NDCG} ahead of BM25"]
    assert isinstance(towers[NDCG], Estimate) and towers[NDCG].mean == pytest.approx(0.5)
    assert isinstance(bm25[NDCG], Estimate) and bm25[NDCG].mean == pytest.approx(1 / 6)
    assert lead == Estimate(mean=0.5, low=0.5, high=0.5)
    assert towers_of_two["queries"] == 2
    assert "a perfect ranking would reach a recall@100 of 0.8333" in table.note
