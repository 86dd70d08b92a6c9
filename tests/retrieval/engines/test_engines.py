"""The GPU engine over real FAISS indexes: it ranks like the CPU, within the limits and without the filters of a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest

from shopwindow.retrieval import ProductIndex, SearchResult, parse_parameters
from shopwindow.retrieval.engines import (
    EngineOptions,
    FaissCpuEngine,
    FaissGpuEngine,
    SearchEngine,
    Spread,
    Where,
    open_engine,
)
from shopwindow.retrieval.engines.gpu_devices import fill
from shopwindow.retrieval.engines.gpu_filters import honours_selectors, selector
from shopwindow.retrieval.engines.gpu_index_forms import CLASSIC_SELECTION, Form, make_plan
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.errors import EngineUnfit
from shopwindow.retrieval.index.folder import IndexFolder, Manifest, read_index, write_index
from shopwindow.retrieval.search import product_index
from tests.ranking import assert_is_exact_search, assert_same_ranking
from tests.retrieval.engines.gpu_stand_in import StandIn

ROWS, DIM = 5_000, 32
GPU_KINDS = ("flat", "ivf", "ivf-sq8", "ivf-pq32")
# The filters leave all products, nearly all, half, and few.
FILTERS = ({}, {"group": {"gte": 1}}, {"group": {"lt": 10}}, {"group": 7})


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """(ROWS, DIM) unit vectors around a few centres. The last 20 repeat the first 20."""
    rng = np.random.default_rng(0)
    found = rng.normal(size=(60, DIM))[rng.integers(60, size=ROWS)] + 0.6 * rng.normal(size=(ROWS, DIM))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found[-20:] = found[:20]
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def queries(vectors: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    near = vectors[rng.permutation(ROWS)[:24]] + 0.1 * rng.normal(size=(24, DIM)).astype(np.float32)
    return near / np.linalg.norm(near, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def files(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recipe -> FAISS file. The flat one does not exist."""
    folder = tmp_path_factory.mktemp("indexes")
    for kind in (*GPU_KINDS[1:], "hnsw"):
        FaissCpuEngine.build(vectors, choose_recipe(ROWS, kind)).write(folder / kind)
    return {kind: folder / kind for kind in (*GPU_KINDS, "hnsw")}


