"""Exact answers and recall, compared with plain arithmetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow_loadtests import LoadTestOptions
from shopwindow_loadtests.scenario.mix import Mix, read_mix
from shopwindow_loadtests.scenario.truth import ExactAnswers, exact_answers

MIX = """
queries: {queries}
requests:
  - {{kind: text, top_k: 10}}
  - {{kind: text, top_k: 10, filter: {{price: {{lt: 20}}}}}}
"""


@pytest.fixture
def case(tmp_path: Path, shop: Path, repository: Path, index: Path) -> tuple[LoadTestOptions, Mix]:
    file = tmp_path / "mix.yaml"
    file.write_text(MIX.format(queries=shop / "queries.parquet"))
    options = LoadTestOptions(
        mix=file, users=(1,), repository=repository, index=index, recall_share=0.3, recall_k=10, seed=4
    )
    return options, read_mix(options)


def test_the_exact_answers_agree_with_plain_arithmetic(
    case: tuple[LoadTestOptions, Mix], pipeline: InProcessPipeline, shop: Path, shop_queries: list[str]
) -> None:
    answers = exact_answers(*case)
    folder = pipeline.index.folder
    assert folder is not None
    prices = pq.read_table(shop / "products.parquet", columns=["product_id", "price"]).to_pydict()
    cheap = {one for one, price in zip(prices["product_id"], prices["price"], strict=True) if price < 20}
    assert set(answers.ids) == {"", '{"price": {"lt": 20}}'}
    for filter_json, known in answers.ids.items():
        assert len(known) == round(0.3 * len(shop_queries))
        allowed = np.array([not filter_json or one in cheap for one in folder.product_ids.tolist()])
        for query, right in known.items():
            scores = np.where(allowed, folder.vectors @ pipeline.embed_query([query])[0], -np.inf)
            best = folder.product_ids[np.argsort(-scores, kind="stable")[:10]]
            assert answers.recall(filter_json, [query], best[None]) == 1.0
            assert len(right) >= 10


def test_recall_counts_the_first_k_of_the_known_queries() -> None:
    answers = ExactAnswers(k=4, ids={"": {"mug": frozenset({1, 2, 3, 4}), "rare": frozenset({7})}})
    mug, unknown, rare = [1, 2, 9, 8, 3, 4], [1, 2, 3, 4, 5, 6], [7, -1, -1, -1, -1, -1]
    assert answers.recall("", ["mug"], np.array([mug])) == 0.5
    assert answers.recall("", ["mug", "cup", "rare"], np.array([mug, unknown, rare])) == 0.75
    assert np.isnan(answers.recall("", ["cup"], np.array([unknown])))
    assert np.isnan(answers.recall("other filter", ["mug"], np.array([mug])))


def test_all_products_that_tie_are_right() -> None:
    answers = ExactAnswers(k=2, ids={"": {"mug": frozenset({1, 2, 3})}})
    for found in ([1, 2], [3, 1], [2, 3]):
        assert answers.recall("", ["mug"], np.array([found])) == 1.0


def test_answers_are_read_back(tmp_path: Path) -> None:
    answers = ExactAnswers(k=4, ids={"": {"größe": frozenset({1, 2**62})}})
    answers.write(tmp_path / "answers.json")
    assert ExactAnswers.read(tmp_path / "answers.json") == answers


def test_too_small_a_top_k_is_refused(case: tuple[LoadTestOptions, Mix]) -> None:
    options, mix = case
    with pytest.raises(ValueError, match=r"recall_k=11: text batch=1 asks for only 10 products"):
        exact_answers(replace(options, recall_k=11), mix)
