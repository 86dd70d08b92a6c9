"""A base and a delta searched as one index, against brute force over both, for every engine of the base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shopwindow.retrieval.engines import EngineOptions, FaissCpuEngine, FaissGpuEngine, SearchEngine, Where
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.engines.segmented import SegmentedEngine
from shopwindow.retrieval.engines.stored_vectors import JoinedVectors
from tests.ranking import assert_is_exact_search
from tests.retrieval.engines.gpu_stand_in import StandIn
from tests.retrieval.index_parts import unit_vectors

BASE, DELTA = 1_200, 90
KINDS = ("flat", "hnsw", "ivf", "ivf-sq8", "gpu")


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(3).permutation(unit_vectors(BASE + DELTA))


@pytest.fixture(scope="module")
def queries(vectors: np.ndarray) -> np.ndarray:
    near = vectors[::86] + 0.2 * np.random.default_rng(4).normal(size=vectors[::86].shape)
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


def segmented(kind: str, vectors: np.ndarray) -> SegmentedEngine:
    """Build an engine with the first BASE vectors as its base. Approximate bases search as widely as they can."""
    base: SearchEngine
    if kind == "gpu":
        recipe = choose_recipe(BASE, "flat")
        base = FaissGpuEngine.open(vectors[:BASE], Path(), recipe, EngineOptions(where=Where.GPU), StandIn())
    else:
        recipe = choose_recipe(BASE, kind)
        base = FaissCpuEngine.build(vectors[:BASE], recipe.with_breadth(recipe.max_breadth))
    return SegmentedEngine(base, vectors[:BASE], vectors[BASE:])


MASKS = {
    "all": None,
    "most": np.arange(BASE + DELTA) % 10 != 3,
    "none of the base": np.arange(BASE + DELTA) >= BASE,
    "none of the delta": np.arange(BASE + DELTA) < BASE,
    "seven": np.isin(np.arange(BASE + DELTA), [0, 5, 500, BASE - 1, BASE, BASE + 7, BASE + DELTA - 1]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_base_and_delta_are_searched_as_one(vectors: np.ndarray, queries: np.ndarray, kind: str) -> None:
    engine = segmented(kind, vectors)
    assert (engine.rows, engine.dim, engine.spare(9)) == (BASE + DELTA, vectors.shape[1], 0)
    for name, rows in MASKS.items():
        if kind == "gpu" and name == "seven":  # a GPU leaves so narrow a filter to exact search
            continue
        mask = None if rows is None else RowMask(rows.copy())
        for k in (1, 7, 60):
            k = min(k, engine.rows if mask is None else mask.count)
            scores, found = engine.search(queries, k, 5, mask)
            assert_is_exact_search(found, scores, queries, vectors, np.arange(len(vectors)), allowed=rows)


def test_a_k_above_the_rows_of_the_base_finds_rows_of_both(vectors: np.ndarray, queries: np.ndarray) -> None:
    engine = segmented("flat", vectors)
    assert engine.largest_k == BASE + DELTA
    scores, rows = engine.search(queries[:2], BASE + DELTA, 5, None)
    assert_is_exact_search(rows, scores, queries[:2], vectors, np.arange(len(vectors)))


def test_the_last_place_is_empty_if_the_base_found_too_few_rows(vectors: np.ndarray, queries: np.ndarray) -> None:
    recipe = choose_recipe(BASE, "ivf").with_breadth(1)
    base = FaissCpuEngine.build(vectors[:BASE], recipe)
    one = SegmentedEngine(base, vectors[:BASE], vectors[BASE:])
    # These rows are in lists that the search does not visit.
    far = vectors @ queries[0] < np.quantile(vectors @ queries[0], 0.3)
    mask = RowMask(far)
    alone = base.search(queries, 25, 1, mask.split(BASE)[0])[1]
    short = (alone < 0).any(axis=1)
    assert short.any()  # otherwise the test would prove nothing
    _, rows = one.search(queries, 25, 1, mask)
    assert ((rows[:, -1] < 0) == short).all()


def test_a_mask_has_the_count_numbers_bits_and_parts_of_its_rows() -> None:
    rows = np.random.default_rng(0).random(101) < 0.3
    mask = RowMask(rows.copy())
    assert (len(mask), mask.count, mask.numbers.tolist()) == (101, rows.sum(), np.flatnonzero(rows).tolist())
    assert np.unpackbits(mask.bits, bitorder="little")[:101].astype(bool).tolist() == rows.tolist()
    before, after = mask.split(37)
    assert (before.rows.tolist(), after.rows.tolist()) == (rows[:37].tolist(), rows[37:].tolist())
    assert mask.split(37)[0] is before  # computed once
    with pytest.raises(ValueError, match="read-only"):
        mask.rows[0] = True


def test_joined_vectors_are_read_by_row_number(vectors: np.ndarray) -> None:
    joined = JoinedVectors(vectors[:BASE], vectors[BASE:])
    rows = np.random.default_rng(0).permutation(len(vectors))
    assert joined.shape == vectors.shape and len(joined) == len(vectors)
    assert np.array_equal(joined[rows], vectors[rows])
