"""The cache of query embeddings: it changes no answer, has a bound, and belongs to one pair of towers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.embedding.embedding_cache import EmbeddingCache, entries_from_environment
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.retrieval.embedding.text import TextEncoder, clean_queries
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.live.loading import pipeline_loader
from tests.whole_server.other_towers import swapped_towers

QUERIES = ["red dress", "a gift for a child who likes trains", "mug", "blue wool scarf", "red dress", "mug"]


@pytest.fixture(scope="module")
def encoder(repository: Path) -> TextEncoder:
    return TextEncoder.read(RepositoryLayout(repository).query_tokenizer, 32)


def test_a_single_query_has_the_same_embedding_with_and_without_a_cache(
    repository: Path, pipeline: InProcessPipeline
) -> None:
    cached = InProcessPipeline(repository, cached_queries=10)
    for _ in range(2):
        for query in QUERIES:
            np.testing.assert_array_equal(cached.embed_query([query]), pipeline.embed_query([query]))
    assert cached.cache is not None
    assert (cached.cache.hits, cached.cache.misses) == (8, 4)


def test_a_batch_of_cached_new_and_repeated_queries_is_answered_in_order(
    repository: Path, pipeline: InProcessPipeline
) -> None:
    cached = InProcessPipeline(repository, cached_queries=10)
    cached.embed_query(["mug", "plates"])
    # Padding changes the last bits of a query that is embedded among longer ones, with and without a cache.
    np.testing.assert_allclose(cached.embed_query(QUERIES), pipeline.embed_query(QUERIES), atol=1e-6)
    assert cached.cache is not None
    assert (cached.cache.hits, cached.cache.misses) == (3, 5)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Red Dress", "red dress", True),
        ("Crème", "creme", True),  # this tokeniser strips accents
        ("red dress", "red dresses", False),
        ("[MASK]", "[mask]", False),  # only the first is a special token
        ("ΟΔΟΣ", "οδος", False),  # the tokeniser's lower case has no final sigma
    ],
)
def test_texts_share_a_key_if_the_tokeniser_sees_no_difference(
    encoder: TextEncoder, one: str, other: str, same: bool
) -> None:
    assert (encoder.key(one) == encoder.key(other)) is same


@settings(max_examples=200)
@given(st.text(st.sampled_from("aAbBéÉσςΣßẞİı[]MASK \t\u0301\x00壶"), min_size=1, max_size=8))
def test_texts_with_the_same_key_have_the_same_tokens(encoder: TextEncoder, text: str) -> None:
    for other in (text.lower(), text.upper(), text.swapcase(), text.strip()):
        if encoder.key(text) == encoder.key(other):
            (ids, _), (other_ids, _) = encoder.encode([text]), encoder.encode([other])
            assert ids.tolist() == other_ids.tolist()


def test_the_least_recently_used_entry_is_dropped_first() -> None:
    cache = EmbeddingCache(2, 1)
    computed: list[str] = []

    def ask(*keys: str) -> list[float]:
        def compute(rows: list[int]) -> np.ndarray:
            computed.extend(keys[row] for row in rows)
            return np.array([[ord(keys[row])] for row in rows], dtype=np.float32)

        return [float(row[0]) for row in cache.embed(keys, compute)]

    assert ask("a", "b") == [97, 98]
    assert ask("a", "c", "a") == [97, 99, 97]  # drops b
    assert ask("a", "b", "c", "d") == [97, 98, 99, 100]  # more than it holds
    assert ask("b", "d") == [98, 100]  # the last two stay
    assert computed == ["a", "b", "c", "b", "d"]
    assert len(cache) == 2


def test_an_index_of_the_same_towers_keeps_the_cache_and_other_towers_start_a_new_one(
    repository: Path, index: Path, pipeline: InProcessPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPWINDOW_EMBEDDING_CACHE", "7")
    load = pipeline_loader(repository, lambda pipeline: pipeline.retrieve(["mug"]))
    index = resolve_index(index)
    first = load(index, None)
    again = load(index, first)
    assert again is not first
    assert first.cache is not None
    assert again.cache is first.cache
    assert (first.cache.hits, first.cache.misses) == (1, 1)

    others = InProcessPipeline(swapped_towers(repository, tmp_path / "others"), cached_queries=7)
    others.embed_query(["mug"])
    after = load(index, others)
    assert after.cache is not None
    assert after.cache is not others.cache
    np.testing.assert_array_equal(after.embed_query(["mug"]), pipeline.embed_query(["mug"]))

    monkeypatch.setenv("SHOPWINDOW_EMBEDDING_CACHE", "0")
    assert pipeline_loader(repository, lambda pipeline: None)(index, None).cache is None


def test_batches_of_requests_have_the_same_answers_with_and_without_a_cache(
    repository: Path, index: Path, pipeline: InProcessPipeline
) -> None:
    cached = InProcessPipeline(repository, index, cached_queries=10)
    requests = [
        (clean_queries(queries), pipeline.prepare_parameters({"top_k": 5, "channels": channels}, words=True))
        for queries, channels in ((["Mug", "mug"], "embedding"), (["mug"], "lexical"), (["red dress"], "embedding"))
        if channels == "embedding" or pipeline.index.lexical is not None
    ]
    for found, expected in zip(cached.answer_queries(requests), pipeline.answer_queries(requests), strict=True):
        assert found.product_ids.tolist() == expected.product_ids.tolist()
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.parametrize("value", ["many", "-1", "1.5", ""])
def test_a_wrong_cache_size_is_refused_with_the_name_of_the_variable(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPWINDOW_EMBEDDING_CACHE", value)
    with pytest.raises(ValueError, match="SHOPWINDOW_EMBEDDING_CACHE: must be a whole number"):
        entries_from_environment()
