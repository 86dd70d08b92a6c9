"""`ProductIndex` against brute force: every CPU engine, mixed batches, rare and common filters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval import InvalidRequest, ProductIndex, RequestParameters, SearchResult, parse_parameters
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.index.folder import IndexFolder
from shopwindow.retrieval.search import product_index
from tests.ranking import TOLERANCE, assert_is_exact_search, assert_same_ranking
from tests.retrieval.index_parts import DIM, attribute_rows, make_index

ROWS = 3_000
KINDS = ("flat", "hnsw", "ivf")


@dataclass(frozen=True)
class Shelf:
    """An index and the data that brute force needs."""

    folder: IndexFolder
    index: ProductIndex
    vectors: np.ndarray
    rows: list[dict[str, Any]]

    def qualifying(self, given: dict[str, Any]) -> np.ndarray:
        """Return the row numbers that satisfy a filter, read row by row."""
        return np.array([i for i, row in enumerate(self.rows) if satisfies(row, given.get("filter", {}))], dtype=int)

    def search(self, queries: np.ndarray, **given: Any) -> SearchResult:
        parameters = parse_parameters(given)
        self.index.check(queries, parameters)
        return self.index.search_batch([(queries, parameters)])[0]


def satisfies(row: dict[str, Any], conditions: dict[str, Any]) -> bool:
    """Return whether a row satisfies one of the filters used here: equal, at least, below."""
    for column, condition in conditions.items():
        value = row[column]
        if value is None:
            return False
        if not isinstance(condition, dict):
            if value != condition:
                return False
        elif value < condition.get("gte", value) or value >= condition.get("lt", np.inf):
            return False
    return True


@pytest.fixture(scope="module")
def shelves() -> dict[str, Shelf]:
    """Every kind of index over the same products."""
    return {
        kind: Shelf(folder, ProductIndex(folder), folder.vectors.astype(np.float64), attribute_rows(ROWS))
        for kind, folder in ((kind, make_index(kind, ROWS)) for kind in KINDS)
    }


@pytest.fixture(scope="module")
def engines_filter() -> Iterator[None]:
    """Send filters that leave more than 50 products through the engine's selector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product_index, "EXACT_ROWS", 50)
        yield


def queries_near(shelf: Shelf, rows: list[int]) -> np.ndarray:
    """Return (len(rows), DIM) float32 unit vectors near some products."""
    near = [shelf.vectors[row] + 0.3 * np.random.default_rng(row).normal(size=DIM) for row in rows]
    queries = np.array(near).reshape(-1, DIM)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return queries.astype(np.float32)


def assert_valid(shelf: Shelf, queries: np.ndarray, given: dict[str, Any], result: SearchResult) -> None:
    """Assert true scores in falling order, of qualifying products, with padding only at the end."""
    top_k, low = given.get("top_k", 100), given.get("min_score")
    row_of = {int(product): row for row, product in enumerate(shelf.folder.product_ids)}
    allowed = set(shelf.qualifying(given).tolist())
    assert result.product_ids.shape == result.scores.shape == (len(queries), top_k)
    assert (result.product_ids.dtype, result.scores.dtype) == (np.int64, np.float32)
    for query, ids, scores in zip(queries.astype(np.float64), result.product_ids, result.scores, strict=True):
        found = int((ids >= 0).sum())
        assert (ids[found:] == -1).all() and np.isneginf(scores[found:]).all()
        rows = [row_of[product] for product in ids[:found].tolist()]
        assert len(set(rows)) == found and allowed.issuperset(rows)
        assert np.abs(shelf.vectors[rows] @ query - scores[:found]).max(initial=0) < TOLERANCE
        assert (np.diff(scores[:found]) <= TOLERANCE).all()
        if low is None:
            assert found == min(top_k, len(allowed))
        else:
            assert (scores[:found] >= low - TOLERANCE).all()


