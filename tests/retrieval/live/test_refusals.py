"""What becomes of a refused generation: it goes live when its files are right, and a rollback to it costs nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shopwindow.cli.main import main
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.engines import EngineOptions
from shopwindow.retrieval.errors import NotServed
from shopwindow.retrieval.index.home import IndexHome, Pointer
from shopwindow.retrieval.index.serving_processes import served_by
from shopwindow.retrieval.live.awaiting_servers import wait_until_served
from shopwindow.retrieval.live.live_index import LiveIndex
from shopwindow.retrieval.live.loading import index_loader, pipeline_loader, towers_loader
from tests.retrieval.live.eventually import WAIT_S, eventually
from tests.whole_server.generations import flip, publish
from tests.whole_server.other_towers import swapped_towers

TITLES = [f"{colour} {kind}" for colour in ("red", "blue", "green") for kind in ("mug", "dress", "bag", "lamp")]


@pytest.fixture(scope="module")
def towers(repository: Path) -> InProcessPipeline:
    return InProcessPipeline(repository)


@pytest.fixture
def home(tmp_path: Path, towers: InProcessPipeline) -> Path:
    publish(tmp_path / "home", TITLES, 100, towers)
    return tmp_path / "home"


class Named:
    """Loads a generation as its folder's name, and refuses those that hold a file `broken`."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def load(cls, folder: Path, before: Named | None) -> Named:
        if (folder / "broken").exists():
            raise ValueError((folder / "broken").read_text())
        return cls(folder.name)


@pytest.fixture
def small(tmp_path: Path) -> IndexHome:
    """A home of three generations, of which the third is served. They hold no index."""
    home = IndexHome(tmp_path / "small")
    for _ in range(3):
        with home.writing():
            home.building.mkdir()
            home.publish(home.building, home.next_generation)
    assert home.pointer == Pointer(generation=3, previous=2, earlier=(1,))
    return home


@pytest.fixture
def follower(small: IndexHome) -> Iterator[LiveIndex[Named]]:
    live = LiveIndex(small.path, Named.load)
    yield live
    live.close()


def test_a_changed_generation_is_refused_and_goes_live_when_it_is_repaired(
    home: Path, towers: InProcessPipeline, repository: Path
) -> None:
    lines: list[str] = []
    load = index_loader(repository, EngineOptions(), follow=False)
    live = LiveIndex(home, load, complain=lines.append)
    try:
        bad = publish(home, TITLES, 200, towers, spoil=flip("product_ids.npy"))
        with pytest.raises(NotServed, match=r"refused by .*product_ids\.npy: is not what was written"):
            wait_until_served(home, bad, WAIT_S)
        assert live.refused is not None and (live.refused.generation, live.refused.kind) == (bad, "changed")
        flip("product_ids.npy")(IndexHome(home).folder(bad))
        assert eventually(lambda: live.generation == bad)
        assert eventually(lambda: [process.refused for process in served_by(home)] == [None])
        assert live.refused is None and len(lines) == 1
    finally:
        live.close()


def test_a_home_that_is_copied_with_current_first_goes_live_when_the_copy_is_complete(
    home: Path, towers: InProcessPipeline, repository: Path, tmp_path: Path
) -> None:
    others = swapped_towers(repository, tmp_path / "model_repository")
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    theirs = InProcessPipeline(others)
    new = publish(home, TITLES, 200, theirs, carried=others)
    lines: list[str] = []
    index = LiveIndex(copy, pipeline_loader(repository, lambda _: None), name="index", complain=lines.append)
    embedder = LiveIndex(copy, towers_loader(repository, lambda _: None), name="embedder")
    both: list[LiveIndex[InProcessPipeline]] = [index, embedder]
    try:
        files = sorted(file.relative_to(home) for file in IndexHome(home).folder(new).rglob("*") if file.is_file())
        for file in [Path("CURRENT"), *files]:
            assert [live.generation for live in both] == [1, 1]
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(home / file, copy / file)
            if file.name in ("CURRENT", "manifest.json"):
                assert eventually(lambda: all(live.refused is not None for live in both))
                assert {live.refused.kind for live in both if live.refused is not None} == {"incomplete"}
        assert eventually(lambda: [live.generation for live in both] == [new, new])
        assert {live.current.bundle.tower_hash for live in both} == {theirs.bundle.tower_hash}
        assert len(lines) == len(set(lines)) and "manifest.json is missing" in lines[0]
    finally:
        for live in both:
            live.close()


