"""Following an index home in process: generations change whole, bad ones are refused, memory stays."""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrieval import InProcessPipeline, ProductIndex
from retrieval.bundle import Bundle, check_plans
from retrieval.engines import EngineOptions
from retrieval.errors import BundleUnfit, IndexUnfit, NotServed
from retrieval.index_home import IndexHome
from retrieval.live import LiveIndex, served_by, wait_until_served
from retrieval.live_files import LiveFile, Refusal
from retrieval.live_loading import index_loader, pipeline_loader
from tests.serving.generations import Spoil, not_numbers, publish, shuffled, truncate
from tests.serving.other_towers import copied, swapped_towers

TITLES = [
    f"{colour} {kind}" for colour in ("red", "blue", "green", "black") for kind in ("mug", "dress", "bag", "lamp")
]
WAIT_S = 30


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


def test_a_published_generation_takes_the_place_of_the_old_one_which_is_freed(
    home: Path, towers: InProcessPipeline, live: LiveIndex[InProcessPipeline]
) -> None:
    before, index = live.current, weakref.ref(live.current.index)
    second = publish(home, TITLES[::-1], 200, towers)
    assert eventually(lambda: live.generation == second)
    assert before.retrieve(["red mug"], top_k=1).product_ids.tolist() == [[100]]  # a request in flight ends with it
    with pytest.raises(NotServed, match="not served after"):  # what was removed may still be in its reply
        wait_until_served(home, second, 0.2)
    assert live.current.retrieve(["red mug"], top_k=1).product_ids.tolist() == [[215]]
    assert live.current._query_tower is before._query_tower  # towers that stay the same are not loaded again
    gc.disable()  # it must go at once, and not wait for the collector of cycles
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
def test_a_broken_generation_is_refused_and_the_old_one_serves_on(
    home: Path, towers: InProcessPipeline, live: LiveIndex[InProcessPipeline], spoil: Spoil, reason: str
) -> None:
    bad = publish(home, TITLES, 200, towers, spoil=spoil)
    with pytest.raises(
        NotServed, match=f"(?s)generation {bad} .* was refused by .* generation 1 is served on: .*{reason}"
    ):
        wait_until_served(home, bad, WAIT_S)
    assert live.current.retrieve(["red mug"], top_k=1).product_ids.tolist() == [[100]]
    good = publish(home, TITLES, 300, towers)
    assert wait_until_served(home, good, WAIT_S) == 1
    assert [process.refused for process in served_by(home)] == [None]


def test_a_server_that_starts_on_a_broken_generation_serves_the_one_before(
    home: Path, towers: InProcessPipeline, repository: Path
) -> None:
    load = index_loader(repository, EngineOptions(), follow=False)
    for _ in range(2):  # none of which anybody has taken
        bad = publish(home, TITLES, 200, towers, spoil=not_numbers)
    said: list[str] = []
    live: LiveIndex[ProductIndex] = LiveIndex(home, load, complain=said.append)
    try:
        assert live.current.manifest.generation == live.generation == 1
        [process] = served_by(home)
        assert process.generation == 1 and process.refused is not None
        assert process.refused.generation == bad and "not all stored vectors" in process.refused.reason
        assert "generation 3 is refused" in said[0] and "generation 1 is served" in said[-1]
        good = publish(home, TITLES, 300, towers)
        assert wait_until_served(home, good, WAIT_S) == 1
    finally:
        live.close()
    not_numbers(IndexHome(home).folder(1))
    not_numbers(IndexHome(home).folder(good))
    with pytest.raises(IndexUnfit, match=f"generation {good}: not all stored vectors are finite"):
        LiveIndex(home, load)
    assert served_by(home) == []


