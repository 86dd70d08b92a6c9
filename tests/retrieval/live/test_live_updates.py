"""Serving an update: unchanged parts are not loaded again, and only changed parts need memory."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.base.machine import turn_to_load
from shopwindow.indexing.update.next_generation import link_files
from shopwindow.retrieval import InProcessPipeline, ProductIndex
from shopwindow.retrieval.engines import EngineOptions
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.engines.segmented import SegmentedEngine
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.attribute_texts import write_texts
from shopwindow.retrieval.index.folder import Manifest, read_manifest, write_manifest
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.live.loading import index_loader, pipeline_loader
from shopwindow.retrieval.opening import open_index
from tests.whole_server.generations import publish

TITLES = [f"{colour} {kind}" for colour in ("red", "blue", "green", "black") for kind in ("mug", "dress", "bag")]
FIRST = 100


@pytest.fixture(scope="module")
def towers(repository: Path) -> InProcessPipeline:
    return InProcessPipeline(repository)


@pytest.fixture
def home(tmp_path: Path, towers: InProcessPipeline) -> IndexHome:
    publish(tmp_path / "home", TITLES, FIRST, towers)
    return IndexHome(tmp_path / "home")


def update(home: IndexHome, change: Callable[[Path, dict[str, Any]], set[str]]) -> Path:
    """Publish a changed copy of the served generation, as updates do. Unchanged files are hard links."""
    with home.writing():
        pointer = home.pointer
        assert pointer is not None
        before, number = home.folder(pointer.generation), home.next_generation
        manifest = asdict(read_manifest(before)) | {"generation": number}
        home.building.mkdir()
        written = change(home.building, manifest)
        linked = link_files(before, home.building, written)
        write_manifest(home.building, Manifest(**{**manifest, "recipe": Recipe(**manifest["recipe"])}), linked)
        home.publish(home.building, number)
    return home.folder(number)


def without_first(folder: Path, manifest: dict[str, Any]) -> set[str]:
    np.save(folder / "alive.npy", np.arange(manifest["count"]) > 0)
    manifest |= {"count": manifest["count"] - 1, "dead": 1}
    return {"alive.npy"}


def with_one_more(vector: np.ndarray, served: Path) -> Callable[[Path, dict[str, Any]], set[str]]:
    def change(folder: Path, manifest: dict[str, Any]) -> set[str]:
        ids, table = np.load(served / "product_ids.npy"), pq.read_table(served / "attributes.parquet")
        np.save(folder / "alive.npy", np.append(np.load(served / "alive.npy"), True))
        np.save(folder / "delta.npy", vector)
        np.save(folder / "product_ids.npy", np.append(ids, 999))
        table = pa.concat_tables([table, table.slice(0, 1)])
        pq.write_table(table, folder / "attributes.parquet")
        write_texts(folder, table)
        manifest |= {"count": manifest["count"] + 1, "delta": 1}
        return {"alive.npy", "delta.npy", "product_ids.npy", "attributes.parquet", "attributes.arrow"}

    return change


def engine_of(index: ProductIndex) -> object:
    assert index.folder is not None
    engine = index.folder.engine
    return engine.base if isinstance(engine, SegmentedEngine) else engine


def test_an_update_reuses_the_loaded_engine_and_finds_the_right_products(
    home: IndexHome, repository: Path, towers: InProcessPipeline
) -> None:
    load = pipeline_loader(repository, lambda pipeline: None)
    first = load(home.folder(1), None)
    removed = load(update(home, without_first), first)
    mug = towers.embed_product(["red mug"], [b""])[0]
    added = load(update(home, with_one_more(mug, home.folder(2))), removed)
    assert engine_of(removed.index) is engine_of(first.index)
    assert engine_of(added.index) is engine_of(first.index)
    assert first.index.folder is not None
    assert removed.index.folder is not None
    assert removed.index.product_ids is first.index.product_ids
    assert removed.index._table is first.index._table

    def found(pipeline: InProcessPipeline, **parameters: object) -> list[int]:
        ids = pipeline.retrieve_similar(["red mug"], [b""], top_k=len(TITLES) + 1, **parameters).product_ids[0]
        return [int(product) for product in ids if product >= 0]

    everything = set(range(FIRST, FIRST + len(TITLES)))
    assert found(first)[0] == FIRST
    assert set(found(removed)) == everything - {FIRST}
    assert found(added)[0] == 999
    assert set(found(added)) == everything - {FIRST} | {999}
    assert set(found(removed, filter='{"half": 0}')) == {product for product in everything if product % 2 == 0} - {
        FIRST
    }

    old = weakref.ref(first.index)
    gc.disable()  # memory must be freed at once, without the collector of cycles
    try:
        del first
        assert old() is None  # although its engine is still in use
    finally:
        gc.enable()


def test_only_the_parts_that_an_update_changed_need_memory(
    home: IndexHome, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = index_loader(repository, EngineOptions(), follow=False)
    served = load(home.folder(1), None)
    folder = update(home, without_first)
    left = (folder / "alive.npy").stat().st_size
    assert left < (folder / "index.faiss").stat().st_size
    monkeypatch.setattr("shopwindow.retrieval.live.checks.available_memory", lambda: left)
    assert load(folder, served).manifest.count == len(TITLES) - 1
    with pytest.raises(IndexUnfit, match="MiB of memory beside the served index"):
        load(folder, None)
    monkeypatch.setattr("shopwindow.retrieval.live.checks.available_memory", lambda: left - 1)
    with pytest.raises(IndexUnfit, match="MiB of memory beside the served index"):
        load(folder, served)


def test_a_rebuilt_base_is_loaded_again(home: IndexHome, repository: Path, towers: InProcessPipeline) -> None:
    load = index_loader(repository, EngineOptions(), follow=False)
    served = load(home.folder(1), None)
    publish(home.path, TITLES, FIRST, towers)
    assert engine_of(load(home.folder(2), served)) is not engine_of(served)


def test_a_served_index_keeps_no_titles_in_memory(home: IndexHome) -> None:
    index = open_index(home.path)
    assert index.folder is not None
    assert index.folder.attributes.nbytes == 0
    assert index._table.names == ["half"]


def test_processes_that_start_together_load_one_after_the_other(tmp_path: Path) -> None:
    entered = threading.Event()

    def other() -> None:
        with turn_to_load(tmp_path):
            entered.set()

    thread = threading.Thread(target=other)  # the lock belongs to an open file, so a thread can stand for a process
    with turn_to_load(tmp_path):
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()