def test_a_server_that_starts_before_the_copy_is_complete_takes_it_later(small: IndexHome, tmp_path: Path) -> None:
    shutil.move(small.folder(3), tmp_path / "late")

    def load(folder: Path, before: Named | None) -> Named:
        return Named(folder.resolve(strict=True).name)

    live = LiveIndex(small.path, load)
    try:
        assert live.current.name == "000002" and live.refused is not None and live.refused.generation == 3
        shutil.move(tmp_path / "late", small.folder(3))
        assert eventually(lambda: live.current.name == "000003")
    finally:
        live.close()


def test_after_a_killed_publisher_a_rollback_to_the_repaired_generation_works_at_the_first_try(
    small: IndexHome, follower: LiveIndex[Named]
) -> None:
    with small.writing():
        small.building.mkdir()
        (small.building / "broken").write_text("half of it is missing")
        small.publish(small.building, 4)
    assert eventually(lambda: follower.refused is not None)  # the publisher is killed before it takes 4 back
    (small.folder(4) / "broken").unlink()
    assert main(["rollback", "--index", str(small.path), "--to", "4"]) == 0
    assert follower.generation == 4
    assert small.pointer == Pointer(generation=4, previous=3, earlier=(2,))  # publishing removed 1


def test_a_rollback_that_is_refused_leaves_the_history_as_it_was(
    small: IndexHome, follower: LiveIndex[Named], capsys: pytest.CaptureFixture[str]
) -> None:
    before = small.pointer
    for target in (1, 2):
        (small.folder(target) / "broken").write_text("no memory")
        assert main(["rollback", "--index", str(small.path), "--to", str(target)]) == 1
        assert f"generation {target} of {small.path} was refused" in capsys.readouterr().err
        assert (small.pointer, follower.generation) == (before, 3)
    small.rollback(2)
    assert eventually(lambda: follower.refused is not None)
    assert main(["rollback", "--index", str(small.path), "--to", "2"]) == 1  # CURRENT named the refused one already
    assert (small.pointer, follower.generation) == (Pointer(generation=3, previous=1, earlier=(2,)), 3)


def test_an_unreadable_current_is_refused_with_the_remedy_and_the_remedy_works(
    small: IndexHome, follower: LiveIndex[Named], capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ('{"generation": 1', "[]", '{"generation": "2"}', '{"generation": 2, "earlier": [-1]}', "\xff\0"):
        (small.path / "CURRENT").write_text(text, encoding="latin-1")
        assert eventually(lambda: follower.refused is not None and follower.refused.kind == "unreadable")
        assert main(["rollback", "--index", str(small.path)]) == 1
        message = capsys.readouterr().err
        assert f"write it anew with 'shopwindow rollback --index {small.path} --to N'" in message
        assert "on disk: [1, 2, 3]" in message
        assert main(["rollback", "--index", str(small.path), "--to", "2"]) == 0
        assert small.pointer == Pointer(generation=2, previous=3, earlier=(1,))
        assert eventually(lambda: (follower.generation, follower.refused) == (2, None))
    (small.path / "CURRENT").unlink()
    assert main(["rollback", "--index", str(small.path), "--to", "3"]) == 0
    assert small.pointer == Pointer(generation=3, previous=2, earlier=(1,))


@pytest.mark.parametrize("text", ["", "\0\0\0", "[]", '{"generation": "x", "refused": null, "since": ""}'])
def test_a_damaged_report_of_a_server_does_not_stop_a_rollback(
    small: IndexHome, follower: LiveIndex[Named], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [report] = (small.path / "live").glob("*.json")
    report.write_text(text)
    assert main(["rollback", "--index", str(small.path)]) == 0
    assert (small.pointer, follower.generation) == (Pointer(generation=2, previous=3, earlier=(1,)), 2)
    report.write_text(text)  # it is read only once more, because the server has switched
    with pytest.raises(NotServed, match=rf"its report {report} cannot be read .*: restart that server"):
        wait_until_served(small.path, 2, 0.1)
    with small.writing():
        small.building.mkdir()
        small.publish(small.building, 4)
    assert small.generations == [1, 2, 3, 4]  # nobody knows which of them it serves
