"""The end of a build: kills while it is finished and published, and updates that come during the embedding."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.run import build_index
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval.index.folder import read_index, read_manifest
from shopwindow.retrieval.index.home import IndexHome

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def rows(shop: Path) -> list[dict[str, Any]]:
    """Twelve products of the shop."""
    rows: list[dict[str, Any]] = pq.read_table(shop / "products.parquet").slice(100, 12).to_pylist()
    return rows


@pytest.fixture
def catalog(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "products.parquet")
    return tmp_path / "products.parquet"


@pytest.fixture
def home(tmp_path: Path, rows: list[dict[str, Any]], repository: Path) -> Path:
    """An index home with ten of the products."""
    pq.write_table(pa.Table.from_pylist(rows[:10]), tmp_path / "few.parquet")
    build_index(tmp_path / "few.parquet", repository, tmp_path / "home", progress=False)
    return tmp_path / "home"


def found(home: Path) -> list[int]:
    """The products that can be found."""
    index = read_index(home)
    return index.product_ids[index.live_rows].tolist()


class Interrupted(Exception):
    """Stops a build in the middle."""


def test_a_kill_after_the_embedding_loses_nothing_that_was_embedded(
    tmp_path: Path, home: Path, catalog: Path, repository: Path, rows: list[dict[str, Any]]
) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("embedded "):
            raise Interrupted

    with pytest.raises(Interrupted):
        build_index(catalog, repository, home, progress=False, say=interrupt)
    (tmp_path / "killed").mkdir()
    arguments = [home, repository, catalog, tmp_path / "killed"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.indexing.full_build.killed_finish", *map(str, arguments)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    homes = [tmp_path / "killed" / str(moment) for moment in json.loads(done.stdout)]
    served = [read_manifest(home).generation for home in homes]
    assert served == sorted(served)  # old up to one moment, new from then on
    assert set(served) == {1, 2}
    every = [row["product_id"] for row in rows]
    cut_off = 0
    for home, generation in zip(homes, served, strict=True):
        assert found(home) == (every[:10] if generation == 1 else every)
        if not (home / "building" / "progress.json").exists():
            assert generation == 2
            continue
        said: list[str] = []
        manifest = build_index(catalog, repository, home, progress=False, say=said.append)
        assert (manifest.generation, manifest) == (2, read_manifest(home))
        assert not [line for line in said if line.startswith(("embedded", "starting over"))]
        assert found(home) == every
        assert not IndexHome(home).building.exists()
        cut_off += said[1:] == ["the interrupted build was complete: it is served as generation 2"]
    assert cut_off >= 2  # before CURRENT was written, and after it


def test_a_running_build_allows_updates_and_brings_no_removed_product_back(
    home: Path, catalog: Path, repository: Path, rows: list[dict[str, Any]]
) -> None:
    every = [row["product_id"] for row in rows]
    said: list[str] = []

    def change(line: str) -> None:
        said.append(line)
        if line.startswith("embedded "):
            update_index(home, repository, removed=[every[4], every[7]], progress=False)
            assert IndexHome(home).rollback().generation == 1
            assert IndexHome(home).rollback().generation == 2

    manifest = build_index(catalog, repository, home, progress=False, say=change)
    left = [product for product in every if product not in (every[4], every[7])]
    assert (manifest.generation, manifest.count, manifest.dead) == (3, 10, 2)
    assert found(home) == left
    assert said[-1].startswith("generation 2 replaced 1 while this build ran: 2 products")
    # A removal that was rolled back does not count.
    undone = build_index(
        catalog,
        repository,
        home,
        progress=False,
        say=lambda line: (
            (update_index(home, repository, removed=left[:1], progress=False), IndexHome(home).rollback())
            if line.startswith("embedded ")
            else None
        ),
    )
    assert (undone.generation, undone.dead) == (5, 0)
    assert np.array_equal(np.sort(found(home)), np.sort(every))


def test_a_build_is_not_published_if_all_its_products_were_removed(
    tmp_path: Path, home: Path, repository: Path, rows: list[dict[str, Any]]
) -> None:
    pq.write_table(pa.Table.from_pylist(rows[:1]), tmp_path / "one.parquet")

    def remove(line: str) -> None:
        if line.startswith("embedded "):
            update_index(home, repository, removed=[rows[0]["product_id"]], progress=False)

    with pytest.raises(CatalogError, match="all of its products were removed from the index since the build began"):
        build_index(tmp_path / "one.parquet", repository, home, progress=False, say=remove)
    assert read_manifest(home).generation == 2


def test_a_build_with_another_recipe_than_the_interrupted_one_starts_over(
    home: Path, catalog: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: IndexHome, *_: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(IndexHome, "_point", cut)
        with pytest.raises(Interrupted):
            build_index(catalog, repository, home, progress=False)
    assert read_manifest(home).generation == 1 and IndexHome(home).generations == [1, 2]
    said: list[str] = []
    manifest = build_index(catalog, repository, home, recipe="hnsw", progress=False, say=said.append)
    assert said[1].startswith("starting over: the interrupted build had become generation 2")
    assert (manifest.generation, manifest.recipe.kind) == (3, "hnsw")