def assert_exact(shelf: Shelf, queries: np.ndarray, given: dict[str, Any], result: SearchResult) -> None:
    """Assert the best products and no others, up to ties."""
    assert result.product_ids.shape == (len(queries), given.get("top_k", 100))
    allowed = np.zeros(ROWS, bool)
    allowed[shelf.qualifying(given)] = True
    low = given.get("min_score", -np.inf)
    ids = shelf.folder.product_ids
    assert_is_exact_search(
        result.product_ids, result.scores, queries, shelf.vectors, ids, allowed=allowed, min_score=low
    )


FILTERS: list[dict[str, Any]] = [
    {},
    {"colour": "red"},
    {"colour": "gold"},
    {"colour": "blue", "in_stock": True},
    {"price": {"gte": 100, "lt": 900}},
    {"price": {"lt": 0}},
    {"price": {"gte": 995}, "colour": "red"},
]

REQUEST = st.fixed_dictionaries(
    {"rows": st.lists(st.integers(0, ROWS - 1), max_size=3)},
    optional={
        "top_k": st.sampled_from([1, 7, 50, 400, ROWS, 10_000]),
        "effort": st.integers(1, 10),
        "filter": st.sampled_from(FILTERS),
        "min_score": st.sampled_from([-1.0, 0.3, 0.77, 2.0]),
    },
)


@pytest.mark.usefixtures("engines_filter")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(mixed=st.lists(REQUEST, min_size=1, max_size=6))
def test_a_mixed_batch_answers_each_request_as_if_it_came_alone(
    shelves: dict[str, Shelf], kind: str, mixed: list[dict[str, Any]]
) -> None:
    shelf = shelves[kind]
    asked = [(queries_near(shelf, request.pop("rows")), request) for request in map(dict, mixed)]
    together = shelf.index.search_batch([(queries, parse_parameters(parameters)) for queries, parameters in asked])
    assert len(together) == len(asked)
    for (queries, parameters), result in zip(asked, together, strict=True):
        assert_valid(shelf, queries, parameters, result)
        alone = shelf.search(queries, **parameters)
        assert_same_ranking(result.product_ids, result.scores, alone.product_ids, alone.scores)
        if kind == "flat":
            assert_exact(shelf, queries, parameters, result)


def test_flat_equals_brute_force(shelves: dict[str, Shelf]) -> None:
    shelf = shelves["flat"]
    queries = queries_near(shelf, list(range(0, ROWS, 150)))
    for conditions in FILTERS:
        for top_k in (1, 100, 10_000):
            given = {"top_k": top_k, "filter": conditions}
            assert_exact(shelf, queries, given, shelf.search(queries, **given))


def test_the_best_products_come_in_the_order_of_their_scores(shelves: dict[str, Shelf]) -> None:
    shelf = shelves["flat"]
    queries = queries_near(shelf, list(range(0, ROWS, 150)))
    # The last ten products repeat the first ten. Without these there are no ties, so the ids are known.
    expected = np.argsort(-(queries.astype(np.float64) @ shelf.vectors[:-10].T), axis=1)[:, :3]
    distinct = [row for row in range(len(queries)) if (expected[row] >= 10).all()]
    assert len(distinct) >= 15
    result = shelf.search(queries, top_k=10)
    assert np.array_equal(result.product_ids[distinct, :3], shelf.folder.product_ids[expected[distinct]])


@pytest.mark.usefixtures("engines_filter")
@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
@pytest.mark.parametrize("effort", [1, 10])
def test_an_approximate_engine_returns_as_many_products_as_qualify(
    shelves: dict[str, Shelf], kind: str, effort: int
) -> None:
    """Even if the engine alone would visit fewer."""
    shelf = shelves[kind]
    queries = queries_near(shelf, [3, 1_500])
    for conditions in FILTERS:
        for top_k in (20, 1_000, 10_000):
            given = {"top_k": top_k, "effort": effort, "filter": conditions}
            assert_valid(shelf, queries, given, shelf.search(queries, **given))