def test_whoever_publishes_before_a_process_is_seen_is_followed_from_the_start(
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


def test_what_is_removed_while_a_process_starts_is_not_what_it_fails_for(home: Path, towers: InProcessPipeline) -> None:
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


def test_an_index_of_other_towers_is_refused_and_names_both(
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
    with pytest.raises(IndexUnfit, match=r"under this profile.*replace the server") as refused:
        index_loader(repository, EngineOptions(), follow=False)(folder, None)
    for each in (towers, others):
        assert each.bundle.tower_hash[:12] in str(refused.value)
    graph = folder / "bundle" / "query_tower" / "1" / "model.onnx"
    graph.unlink()  # a link to the repository's, which must stay
    graph.write_bytes((repository / "query_tower" / "1" / "model.onnx").read_bytes())
    with pytest.raises(BundleUnfit, match=r"query_tower/1/model.onnx is not the file that was exported"):
        pipeline_loader(repository, lambda pipeline: None)(folder, None)


@pytest.fixture(scope="module")
def other_repository(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swapped_towers(repository, tmp_path_factory.mktemp("other") / "model_repository")


def test_memory_is_checked_before_loading(home: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.live_checks.available_memory", lambda: 1_000)
    with pytest.raises(IndexUnfit, match="MiB of memory beside the index that is served, 0 MiB are free: give"):
        index_loader(repository, EngineOptions(), follow=False)(IndexHome(home).folder(1), None)


def test_a_home_without_a_generation_is_a_clear_error(tmp_path: Path, repository: Path) -> None:
    with IndexHome(tmp_path / "home").writing(), pytest.raises(IndexUnfit, match="nothing was published yet"):
        LiveIndex(tmp_path / "home", index_loader(repository, EngineOptions(), follow=False))
    assert served_by(tmp_path / "home") == []


def test_an_exported_file_that_was_changed_is_named_with_both_hashes(repository: Path, tmp_path: Path) -> None:
    copy = copied(repository, tmp_path / "model_repository")
    tokenizer = copy / "query_tokenizer" / "1" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    with pytest.raises(
        BundleUnfit, match=r"query_tokenizer/1/tokenizer.json .* names [0-9a-f]{12}, the file is [0-9a-f]{12}"
    ):
        InProcessPipeline(copy)
    tokenizer.unlink()
    with pytest.raises(BundleUnfit, match=r"tokenizer.json is missing"):
        InProcessPipeline(copy)


def test_a_plan_of_another_graph_is_named_with_both_hashes(repository: Path, tmp_path: Path) -> None:
    copy = copied(repository, tmp_path / "model_repository")
    for left in copy.glob("*/1/*.plan*"):
        left.unlink()
    graph = Bundle.read(copy).files["query_tower/1/model.onnx"]
    plan = copy / "query_tower" / "1" / "model.plan"
    plan.write_bytes(b"a plan")
    record = plan.with_name("model.plan.json")
    whole = {"onnx_sha256": graph, "plan_sha256": hashlib.sha256(b"a plan").hexdigest()}
    record.write_text(json.dumps(whole))
    check_plans(copy)
    for name, words in (
        ("onnx_sha256", f"built from a graph beefbeefbeef, .* {graph[:12]}"),
        ("plan_sha256", "names beef"),
    ):
        record.write_text(json.dumps({**whole, name: "beef" * 16}))
        with pytest.raises(BundleUnfit, match=f"{words}.*shopwindow plans"):
            check_plans(copy)


def serve_until_killed(home: Path, ready: Path) -> None:
    file = LiveFile(home, "model")
    file.write(1, None)
    ready.touch()
    signal.pause()


def test_who_serves_is_known_until_it_dies(home: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = multiprocessing.get_context("spawn").Process(target=serve_until_killed, args=(home, ready))
    process.start()
    assert eventually(ready.exists)
    assert [(each.generation, each.refused) for each in served_by(home)] == [(1, None)]
    with pytest.raises(NotServed, match=f"not served after 0.1 s by 1 of 1 processes: .*-{process.pid}-model"):
        wait_until_served_after_publishing(home, 0.1)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert served_by(home) == []
    assert not any((home / "live").glob("*-model.*"))
    assert wait_until_served(home, 1) == 0


def wait_until_served_after_publishing(home: Path, timeout_s: float) -> None:
    current = home / "CURRENT"
    text = current.read_text()
    current.write_text(text.replace('"generation": 1', '"generation": 2'))
    try:
        wait_until_served(home, 2, timeout_s)
    finally:
        current.write_text(text)


def test_a_waiting_publisher_hears_of_refusals_and_of_being_overtaken(home: Path) -> None:
    file = LiveFile(home, "model")
    try:
        file.write(1, Refusal(generation=2, reason="too large"))
        with pytest.raises(NotServed, match=r"refused by .*generation 1 is served on: too large"):
            wait_until_served(home, 2)
        with pytest.raises(NotServed, match=r"not to be served any more: CURRENT names 1"):
            wait_until_served(home, 3)
    finally:
        file.close()


def test_a_process_that_cannot_be_judged_counts_and_one_that_cannot_be_seen_may_be_expected(home: Path) -> None:
    assert wait_until_served(home, 1) == 0
    with pytest.raises(NotServed, match=r"served by 0 processes, 2 were expected, and no more are seen after 0\.1 s"):
        wait_until_served(home, 1, 0.1, expected=2)
    lock = home / "live" / "other-7-model.lock"
    lock.mkdir(parents=True)  # it can't be opened as a file
    assert [(process.name, process.generation) for process in served_by(home)] == [("other-7-model", None)]
    with pytest.raises(NotServed, match=r"not served after 0\.1 s by 1 of 1 processes: other-7-model"):
        wait_until_served(home, 1, 0.1)


def test_readers_never_take_a_starting_process_for_a_dead_one(home: Path) -> None:
    done = threading.Event()
    readers = [threading.Thread(target=lambda: [served_by(home) for _ in iter(done.is_set, True)]) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(200):
            file = LiveFile(home, "model")
            assert [process.name for process in served_by(home)] == [file.name]
            file.close()
    finally:
        done.set()
        for reader in readers:
            reader.join()


def test_a_home_that_cannot_be_written_to_is_served_and_followed_all_the_same(
    home: Path, repository: Path, towers: InProcessPipeline
) -> None:
    (home / "live").write_text("in the way")
    said: list[str] = []
    live: LiveIndex[ProductIndex] = LiveIndex(
        home, index_loader(repository, EngineOptions(), follow=False), complain=said.append
    )
    try:
        second = publish(home, TITLES, 200, towers)
        assert eventually(lambda: live.current.manifest.generation == second)
        assert len(said) == 1
        assert "cannot be written to" in said[0]
    finally:
        live.close()


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
