"""The lexical channel and the merged channels, against BM25 and fusion in plain Python."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval import InvalidRequest, ProductIndex, SearchResult, parse_parameters
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.search.by_channels import check_channels, search_channels
from tests.ranking import TOLERANCE, assert_same_ranking
from tests.retrieval.index_parts import DIM, attribute_rows, make_index

ROWS = 600
WORDS = ["red", "blue", "mug", "lamp", "desk", "shirt", "wool", "oak", "steel", "mini", "classic", "unique"]
K1, B = 0.5, 0.75


def make_titles() -> list[str]:
    """Return titles of up to seven words, common and rare ones, some repeated."""
    rng = np.random.default_rng(5)
    weights = np.array([30, 30, 20, 20, 10, 10, 5, 5, 5, 2, 1, 0.1])
    return [" ".join(rng.choice(WORDS, rng.integers(8), p=weights / weights.sum())) for _ in range(ROWS)]


TITLES = make_titles()
PRODUCTS = attribute_rows(ROWS)
QUERIES = ["red mug", "oak", "wool shirt mini classic", "red red lamp", "sofa", "the blue desk, in steel!"]
FILTERS: list[dict[str, Any]] = [{}, {"colour": "red"}, {"colour": "gold"}, {"price": {"lt": 0}}]


def satisfies(row: int, conditions: dict[str, Any]) -> bool:
    if "colour" in conditions:
        return bool(PRODUCTS[row]["colour"] == conditions["colour"])
    return "price" not in conditions  # no price is below 0


def bm25(query: str) -> list[float]:
    """Return the score of every title, from the formula (Lucene's form of Robertson's)."""
    documents = [Counter(title.split()) for title in TITLES]
    average = sum(sum(words.values()) for words in documents) / ROWS
    scores = [0.0] * ROWS
    for word in query.replace(",", "").replace("!", "").split():
        holding = sum(word in words for words in documents)
        weight = math.log(1 + (ROWS - holding + 0.5) / (holding + 0.5))
        for row, words in enumerate(documents):
            length = sum(words.values())
            scores[row] += weight * words[word] / (words[word] + K1 * (1 - B + B * length / average))
    return scores


def exact(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors as float32 multiples of 1/2048. Their dot products are exact, in any order of the sums.

    Fused scores depend on ranks, so a rounding that swaps two products would change them by far more than itself.
    """
    rounded: np.ndarray = (np.round(vectors * 2048) / 2048).astype(np.float32)
    return rounded