@pytest.fixture(autouse=True)
def filters_reach_the_engine() -> Iterator[None]:
    """Send filters that leave more than 100 products to the engine. By default this small index is searched exactly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product_index, "EXACT_ROWS", 100)
        yield


def on_gpu(kind: str, vectors: np.ndarray, files: dict[str, Path], gpus: StandIn, **options: Any) -> FaissGpuEngine:
    return FaissGpuEngine.open(
        vectors, files[kind], choose_recipe(ROWS, kind), EngineOptions(where=Where.GPU, **options), gpus
    )


def index_over(engine: SearchEngine, vectors: np.ndarray, kind: str) -> ProductIndex:
    manifest = Manifest(
        generation=1,
        count=ROWS,
        dim=DIM,
        tower_hash="a" * 64,
        recipe=choose_recipe(ROWS, kind),
        recall_at_100=1.0,
        skipped=0,
        build_seconds=0.1,
        catalog="products.parquet",
        created="2026-01-01T00:00:00+00:00",
    )
    groups = pa.table({"title": ["x"] * ROWS, "group": np.arange(ROWS) % 20})
    return ProductIndex(
        IndexFolder(
            manifest=manifest, vectors=vectors, product_ids=np.arange(ROWS) + 2**40, attributes=groups, engine=engine
        )
    )


def ask(index: ProductIndex, queries: np.ndarray, **given: Any) -> SearchResult:
    return index.search_batch([(queries, parse_parameters(given))])[0]


def allowed_by(given: dict[str, Any]) -> np.ndarray:
    """Return (ROWS,) bool, from the row numbers and not by the filter code."""
    group, condition = np.arange(ROWS) % 20, given.get("group")
    if condition is None:
        return np.ones(ROWS, bool)
    if isinstance(condition, dict):
        return (group >= condition.get("gte", 0)) & (group < condition.get("lt", 20))
    return group == condition


@pytest.mark.parametrize("obeys", [False, True], ids=["selector ignored", "selector obeyed"])
@pytest.mark.parametrize("conditions", FILTERS, ids=str)
def test_flat_on_a_gpu_is_exact_search(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path], obeys: bool, conditions: Any
) -> None:
    index = index_over(on_gpu("flat", vectors, files, StandIn(obeys=obeys)), vectors, "flat")
    ids = np.arange(ROWS) + 2**40
    for top_k in (1, 100, 1_984, 1_985, 2_049, ROWS):
        found = ask(index, queries, top_k=top_k, filter=conditions)
        assert found.product_ids.shape == (len(queries), top_k)
        assert_is_exact_search(
            found.product_ids, found.scores, queries, vectors, ids, allowed=allowed_by(conditions), min_score=-np.inf
        )


@pytest.mark.parametrize("obeys", [False, True], ids=["selector ignored", "selector obeyed"])
@pytest.mark.parametrize("kind", ["ivf", "ivf-sq8", "ivf-pq32", "hnsw"])
def test_an_approximate_form_finds_95_percent_of_the_best_with_true_scores(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path], obeys: bool, kind: str
) -> None:
    gpus = StandIn(obeys=obeys, cuvs=kind == "hnsw")
    index = index_over(on_gpu(kind, vectors, files, gpus), vectors, kind)
    true_scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    for conditions in FILTERS:
        allowed = allowed_by(conditions)
        scores = np.where(allowed, true_scores, -np.inf)
        falling = -np.sort(-scores, axis=1)
        for top_k in (10, 100, 3_000):
            found = ask(index, queries, top_k=top_k, effort=7, filter=conditions)
            expected = min(top_k, int(allowed.sum()))
            assert ((found.product_ids >= 0).sum(axis=1) == expected).all()
            rows = found.product_ids[:, :expected] - 2**40
            assert allowed[rows].all()
            assert all(len(set(row)) == expected for row in rows.tolist())
            true = np.take_along_axis(scores, rows, 1)
            np.testing.assert_allclose(found.scores[:, :expected], true, rtol=0, atol=1e-5)
            worst = falling[:, expected - 1][:, None]
            assert (found.scores[:, :expected] >= worst - 1e-6).mean() >= 0.95, (conditions, top_k)


@pytest.mark.parametrize("spread", list(Spread))
@pytest.mark.parametrize("kind", GPU_KINDS)
def test_several_gpus_answer_like_one(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path], kind: str, spread: Spread
) -> None:
    one = index_over(on_gpu(kind, vectors, files, StandIn()), vectors, kind)
    gpus = StandIn(count=3)
    several = index_over(on_gpu(kind, vectors, files, gpus, devices=(0, 1, 2), spread=spread), vectors, kind)
    assert gpus.placed[-1].rows == (1_667 if spread is Spread.SHARDS else ROWS)
    for given in ({"top_k": 50}, {"top_k": 50, "filter": {"group": {"lt": 10}}}, {"top_k": 400, "effort": 9}):
        found, expected = ask(several, queries, **given), ask(one, queries, **given)
        assert_same_ranking(found.product_ids, found.scores, expected.product_ids, expected.scores)


@pytest.mark.parametrize("kind", [*GPU_KINDS, "hnsw"])
def test_the_trial_finds_out_whether_an_index_ignores_selectors(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path], kind: str
) -> None:
    recipe, options = choose_recipe(ROWS, kind), EngineOptions(where=Where.GPU)
    cuvs = kind == "hnsw"
    plan = make_plan(recipe, ROWS, DIM, options, cuvs=cuvs)
    assert honours_selectors(StandIn(obeys=True, cuvs=cuvs), plan, options)
    ignoring = StandIn(obeys=False, cuvs=cuvs)
    assert not honours_selectors(ignoring, plan, options)
    # Such an index returns forbidden rows even though the search has a selector.
    mask = np.arange(ROWS) % 20 < 10
    built = faiss.read_index(str(files[kind])) if recipe.inverted else faiss.IndexFlatIP(DIM)
    index = fill(ignoring, built, vectors, plan, options)
    _, rows = index.search(queries, 10, params=ignoring.parameters(plan.form, 64, selector(RowMask(mask))))
    assert not mask[rows].all()


def test_replicas_count_as_ignoring_selectors() -> None:
    options = EngineOptions(where=Where.GPU, devices=(0, 1), spread=Spread.REPLICAS)
    plan = make_plan(choose_recipe(ROWS, "ivf"), ROWS, DIM, options, cuvs=False)
    assert not honours_selectors(StandIn(count=2, obeys=True), plan, options)


def test_a_narrow_filter_that_is_ignored_is_left_to_exact_search(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path]
) -> None:
    engine = on_gpu("flat", vectors, files, StandIn())
    mask = np.zeros(ROWS, bool)
    mask[:150] = True
    scores, rows = engine.search(queries, 100, 5, RowMask(mask))
    assert (rows == -1).all() and np.isneginf(scores).all()


def test_k_above_the_limit_of_a_flat_index_is_refused_with_the_limit(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path]
) -> None:
    engine = on_gpu("flat", vectors, files, StandIn())
    assert engine.largest_k + engine.spare(1) == CLASSIC_SELECTION == 2_048
    with pytest.raises(ValueError, match=r"k: .* at most 2048 rows a search, got 2049"):
        engine.search(queries, 2_049, 5, None)


@pytest.mark.parametrize("kind", ["ivf", "ivf-sq8", "ivf-pq32"])
def test_a_search_beyond_the_limit_of_a_gpu_returns_what_the_cpu_returns(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path], kind: str
) -> None:
    engine = on_gpu(kind, vectors, files, StandIn())
    cpu = FaissCpuEngine.read(files[kind], choose_recipe(ROWS, kind))
    half, narrow = RowMask(np.arange(ROWS) % 2 == 0), RowMask(np.arange(ROWS) % 10 == 0)
    for k, mask in ((2_049, None), (3_000, half), (340 + engine.spare(340), narrow)):
        for found, expected in zip(engine.search(queries, k, 5, mask), cpu.search(queries, k, 5, mask), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["ivf-sq8", "ivf-pq32"])
def test_the_gpu_answers_a_common_filter_up_to_its_limit(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path], kind: str
) -> None:
    engine = on_gpu(kind, vectors, files, StandIn())
    engine._cpu_engine = None  # so that only the GPU can answer
    mask = np.arange(ROWS) % 2 == 0
    k = 100 + engine.spare(100)
    _, rows = engine.search(queries, k, 5, RowMask(mask))
    assert (rows >= 0).mean() > 0.99 and mask[rows[rows >= 0]].all()


@pytest.mark.parametrize(("kind", "top_k"), [("ivf-sq8", 1_024), ("ivf-pq32", 341), ("ivf-pq32", 1_000)])
def test_a_large_k_of_compressed_vectors_returns_what_the_cpu_returns(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path], kind: str, top_k: int
) -> None:
    cpu = index_over(FaissCpuEngine.read(files[kind], choose_recipe(ROWS, kind)), vectors, kind)
    gpu = index_over(on_gpu(kind, vectors, files, StandIn()), vectors, kind)
    np.testing.assert_array_equal(
        ask(gpu, queries, top_k=top_k).product_ids, ask(cpu, queries, top_k=top_k).product_ids
    )


@pytest.mark.parametrize(("cuvs", "limit"), [(False, 2_048), (True, 16_384)])
def test_an_index_calibrated_to_more_lists_than_a_gpu_visits_is_refused(cuvs: bool, limit: int) -> None:
    recipe = replace(choose_recipe(100_000_000, "ivf-pq32"), search_breadth=limit)
    assert recipe.max_breadth > limit
    options = EngineOptions(where=Where.GPU)
    assert make_plan(recipe, 100_000_000, DIM, options, cuvs=cuvs).largest_selection == limit
    with pytest.raises(EngineUnfit, match=rf"nprobe: .* calibrated to {limit + 1} lists .* at most {limit};"):
        make_plan(replace(recipe, search_breadth=limit + 1), 100_000_000, DIM, options, cuvs=cuvs)


def test_a_search_of_more_lists_than_a_gpu_visits_runs_on_the_cpu(
    vectors: np.ndarray, queries: np.ndarray, files: dict[str, Path]
) -> None:
    class Watched(StandIn):
        asked: list[int] = []  # noqa: RUF012

        def set_lists(self, index: Any, lists: int) -> None:
            self.asked.append(lists)
            super().set_lists(index, lists)

    gpus = Watched()
    engine = on_gpu("ivf", vectors, files, gpus)
    engine._plan = replace(engine._plan, lists=100_000)
    engine.recipe = replace(engine.recipe, max_breadth=100_000, search_breadth=2_000)
    engine.search(queries, 10, 10, None)
    assert gpus.asked == []


@pytest.mark.parametrize(("kind", "where"), [*((kind, Where.AUTO) for kind in GPU_KINDS), ("flat", Where.GPU)])
def test_an_index_opens_on_the_gpu_if_there_is_one(
    vectors: np.ndarray, files: dict[str, Path], kind: str, where: Where
) -> None:
    engine = open_engine(vectors, files[kind], choose_recipe(ROWS, kind), EngineOptions(where=where), StandIn())
    assert engine.description.startswith("FAISS on GPU 0, ")
    assert (engine.rows, engine.dim) == (ROWS, DIM)


@pytest.mark.parametrize(
    ("where", "kind", "gpus"),
    [
        (Where.CPU, "flat", StandIn()),
        (Where.AUTO, "flat", StandIn(count=0)),
        (Where.AUTO, "hnsw", StandIn()),
    ],
    ids=["requested", "no GPU", "no form on GPUs"],
)
def test_otherwise_an_index_opens_on_the_cpu(
    vectors: np.ndarray, files: dict[str, Path], where: Where, kind: str, gpus: StandIn
) -> None:
    engine = open_engine(vectors, files[kind], choose_recipe(ROWS, kind), EngineOptions(where=where), gpus)
    assert isinstance(engine, FaissCpuEngine)


@pytest.mark.parametrize(
    ("kind", "gpus", "options", "message"),
    [
        ("flat", StandIn(count=0), {}, r"GPU 0: FAISS sees 0 GPUs; install faiss-gpu"),
        ("flat", StandIn(count=2), {"devices": (1, 2)}, r"GPU 2: FAISS sees 2 GPUs"),
        ("hnsw", StandIn(), {}, r"recipe hnsw becomes CAGRA on a GPU, which needs FAISS with cuVS"),
        ("hnsw", StandIn(count=2, cuvs=True), {"devices": (0, 1)}, r"SHOPWINDOW_GPUS: .* on one GPU, got 2"),
        ("flat", StandIn(free=2**20), {}, r"GPU 0: 5000 vectors of 32 dimensions as flat fp16 need 513 MiB .* 1 MiB"),
        ("ivf-pq32", StandIn(free=0), {}, r"as IVF-PQ32 need .* 0 MiB are free; .*SHOPWINDOW_ENGINE=cpu"),
    ],
)
def test_an_index_that_a_gpu_cannot_take_is_refused_with_the_reason(
    vectors: np.ndarray, files: dict[str, Path], kind: str, gpus: StandIn, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineUnfit, match=message):
        on_gpu(kind, vectors, files, gpus, **options)


def test_an_index_folder_opens_on_the_processor_of_this_machine(tmp_path: Path, vectors: np.ndarray) -> None:
    index = index_over(FaissCpuEngine.build(vectors, choose_recipe(ROWS, "flat")), vectors, "flat")._folder
    engine = index.engine
    assert isinstance(engine, FaissCpuEngine)
    write_index(
        tmp_path / "index",
        manifest=index.manifest,
        vectors=vectors,
        product_ids=index.product_ids,
        attributes=pa.table({"title": ["x"] * ROWS}),
        engine=engine,
        skipped="",
    )
    count = faiss.get_num_gpus()
    with pytest.raises(EngineUnfit, match=f"GPU {count}: FAISS sees {count} GPUs"):  # numbered from 0
        read_index(tmp_path / "index", EngineOptions(where=Where.GPU, devices=(count,)))
    found = read_index(tmp_path / "index", EngineOptions(where=Where.AUTO))
    place = "GPU 0, flat fp16" if count else "the CPU, Flat"
    assert found.engine.description.startswith(f"FAISS on {place}, 5000 vectors of 32 dimensions")


def test_a_plan_counts_the_bytes_that_faiss_stores() -> None:
    """Compare with FAISS's code sizes. Only the vectors grow with the rows."""
    for kind in GPU_KINDS:
        recipe, options = choose_recipe(1_000_000, kind), EngineOptions(where=Where.GPU)
        plan = make_plan(recipe, 1_000_000, 128, options, cuvs=False)
        if plan.form is Form.FLAT16:
            vector = faiss.IndexScalarQuantizer(128, faiss.ScalarQuantizer.QT_fp16).sa_code_size()
        else:
            vector = faiss.index_factory(128, recipe.factory, faiss.METRIC_INNER_PRODUCT).code_size + 8
        more = replace(plan, rows=3_000_000).index_bytes - plan.index_bytes
        assert more == 2_000_000 * vector
        assert plan.index_bytes >= 1_000_000 * vector + 4 * 128 * recipe.max_breadth
        assert plan.needed_bytes >= plan.index_bytes + options.temp_bytes


def test_a_million_vectors_take_the_documented_mebibytes() -> None:
    documented = {"flat": 244, "ivf": 496, "ivf-sq8": 130, "ivf-pq32": 38}
    for kind, mib in documented.items():
        recipe = replace(choose_recipe(1_000_000, kind), max_breadth=0, search_breadth=0)
        plan = make_plan(recipe, 1_000_000, 128, EngineOptions(), cuvs=False)
        assert round(plan.index_bytes / 2**20) == mib
