"""Following an index home in this process: switches, refusals, memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shopwindow.retrieval import InProcessPipeline, ProductIndex
from shopwindow.retrieval.engines import EngineOptions
from shopwindow.retrieval.engines.equal_rows import EqualRows
from shopwindow.retrieval.errors import BundleUnfit, IndexUnfit, NotServed
from shopwindow.retrieval.index.folder import read_manifest, write_manifest
from shopwindow.retrieval.index.home import IndexHome
from shopwindow.retrieval.index.serving_processes import served_by
from shopwindow.retrieval.live.awaiting_servers import wait_until_served
from shopwindow.retrieval.live.checks import check_memory
from shopwindow.retrieval.live.live_index import LiveIndex
from shopwindow.retrieval.live.loading import index_loader, pipeline_loader
from tests.retrieval.live.eventually import WAIT_S, eventually
from tests.whole_server.generations import Spoil, not_numbers, publish, shuffled, truncate
from tests.whole_server.other_towers import swapped_towers

TITLES = [
    f"{colour} {kind}" for colour in ("red", "blue", "green", "black") for kind in ("mug", "dress", "bag", "lamp")
]


@pytest.fixture(scope="module")
def towers(repository: Path) -> InProcessPipeline:
    return InProcessPipeline(repository)


@pytest.fixture
def home(tmp_path: Path, towers: InProcessPipeline) -> Path:
    home = tmp_path / "home"
    publish(home, TITLES, 100, towers)
    return home


@pytest.fixture
def live(home: Path, repository: Path) -> Iterator[LiveIndex[InProcessPipeline]]:
    live = LiveIndex(home, pipeline_loader(repository, lambda pipeline: pipeline.retrieve(["warm up"])))
    yield live
    live.close()


def test_a_published_generation_replaces_the_old_one_and_frees_its_memory(
    home: Path, towers: InProcessPipeline, live: LiveIndex[InProcessPipeline]
) -> None:
    before, index = live.current, weakref.ref(live.current.index)
    second = publish(home, TITLES[::-1], 200, towers)
    assert eventually(lambda: live.generation == second)
    assert before.retrieve(["red mug"], top_k=1).product_ids.tolist() == [[100]]  # as for a request in flight
    with pytest.raises(NotServed, match="not served after"):  # the old one may still answer with removed products
        wait_until_served(home, second, 0.2)
    assert live.current.retrieve(["red mug"], top_k=1).product_ids.tolist() == [[215]]
    assert live.current._query_tower is before._query_tower  # towers that stay the same are not loaded again
    gc.disable()  # memory must be freed at once, without the collector of cycles
    try:
        del before
        assert eventually(lambda: index() is None)
    finally:
        gc.enable()
    assert wait_until_served(home, second, WAIT_S) == 1
    first = IndexHome(home).rollback().generation
    assert wait_until_served(home, first, WAIT_S) == 1
    assert live.current.retrieve(["red mug"], top_k=1).product_ids.tolist() == [[100]]


BAD: list[tuple[Spoil, str]] = [
    (truncate("index.faiss"), "index.faiss"),
    (truncate("attributes.parquet"), "attributes.parquet"),
    (not_numbers, "not all stored vectors are finite"),
    (shuffled, "canary queries find"),
    (lambda folder: (folder / "product_ids.npy").unlink(), "product_ids.npy"),
]


@pytest.mark.parametrize(("spoil", "reason"), BAD, ids=["faiss", "attributes", "NaN", "shuffled", "missing"])
def test_a_broken_generation_is_refused_and_the_old_one_stays_in_service(
    home: Path, towers: InProcessPipeline, live: LiveIndex[InProcessPipeline], spoil: Spoil, reason: str
) -> None:
    bad = publish(home, TITLES, 200, towers, spoil=spoil)
    with pytest.raises(
        NotServed, match=f"(?s)generation {bad} .* was refused by .* still serves generation 1: .*{reason}"
    ):
        wait_until_served(home, bad, WAIT_S)
    assert live.current.retrieve(["red mug"], top_k=1).product_ids.tolist() == [[100]]
    good = publish(home, TITLES, 300, towers)
    assert wait_until_served(home, good, WAIT_S) == 1
    assert [process.refused for process in served_by(home)] == [None]


def test_a_server_that_starts_on_a_broken_generation_serves_an_earlier_one(
    home: Path, towers: InProcessPipeline, repository: Path
) -> None:
    load = index_loader(repository, EngineOptions(), follow=False)
    for _ in range(2):  # no process served either of them
        bad = publish(home, TITLES, 200, towers, spoil=not_numbers)
    lines: list[str] = []
    live: LiveIndex[ProductIndex] = LiveIndex(home, load, complain=lines.append)
    try:
        assert live.current.manifest.generation == live.generation == 1
        [process] = served_by(home)
        assert process.generation == 1 and process.refused is not None
        assert process.refused.generation == bad and "not all stored vectors" in process.refused.reason
        assert "generation 3 is refused" in lines[0] and "generation 1 is served" in lines[-1]
        good = publish(home, TITLES, 300, towers)
        assert wait_until_served(home, good, WAIT_S) == 1
    finally:
        live.close()
    not_numbers(IndexHome(home).folder(1))
    not_numbers(IndexHome(home).folder(good))
    with pytest.raises(IndexUnfit, match=f"generation {good}: not all stored vectors are finite"):
        LiveIndex(home, load)
    assert served_by(home) == []


def test_a_generation_published_while_a_process_starts_is_the_first_it_loads(
    home: Path, towers: InProcessPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    announce = LiveIndex._announce

    def publish_first(live: LiveIndex[str]) -> None:
        second = publish(home, TITLES, 200, towers)
        assert wait_until_served(home, second) == 0
        announce(live)

    def load(folder: Path, before: str | None) -> str:
        loaded.append(folder.name)
        return folder.name

    monkeypatch.setattr(LiveIndex, "_announce", publish_first)
    LiveIndex(home, load).close()
    assert loaded == ["000002"]


def test_a_process_starts_although_its_generation_is_removed_meanwhile(home: Path, towers: InProcessPipeline) -> None:
    def load(folder: Path, before: str | None) -> str:
        if folder.name == "000001":
            for _ in range(3):
                publish(home, TITLES, 200, towers)
        return str((folder / "manifest.json").read_text() and folder.name)

    live = LiveIndex(home, load)
    try:
        assert live.current == "000004"
    finally:
        live.close()


def test_an_index_of_other_towers_is_refused_and_the_error_names_both(
    home: Path, towers: InProcessPipeline, live: LiveIndex[InProcessPipeline]
) -> None:
    bad = publish(home, TITLES, 200, towers, tower_hash="beef" * 16)
    with pytest.raises(NotServed, match=f"beefbeefbeef.*{towers.bundle.tower_hash[:12]}.*shopwindow index"):
        wait_until_served(home, bad, WAIT_S)


def test_towers_that_cannot_change_with_the_index_are_refused(
    home: Path, repository: Path, other_repository: Path, towers: InProcessPipeline
) -> None:
    others = InProcessPipeline(other_repository)
    publish(home, TITLES, 200, others, carried=other_repository)
    folder = IndexHome(home).folder(2)
    assert pipeline_loader(repository, lambda pipeline: None)(folder, None).bundle == others.bundle
    assert index_loader(repository, EngineOptions(), follow=True)(folder, None).manifest.generation == 2
    with pytest.raises(IndexUnfit, match=r"under this profile.*start a new server") as refused:
        index_loader(repository, EngineOptions(), follow=False)(folder, None)
    for each in (towers, others):
        assert each.bundle.tower_hash[:12] in str(refused.value)
    graph = folder / "bundle" / "query_tower" / "1" / "model.onnx"
    graph.unlink()  # it is a hard link to the repository's graph, which must stay as it is
    graph.write_bytes((repository / "query_tower" / "1" / "model.onnx").read_bytes())
    write_manifest(folder, read_manifest(folder))
    with pytest.raises(BundleUnfit, match=r"query_tower/1/model.onnx is not the file that was exported"):
        pipeline_loader(repository, lambda pipeline: None)(folder, None)


@pytest.fixture(scope="module")
def other_repository(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swapped_towers(repository, tmp_path_factory.mktemp("other") / "model_repository")


def test_memory_is_checked_before_loading(home: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shopwindow.retrieval.live.checks.available_memory", lambda: 1_000)
    with pytest.raises(IndexUnfit, match="MiB of memory beside the served index, 0 MiB are free: give"):
        index_loader(repository, EngineOptions(), follow=False)(IndexHome(home).folder(1), None)


def test_memory_is_counted_for_all_that_is_made_of_equal_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = np.arange(100_000)
    first[1] = 0
    (tmp_path / "index.faiss").touch()
    EqualRows(first).write(tmp_path / "index.faiss")
    held = sum(array.nbytes for array in vars(EqualRows(first)).values())
    monkeypatch.setattr("shopwindow.retrieval.live.checks.available_memory", lambda: held)
    with pytest.raises(IndexUnfit, match="needs 4 MiB of memory"):
        check_memory(tmp_path)
    monkeypatch.setattr("shopwindow.retrieval.live.checks.available_memory", lambda: held + 1_000)
    check_memory(tmp_path)


def test_the_error_for_a_home_without_a_generation_says_so(tmp_path: Path, repository: Path) -> None:
    with IndexHome(tmp_path / "home").writing(), pytest.raises(IndexUnfit, match="nothing was published yet"):
        LiveIndex(tmp_path / "home", index_loader(repository, EngineOptions(), follow=False))
    assert served_by(tmp_path / "home") == []


def test_a_read_only_home_is_served_and_followed(home: Path, repository: Path, towers: InProcessPipeline) -> None:
    (home / "live").write_text("in the way")
    lines: list[str] = []
    live: LiveIndex[ProductIndex] = LiveIndex(
        home, index_loader(repository, EngineOptions(), follow=False), complain=lines.append
    )
    try:
        second = publish(home, TITLES, 200, towers)
        assert eventually(lambda: live.current.manifest.generation == second)
        assert len(lines) == 1
        assert "is not writable" in lines[0]
    finally:
        live.close()
