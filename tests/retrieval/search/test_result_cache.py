"""The cache of results: it changes no answer, has a bound, and belongs to one index."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.live.loading import pipeline_loader
from shopwindow.retrieval.search.exact import SearchResult
from shopwindow.retrieval.search.result_cache import ResultCache, bytes_from_environment

QUERIES = ["red dress", "mug", "a gift for a child", "blue wool scarf"]
PARAMETERS: list[dict[str, Any]] = [
    {"top_k": 3},
    {"top_k": 7},
    {"top_k": 3, "effort": 9},
    {"top_k": 3, "min_score": 0.2},
    {"top_k": 3, "filter": '{"price": {"lt": 50}}'},
    {"top_k": 3, "channels": "embedding,lexical"},
]


def assert_same(one: SearchResult, other: SearchResult) -> None:
    for name, array in vars(one).items():
        np.testing.assert_array_equal(array, vars(other)[name])


def test_answers_are_the_same_with_and_without_a_cache(
    repository: Path, index: Path, pipeline: InProcessPipeline
) -> None:
    cached = InProcessPipeline(repository, index, cached_queries=10, cache_bytes=2**20)
    assert cached.index.cache is not None
    for _ in range(2):
        for parameters in PARAMETERS:
            for query in QUERIES:
                assert_same(cached.retrieve([query], **parameters), pipeline.retrieve([query], **parameters))
    # min_score is applied after the cache, so it shares the entries of the first parameters. All others have their own.
    assert cached.index.cache.misses == len(QUERIES) * (len(PARAMETERS) - 1)
    assert cached.index.cache.hits == len(QUERIES) * (len(PARAMETERS) + 1)


def test_known_and_new_rows_of_a_batch_are_answered_in_order(repository: Path, index: Path) -> None:
    cached = InProcessPipeline(repository, index, cached_queries=10, cache_bytes=2**20)
    alone = [cached.retrieve([query], top_k=5) for query in QUERIES[:2]]
    together = cached.retrieve([QUERIES[2], QUERIES[1], QUERIES[3], QUERIES[0], QUERIES[1]], top_k=5)
    for row, one in ((3, alone[0]), (1, alone[1]), (4, alone[1])):
        np.testing.assert_array_equal(together.product_ids[row], one.product_ids[0])
    for row in (0, 2):
        again = cached.retrieve([[QUERIES[2], "", QUERIES[3]][row]], top_k=5)
        np.testing.assert_array_equal(together.product_ids[row], again.product_ids[0])
    together.product_ids[:] = together.scores[:] = 0  # a caller may change its result
    assert_same(cached.retrieve([QUERIES[0]], top_k=5), alone[0])


def test_the_cache_takes_no_more_memory_than_its_bound() -> None:
    most = 2**20
    cache = ResultCache(most)

    def found(missing: list[int]) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((len(missing), 100), np.float32), np.ones((len(missing), 100), np.int64)

    tracemalloc.start()
    try:
        for number in range(0, 6_000, 3):
            cache.search([(number + row).to_bytes(16) for row in range(3)], found)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 400 < len(cache) < 1_000
    assert taken < 1.1 * most
    hits = cache.hits
    cache.search([(5_999).to_bytes(16)], found)
    assert cache.hits == hits + 1  # the last one stayed
    cache.search([(0).to_bytes(16)], found)
    assert cache.hits == hits + 1  # the first one went


def test_the_cache_does_not_keep_long_filters(repository: Path, index: Path) -> None:
    cached = InProcessPipeline(repository, index, cached_queries=100, cache_bytes=2**20)
    cached.retrieve(["mug"], top_k=3)
    tracemalloc.start()
    try:
        for number in range(50):
            unwanted = [f"a brand {number} {other}" for other in range(500)]
            cached.retrieve(["mug"], top_k=3, filter=json.dumps({"colour": {"not_in": unwanted}}))
        kept, _ = tracemalloc.get_traced_memory()
        cached.index._masks.clear()  # they have another bound
        rest, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept > 50 * 500 * 20  # the masks' filters
    assert rest < 50 * 3_000


def test_equal_rows_of_a_batch_are_searched_for_once() -> None:
    searched: list[int] = []

    def found(missing: list[int]) -> tuple[np.ndarray, np.ndarray]:
        searched.extend(missing)
        return np.array([[row] for row in missing], np.float32), np.array([[row] for row in missing])

    cache = ResultCache(2**20)
    scores, rows = cache.search([b"a", b"b", b"a", b"a"], found)
    assert searched == [0, 1]
    assert scores.tolist() == rows.tolist() == [[0], [1], [0], [0]]
    assert (cache.hits, cache.misses) == (2, 2)


def test_the_least_recently_used_result_is_dropped_first() -> None:
    cache = ResultCache(1_300)  # room for two results
    searched: list[bytes] = []

    def ask(key: bytes) -> None:
        def found(_: list[int]) -> tuple[np.ndarray, np.ndarray]:
            searched.append(key)
            return np.zeros((1, 4), np.float32), np.zeros((1, 4), np.int64)

        cache.search([key], found)

    for key in (b"a", b"b", b"a", b"c", b"a", b"b"):  # c takes b's place
        ask(key)
    assert searched == [b"a", b"b", b"c", b"b"]


def test_another_index_starts_with_an_empty_cache(repository: Path, index: Path) -> None:
    index = resolve_index(index)
    load = pipeline_loader(repository, lambda pipeline: pipeline.retrieve(["mug"]), cache_bytes=2**20)
    first = load(index, None)
    first.retrieve(["mug"])
    again = load(index, first)
    assert again.index.cache is not None
    assert first.index.cache is not None
    assert again.index.cache is not first.index.cache
    assert pipeline_loader(repository, lambda pipeline: None)(index, None).index.cache is None


def test_the_environment_sets_the_bound_in_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bytes_from_environment() == 64 * 2**20
    monkeypatch.setenv("SHOPWINDOW_RESULT_CACHE_MIB", "3")
    assert bytes_from_environment() == 3 * 2**20
    monkeypatch.setenv("SHOPWINDOW_RESULT_CACHE_MIB", "-1")
    with pytest.raises(ValueError, match=r"SHOPWINDOW_RESULT_CACHE_MIB: must be a whole number of MiB.*got '-1'"):
        bytes_from_environment()
