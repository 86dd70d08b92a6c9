"""Recall as it is measured before an index is published: fair to equal products, and blind to none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.main import main
from shopwindow.indexing.errors import RecallTooLow
from shopwindow.indexing.full_build import search_breadth
from shopwindow.indexing.full_build.run import build_index
from shopwindow.indexing.full_build.search_breadth import calibrate, recall_of
from shopwindow.indexing.update.compaction import compact
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.equal_rows import distinct_sample
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.folder import read_manifest
from shopwindow.retrieval.index.home import IndexHome

PRODUCTS, NAMED = 3_000, 100


def test_equal_products_count_by_their_score_and_do_not_make_up_for_better_ones() -> None:
    expected = np.array([[0.9, 0.8, 0.5, 0.5]], np.float32)  # more products score 0.5
    cases = {
        (0.9, 0.8, 0.5, 0.5): 1.0,
        (0.9 + 2e-7, 0.8, 0.5, 0.5 - 2e-7): 1.0,  # rounding
        (0.9, 0.5, 0.5, 0.5): 0.75,
        (0.5, 0.5, 0.5, 0.5): 0.5,
        (0.9, 0.8, 0.5, 0.4): 0.75,
        (0.9, 0.4, 0.3, 0.2): 0.25,
        (0.9, 0.8, 0.5, -np.inf): 0.75,
    }
    for scores, recall in cases.items():
        found = np.where(np.isneginf(scores), -1, np.arange(4))
        assert recall_of(np.array([scores], np.float32), found[None], expected) == recall, scores


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf-sq8"])
def test_a_catalogue_of_mostly_equal_products_is_searched_well(kind: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(PRODUCTS, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    equal = rng.permutation(PRODUCTS)[NAMED:]
    vectors[equal] = vectors[equal[0]]
    rows = distinct_sample(vectors, 500)
    assert len(rows) == NAMED + 1
    engine, recall = calibrate(FaissCpuEngine.build(vectors, choose_recipe(PRODUCTS, kind)), vectors, vectors[rows])
    assert recall >= search_breadth.RECALL_TARGET
    _, found = engine.search(vectors[rows], 10, 5, None)
    alone = np.isin(rows, equal, invert=True)
    assert (found[alone, 0] == rows[alone]).mean() >= search_breadth.RECALL_TARGET


def catalogue(folder: Path, titles: list[str]) -> Path:
    file = folder / "products.parquet"
    pq.write_table(pa.table({"product_id": range(len(titles)), "title": titles}), file)
    return file


def test_named_products_are_found_among_many_with_one_placeholder_title(
    tmp_path: Path, repository: Path, shop: Path
) -> None:
    names = sorted(set(pq.read_table(shop / "products.parquet")["title"].to_pylist()))[:NAMED]
    places = dict(zip(np.random.default_rng(0).permutation(PRODUCTS)[:NAMED].tolist(), names, strict=True))
    file = catalogue(tmp_path, [places.get(row, "product") for row in range(PRODUCTS)])
    manifest = build_index(file, repository, tmp_path / "index", recipe="hnsw", progress=False)
    assert manifest.recall_at_100 >= search_breadth.RECALL_TARGET
    pipeline = InProcessPipeline(repository, tmp_path / "index")
    vectors, _ = pipeline.embed_product(names, [b""] * NAMED)
    found = pipeline.index.search_batch([(vectors, pipeline.prepare_parameters({"top_k": 1}))])[0].product_ids[:, 0]
    assert (found == list(places)).mean() >= search_breadth.RECALL_TARGET


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """No index finds as much as is wanted."""
    monkeypatch.setattr(search_breadth, "PROMISED_RECALL", 1.01)


@pytest.mark.usefixtures("strict")
def test_an_index_that_finds_too_little_is_published_only_by_force(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, home = catalogue(tmp_path, ["red mug", "blue dress", "green lamp"]), tmp_path / "index"
    given = ["--repository", str(repository), "--catalog", str(file), "--out", str(home)]
    assert main(["index", *given]) == 1
    captured = capsys.readouterr()
    assert "recipe flat" in captured.err and "1.0000" in captured.err and "--force" in captured.err
    assert IndexHome(home).pointer is None
    assert main(["index", *given, "--force"]) == 0
    out = capsys.readouterr().out
    assert "going on after an interrupted build: 3 of 3 rows are embedded" in out
    assert "warning: recall@100 is below 1.01" in out
    assert read_manifest(home).generation == 1


def test_compaction_that_finds_too_little_leaves_the_served_generation(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, home = catalogue(tmp_path, ["red mug", "blue dress", "green lamp"]), tmp_path / "index"
    build_index(file, repository, home, progress=False)
    monkeypatch.setattr(search_breadth, "PROMISED_RECALL", 1.01)
    given = ["--index", str(home), "--repository", str(repository)]
    assert main(["update", *given, "--remove", "0", "--compact"]) == 1  # the update measures nothing
    assert "--force" in capsys.readouterr().err
    assert (read_manifest(home).generation, read_manifest(home).count) == (2, 2)
    with pytest.raises(RecallTooLow, match=r"recipe flat .*1\.0000.* 1\.01 is the least"):
        compact(home, progress=False)
    assert read_manifest(home).generation == 2
    assert main(["compact", *given, "--force"]) == 0
    assert (read_manifest(home).generation, read_manifest(home).dead) == (3, 0)