@pytest.mark.usefixtures("engines_filter")
@pytest.mark.parametrize("kind", KINDS)
def test_a_common_filter_is_applied_by_the_engine_and_a_rare_one_by_exact_search(
    shelves: dict[str, Shelf], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks: list[RowMask | None] = []
    search = FaissCpuEngine.search

    def spy(engine: FaissCpuEngine, queries: np.ndarray, k: int, effort: int, mask: RowMask | None) -> Any:
        masks.append(mask)
        return search(engine, queries, k, effort, mask)

    monkeypatch.setattr(FaissCpuEngine, "search", spy)
    shelf = shelves[kind]
    queries = queries_near(shelf, [7])
    assert_exact(shelf, queries, {"filter": {"colour": "gold"}}, shelf.search(queries, filter={"colour": "gold"}))
    assert masks == []
    shelf.search(queries, filter={"colour": "red"})
    assert [np.flatnonzero(mask.rows).tolist() for mask in masks if mask is not None] == [
        shelf.qualifying({"filter": {"colour": "red"}}).tolist()
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_that_no_product_satisfies_gives_only_padding(shelves: dict[str, Shelf], kind: str) -> None:
    result = shelves[kind].search(queries_near(shelves[kind], [1, 2]), top_k=5, filter={"price": {"lt": 0}})
    assert (result.product_ids == np.full((2, 5), -1)).all()
    assert np.isneginf(result.scores).all()


@pytest.mark.parametrize("kind", KINDS)
def test_min_score_only_cuts_the_ranking(shelves: dict[str, Shelf], kind: str) -> None:
    shelf = shelves[kind]
    queries = queries_near(shelf, [5, 50, 500])
    every = shelf.search(queries, top_k=200)
    cut = shelf.search(queries, top_k=200, min_score=0.6)
    kept = every.scores >= 0.6
    assert 0 < kept.sum() < kept.size
    assert np.array_equal(cut.product_ids, np.where(kept, every.product_ids, -1))
    assert np.array_equal(cut.scores, np.where(kept, every.scores, -np.inf))


def test_more_effort_finds_no_less(shelves: dict[str, Shelf]) -> None:
    shelf = shelves["ivf"]
    queries = queries_near(shelf, list(range(0, ROWS, 60)))
    best = np.sort(queries.astype(np.float64) @ shelf.vectors.T, axis=1)[:, ::-1][:, :10]
    gaps = [(best - shelf.search(queries, top_k=10, effort=effort).scores).sum() for effort in (1, 3, 10)]
    assert gaps[0] > gaps[1] >= gaps[2] - TOLERANCE
    assert gaps[2] < 1e-3  # effort 10 visits every list of this small index


def test_more_filters_than_the_cache_keeps_are_answered_correctly(
    shelves: dict[str, Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product_index, "MASKS_KEPT", 2)
    shelf = replace(shelves["flat"], index=ProductIndex(shelves["flat"].folder))  # a new index has no cached masks
    queries = queries_near(shelf, [11])
    for _ in range(2):
        for conditions in FILTERS:
            given = {"top_k": 30, "filter": conditions}
            assert_exact(shelf, queries, given, shelf.search(queries, **given))


@pytest.mark.parametrize(
    ("embedding", "named"),
    [
        (np.full((1, DIM), np.nan, np.float32), "finite norm, got NaN, infinity or huge values"),
        (np.full((1, DIM), np.inf, np.float32), "embedding: must be finite with a finite norm"),
        (np.full((1, DIM), 3e38, np.float32), "embedding: must be finite with a finite norm"),
        (np.zeros((1, DIM + 1), np.float32), rf"embedding: must be \(batch, {DIM}\), got \(1, {DIM + 1}\)"),
        (np.zeros(DIM, np.float32), rf"embedding: must be \(batch, {DIM}\), got \({DIM},\)"),
    ],
)
def test_an_embedding_that_cannot_be_searched_is_refused(
    shelves: dict[str, Shelf], embedding: np.ndarray, named: str
) -> None:
    with pytest.raises(InvalidRequest, match=named):
        shelves["flat"].index.check(embedding, RequestParameters())


def test_a_filter_on_an_unknown_column_is_refused(shelves: dict[str, Shelf]) -> None:
    with pytest.raises(InvalidRequest, match=r"filter.color: no such attribute \(did you mean 'colour'\?\)"):
        shelves["flat"].search(queries_near(shelves["flat"], [1]), filter={"color": "red"})