@pytest.fixture(scope="module")
def index() -> ProductIndex:
    folder = make_index("flat", ROWS)
    vectors = exact(folder.vectors)
    attributes = folder.attributes.set_column(
        folder.attributes.column_names.index("title"), "title", pa.array(TITLES, pa.string())
    )
    engine = FaissCpuEngine.build(vectors, folder.manifest.recipe)
    parts = {"vectors": vectors, "engine": engine, "attributes": attributes, "lexical": LexicalIndex.build(TITLES)}
    return ProductIndex(replace(folder, **parts))


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(len(QUERIES), DIM))
    return exact(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def search(index: ProductIndex, embeddings: np.ndarray, queries: list[str], **given: Any) -> SearchResult:
    parameters = parse_parameters(given)
    index.check(embeddings, parameters)
    check_channels(index, parameters, words=True)
    return search_channels(index, [(embeddings, queries, parameters)])[0]


def filled_places(result: SearchResult) -> list[list[tuple[int, float, int]]]:
    """Return (product, score, channels) of every filled place, by row. Assert that the rest is padding at the end."""
    rows = []
    for ids, scores, channels in zip(result.product_ids, result.scores, result.channels, strict=True):
        filled = int((ids >= 0).sum())
        assert (ids[filled:] == -1).all() and np.isneginf(scores[filled:]).all() and (channels[filled:] == 0).all()
        rows.append(list(zip(ids[:filled].tolist(), scores[:filled].tolist(), channels[:filled].tolist(), strict=True)))
    return rows


@pytest.mark.parametrize("conditions", FILTERS)
@pytest.mark.parametrize("top_k", [1, 1_000])
def test_the_lexical_channel_is_bm25_over_the_titles_that_a_filter_leaves(
    index: ProductIndex, embeddings: np.ndarray, top_k: int, conditions: dict[str, Any]
) -> None:
    found = filled_places(search(index, embeddings, QUERIES, top_k=top_k, channels="lexical", filter=conditions))
    row_of = {product: row for row, product in enumerate(index.product_ids.tolist())}
    for query, places in zip(QUERIES, found, strict=True):
        scores = bm25(query.removeprefix("the ").replace(" in ", " "))  # stop words do not count
        best = sorted((s for row, s in enumerate(scores) if s > 0 and satisfies(row, conditions)), reverse=True)
        assert [score for _, score, _ in places] == pytest.approx(best[:top_k], abs=1e-4)
        rows = [row_of[product] for product, _, _ in places]
        assert len(set(rows)) == len(rows)
        assert all(satisfies(row, conditions) for row in rows)
        assert [scores[row] for row in rows] == pytest.approx(best[:top_k], abs=1e-4)
        assert {channels for _, _, channels in places} <= {2}


def test_equal_titles_are_in_the_order_of_the_index(index: ProductIndex, embeddings: np.ndarray) -> None:
    found = search(index, embeddings[:1], ["red"], top_k=ROWS, channels="lexical")
    place = np.argsort(index.product_ids)[np.searchsorted(np.sort(index.product_ids), found.product_ids[0][:200])]
    same = np.flatnonzero(found.scores[0][:199] == found.scores[0][1:200])
    assert len(same) > 100
    assert (place[same] < place[same + 1]).all()


def fuse_by_hand(
    by_embedding: list[tuple[int, float, int]], by_words: list[tuple[int, float, int]], weight: float | None
) -> dict[int, tuple[float, int]]:
    fused: dict[int, tuple[float, int]] = {}
    for ranking, share, tag in ((by_embedding, weight, 1), (by_words, weight and 1 - weight, 2)):
        worst, best = (ranking[-1][1], ranking[0][1]) if ranking else (0.0, 0.0)
        for place, (product, score, _) in enumerate(ranking, 1):
            before, tags = fused.get(product, (0.0, 0))
            if share is None:
                points = 1 / (60 + place)
            else:
                points = share * ((score - worst) / (best - worst) if best > worst else 1.0)
            fused[product] = (before + points, tags | tag)
    return fused


@pytest.mark.parametrize("conditions", FILTERS)
@pytest.mark.parametrize("top_k", [5, 250])
def test_both_channels_merge_by_the_formula_and_the_reply_tells_which_found_what(
    index: ProductIndex, embeddings: np.ndarray, top_k: int, conditions: dict[str, Any]
) -> None:
    depth = max(top_k, 100)
    alone = [
        filled_places(search(index, embeddings, QUERIES, top_k=depth, channels=channel, filter=conditions))
        for channel in ("embedding", "lexical")
    ]
    qualifying = sum(satisfies(row, conditions) for row in range(ROWS))
    for fusion, weight in ((None, None), ("weighted:0.7", 0.7), ("weighted:1", 1)):
        both = {"channels": "embedding,lexical", "fusion": fusion, "filter": conditions}
        found = filled_places(search(index, embeddings, QUERIES, top_k=top_k, **both))
        for places, by_embedding, by_words in zip(found, *alone, strict=True):
            fused = fuse_by_hand(by_embedding, by_words, weight)
            best = sorted((score for score, _ in fused.values()), reverse=True)[:top_k]
            assert len(places) == min(top_k, len(fused)) >= min(top_k, qualifying)
            assert [score for _, score, _ in places] == pytest.approx(best, abs=1e-6)
            for product, score, channels in places:
                assert fused[product] == (pytest.approx(score, abs=1e-6), channels)


def test_a_larger_top_k_begins_with_the_smaller_one(index: ProductIndex, embeddings: np.ndarray) -> None:
    for fusion in ("rrf", "weighted:0.4"):
        small, large = (
            search(index, embeddings, QUERIES, top_k=k, channels="embedding,lexical", fusion=fusion) for k in (10, 100)
        )
        assert np.array_equal(small.product_ids, large.product_ids[:, :10])
        assert np.array_equal(small.scores, large.scores[:, :10])


@pytest.mark.parametrize(("channels", "least"), [("lexical", 2.0), ("embedding,lexical", 0.012)])
def test_min_score_applies_to_the_scores_of_the_reply(
    index: ProductIndex, embeddings: np.ndarray, channels: str, least: float
) -> None:
    every = search(index, embeddings, QUERIES, top_k=100, channels=channels)
    cut = search(index, embeddings, QUERIES, top_k=100, channels=channels, min_score=least)
    kept = every.scores >= least
    assert 0 < kept.sum() < np.isfinite(every.scores).sum()
    assert np.array_equal(cut.product_ids, np.where(kept, every.product_ids, -1))
    assert np.array_equal(cut.scores, np.where(kept, every.scores, -np.inf))
    assert np.array_equal(cut.channels, np.where(kept, every.channels, 0))


PARAMETERS = st.fixed_dictionaries(
    {"top_k": st.integers(1, 700), "filter": st.sampled_from(FILTERS)},
    optional={"min_score": st.sampled_from([0.01, 0.3, 2.0])},
)
CHANNELS = st.one_of(
    st.sampled_from([{}, {"channels": "embedding"}, {"channels": "lexical"}]),
    st.sampled_from(["rrf", "weighted:0.2", "weighted:0.9"]).map(
        lambda fusion: {"channels": "embedding,lexical", "fusion": fusion}
    ),
)


@settings(max_examples=40)
@given(asked=st.lists(st.tuples(st.integers(1, 3), PARAMETERS, CHANNELS), min_size=2, max_size=5))
def test_a_mixed_batch_answers_each_request_as_if_it_came_alone(
    index: ProductIndex, embeddings: np.ndarray, asked: list[tuple[int, dict[str, Any], dict[str, Any]]]
) -> None:
    together = search_channels(
        index, [(embeddings[:rows], QUERIES[:rows], parse_parameters({**a, **b})) for rows, a, b in asked]
    )
    for (rows, a, b), result in zip(asked, together, strict=True):
        alone = search(index, embeddings[:rows], QUERIES[:rows], **a, **b)
        if b.get("channels") == "lexical":
            assert np.array_equal(result.product_ids, alone.product_ids)
        assert_same_ranking(result.product_ids, result.scores, alone.product_ids, alone.scores)
        assert result.channels.shape == result.product_ids.shape


def test_the_embedding_channel_alone_equals_a_search_by_embedding(index: ProductIndex, embeddings: np.ndarray) -> None:
    parameters = parse_parameters({"top_k": 30, "filter": {"colour": "gold"}})
    expected = index.search_batch([(embeddings, parameters)])[0]
    result = search(index, embeddings, [], top_k=30, filter={"colour": "gold"})
    assert_same_ranking(result.product_ids, result.scores, expected.product_ids, expected.scores)
    assert np.array_equal(result.channels, (result.product_ids >= 0).astype(int))
    assert result.scores[np.isfinite(result.scores)].max() <= 1 + TOLERANCE


def test_a_channel_that_cannot_be_searched_is_refused_with_advice(index: ProductIndex) -> None:
    both = parse_parameters({"channels": "embedding,lexical"})
    with pytest.raises(InvalidRequest, match=r"channels: must be embedding .*no query.* got 'embedding,lexical'"):
        check_channels(index, both, words=False)
    without = ProductIndex(make_index("flat", ROWS))
    with pytest.raises(InvalidRequest, match=r"channels: .* no lexical channel, got 'lexical'; .*'shopwindow index'"):
        check_channels(without, parse_parameters({"channels": "lexical"}), words=True)
    check_channels(without, parse_parameters({"channels": "embedding"}), words=False)


def test_titles_without_words_give_no_lexical_channel() -> None:
    assert LexicalIndex.build(["", "!", "the"]) is None
    assert LexicalIndex.build([]) is None
