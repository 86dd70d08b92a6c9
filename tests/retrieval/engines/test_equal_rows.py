"""Many products with equal vectors: a graph index finds the others, and all rows of a vector, like exact search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from shopwindow.retrieval import ProductIndex, parse_parameters
from shopwindow.retrieval.engines import EngineOptions, FaissCpuEngine, FaissGpuEngine, SearchEngine, Where
from shopwindow.retrieval.engines.equal_rows import EqualRows, distinct_sample, first_rows
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.engines.segmented import SegmentedEngine
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.folder import IndexFolder, read_index
from tests.ranking import assert_is_exact_search
from tests.retrieval.engines.gpu_stand_in import StandIn
from tests.retrieval.index_parts import make_index, unit_vectors, write_folder

ROWS, OTHERS = 3_000, 100
RECIPE = choose_recipe(ROWS, "hnsw")
INDEX = "index.faiss"


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """2,900 of 3,000 products have one vector. Of the others, some are equal too."""
    made = unit_vectors(ROWS)
    made[np.random.default_rng(1).permutation(ROWS)[OTHERS:]] = made[17]
    others = np.flatnonzero((made != made[17]).any(axis=1))
    made[others[:10]] = made[others[-10:]]
    return made


@pytest.fixture(scope="module")
def queries(vectors: np.ndarray) -> np.ndarray:
    """One query near each of the other products, and one near the products that share a vector."""
    near = np.concatenate([vectors[np.flatnonzero((vectors != vectors[17]).any(axis=1))], vectors[17:18]])
    near = near + 0.1 * np.random.default_rng(2).normal(size=near.shape)
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def engines(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SearchEngine]:
    """The engines that hold a graph: as built, as read from its file, and on a GPU."""
    file = tmp_path_factory.mktemp("graph") / INDEX
    built = FaissCpuEngine.build(vectors, RECIPE)
    built.write(file)
    gpu = FaissGpuEngine.open(vectors, file, RECIPE, EngineOptions(where=Where.GPU), StandIn(cuvs=True, obeys=True))
    return {"built": built, "read": FaissCpuEngine.read(file, RECIPE), "gpu": gpu}


MASKS: dict[str, Any] = {
    "all": lambda rows: None,
    "a third": lambda rows: rows % 3 == 0,
    "one of the equal ones": lambda rows: (rows < 40) | (rows > 2_500),
    "few": lambda rows: rows % 100 == 17,
}


@pytest.mark.parametrize("kept", MASKS)
@pytest.mark.parametrize("name", ["built", "read", "gpu"])
def test_a_graph_over_equal_products_answers_like_exact_search(
    engines: dict[str, SearchEngine], vectors: np.ndarray, queries: np.ndarray, name: str, kept: str
) -> None:
    engine, allowed = engines[name], MASKS[kept](np.arange(ROWS))
    assert (engine.rows, engine.dim, engine.largest_k) == (ROWS, vectors.shape[1], ROWS)
    mask = None if allowed is None else RowMask(allowed.copy())
    for k in (1, 10, 100, 1_500, ROWS):
        k = min(k, ROWS if mask is None else mask.count)
        scores, rows = engine.search(queries, k, 5, mask)
        assert_is_exact_search(rows, scores, queries, vectors, np.arange(ROWS), allowed=allowed)


def test_of_equal_products_the_first_rows_come_first(engines: dict[str, SearchEngine], vectors: np.ndarray) -> None:
    queries = np.stack([vectors[17], np.eye(1, vectors.shape[1], dtype=np.float32)[0]])
    equal = np.flatnonzero((vectors == vectors[17]).all(axis=1))
    allowed = np.arange(ROWS) % 3 == 0
    for k in (1, 50, 900):
        for engine in engines.values():
            for rows in engine.search(queries, k, 5, None)[1].tolist():
                found = [row for row in rows if row in equal]
                assert found == equal[: len(found)].tolist()
            for rows in engine.search(queries, k, 5, RowMask(allowed.copy()))[1].tolist():
                found = [row for row in rows if row in equal]
                assert found == equal[allowed[equal]][: len(found)].tolist()


def test_an_updated_graph_finds_added_products_and_no_removed_ones(vectors: np.ndarray, queries: np.ndarray) -> None:
    base, delta = vectors[:2_900], vectors[2_900:]
    engine = SegmentedEngine(FaissCpuEngine.build(base, RECIPE), base, delta)
    alive = np.random.default_rng(5).random(ROWS) < 0.8
    for k in (10, 2_000):
        scores, rows = engine.search(queries, k, 5, RowMask(alive.copy()))
        assert_is_exact_search(rows, scores, queries, vectors, np.arange(ROWS), allowed=alive)


def folder_of(vectors: np.ndarray, place: Path) -> IndexFolder:
    """Write an index folder of products with these vectors, and return what was written."""
    index = replace(make_index("hnsw", ROWS), vectors=vectors, engine=FaissCpuEngine.build(vectors, RECIPE))
    write_folder(place, index)
    return index


def test_a_written_index_is_served_with_filters(tmp_path: Path, vectors: np.ndarray, queries: np.ndarray) -> None:
    made = folder_of(vectors, tmp_path / "index")
    index = ProductIndex(read_index(tmp_path / "index"))
    assert f"{ROWS} vectors ({OTHERS - 10 + 1} different ones)" in index.engine_description
    for filter in ({}, {"in_stock": True}, {"price": {"lt": 500}}):
        [result] = index.search_batch([(queries, parse_parameters({"top_k": 50, "filter": filter}))])
        table = made.attributes.to_pylist()
        allowed = np.array(
            [
                (row["in_stock"] or "in_stock" not in filter)
                and ("price" not in filter or (row["price"] is not None and row["price"] < 500))
                for row in table
            ]
        )
        assert_is_exact_search(result.product_ids, result.scores, queries, vectors, made.product_ids, allowed=allowed)


def test_a_graph_that_holds_equal_vectors_many_times_still_opens(tmp_path: Path, vectors: np.ndarray) -> None:
    """Versions before this one wrote such graphs."""
    folder_of(vectors, tmp_path / "index")
    old = faiss.index_factory(vectors.shape[1], RECIPE.factory, faiss.METRIC_INNER_PRODUCT)
    old.add(vectors)
    faiss.write_index(old, str(tmp_path / INDEX))
    engine = FaissCpuEngine.read(tmp_path / INDEX, RECIPE)
    assert engine.rows == ROWS
    scores, rows = engine.search(vectors[17:18], 5, 5, None)
    assert (vectors[rows[0]] == vectors[17]).all() and scores[0] == pytest.approx(1, abs=1e-5)


def test_a_file_of_equal_rows_that_does_not_belong_to_the_graph_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    engine = FaissCpuEngine.build(vectors, RECIPE)
    engine.write(tmp_path / INDEX)
    file = tmp_path / "index.rows.npy"
    first = np.load(file)
    others = np.flatnonzero(first == np.arange(ROWS))
    merged, chained, later, beyond = first.copy(), first.copy(), first.copy(), first.copy()
    merged[first == others[-1]] = others[0]
    chained[first == others[-1]], chained[others[-2]] = others[-2], others[0]
    later[others[0]] = others[0] + 1
    beyond[-1] = -1
    for spoilt in (merged, chained, later, beyond, first[:, None], first.astype(np.int32), first[:0]):
        np.save(file, spoilt)
        with pytest.raises(ValueError, match=r"index\.rows\.npy"):
            FaissCpuEngine.read(tmp_path / INDEX, RECIPE)


def test_an_index_without_its_file_of_equal_rows_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    folder_of(vectors, tmp_path / "index")
    (tmp_path / "index" / "index.rows.npy").unlink()
    with pytest.raises(IndexUnfit, match=r"index\.rows\.npy|parts disagree"):
        read_index(tmp_path / "index")


def test_the_file_is_written_only_if_vectors_are_equal(tmp_path: Path, vectors: np.ndarray) -> None:
    FaissCpuEngine.build(vectors, RECIPE).write(tmp_path / INDEX)
    assert (tmp_path / "index.rows.npy").exists()
    different = vectors[np.unique(first_rows(vectors))]
    FaissCpuEngine.build(different, RECIPE).write(tmp_path / INDEX)
    assert [file.name for file in tmp_path.iterdir()] == [INDEX]
    assert EqualRows.of(different) is None


def test_equal_vectors_are_found_by_their_bits(vectors: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    made = rng.integers(3, size=(20_000, 3)).astype(np.float32)  # more rows than are read at a time
    firsts: dict[tuple[float, ...], int] = {}
    assert first_rows(made).tolist() == [
        firsts.setdefault(tuple(row), place) for place, row in enumerate(made.tolist())
    ]
    # These pairs differ in one bit, or in the order of their numbers.
    pairs = np.array([[1, 2], [2, 1], [1, np.nextafter(np.float32(2), np.float32(3))], [0, 0], [-0.0, 0]], np.float32)
    assert first_rows(pairs).tolist() == [0, 1, 2, 3, 4]


def test_a_sample_draws_each_vector_once(vectors: np.ndarray) -> None:
    rows = distinct_sample(vectors, 500)
    assert len(rows) == len(np.unique(vectors, axis=0)) == len(np.unique(vectors[rows], axis=0))
    assert len(distinct_sample(vectors, 20)) == 20
    among = np.flatnonzero(np.arange(ROWS) % 2 == 0)
    some = distinct_sample(vectors, 500, among)
    assert np.isin(some, among).all() and len(some) == len(np.unique(vectors[among], axis=0))
