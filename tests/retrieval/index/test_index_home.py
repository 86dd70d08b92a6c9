"""Index homes: one writer, numbers used once, and a way back and forward again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shopwindow.retrieval import IndexUnfit
from shopwindow.retrieval.index.home import IndexHome, Pointer, resolve_index
from shopwindow.retrieval.index.serving_processes import LiveFile

ROOT = Path(__file__).resolve().parents[3]


def publish(home: IndexHome, base: int | None = None, onto: int | None = None) -> int:
    """A generation that holds its own number; `base` is another one that it shares its vectors with."""
    with home.writing():
        number = home.next_generation
        home.building.mkdir()
        (home.building / "number").write_text(str(number))
        if base is None:
            (home.building / "vectors.npy").write_text("a build")
        else:
            (home.building / "vectors.npy").hardlink_to(home.folder(base) / "vectors.npy")
        home.publish(home.building, number, onto=onto)
    return number


def served(home: IndexHome) -> int:
    return int((resolve_index(home.path) / "number").read_text())


@pytest.fixture
def home(tmp_path: Path) -> IndexHome:
    return IndexHome(tmp_path / "index")


def test_the_served_generation_and_the_one_before_are_kept(home: IndexHome) -> None:
    assert home.pointer is None and resolve_index(home.path) == home.path
    assert [publish(home) for _ in range(4)] == [1, 2, 3, 4]
    assert (served(home), home.pointer) == (4, Pointer(generation=4, previous=3, earlier=(2,)))
    assert home.generations == [2, 3, 4]  # 2 until 4 has been taken


def test_what_a_process_serves_on_is_kept_with_the_one_before_it(home: IndexHome) -> None:
    assert [publish(home), *(publish(home, 1) for _ in range(2))] == [1, 2, 3]
    process = LiveFile(home.path, "model")
    try:
        process.write(2, None)  # it is slow, or has refused 3
        assert [publish(home, 3) for _ in range(3)] == [4, 5, 6]
        assert home.generations == [1, 2, 4, 5, 6]
        assert home.withdraw(6, 2) == home.pointer == Pointer(generation=2, previous=1)
    finally:
        process.close()
    assert publish(home, 2) == 7
    assert home.generations == [1, 2, 7]


def test_the_last_of_the_build_before_is_kept_through_any_number_of_updates(home: IndexHome) -> None:
    publish(home), publish(home, 1)
    for base in (None, 3, 4, 5, 6):
        publish(home, base)
    assert home.generations == [2, 5, 6, 7]
    assert home.rollback(2) == home.pointer == Pointer(generation=2, previous=7, earlier=(6, 5))
    with pytest.raises(IndexUnfit, match=r"no generation 3 to go back to; on disk: \[2, 5, 6, 7\]"):
        home.rollback(3)


def test_a_refused_generation_costs_no_way_back_and_is_kept_to_be_tried_again(home: IndexHome) -> None:
    publish(home), publish(home, 1), publish(home, 1)
    assert home.withdraw(2, 1) is None  # CURRENT names another one
    assert home.withdraw(3, 2) == Pointer(generation=2, previous=1)
    assert home.rollback(3) == Pointer(generation=3, previous=2, earlier=(1,))
    home.withdraw(3, 2)
    assert (home.rollback().generation, home.rollback().generation) == (1, 2)
    assert publish(home, 1) == 4
    assert home.generations == [1, 2, 4]


def test_nothing_is_published_onto_what_a_rollback_took_back_meanwhile(home: IndexHome) -> None:
    publish(home), publish(home)
    with home.writing():
        assert home.rollback().generation == 1  # it waits for no writer
    with pytest.raises(IndexUnfit, match="generation 2 was changed, and meanwhile a rollback had 1 served"):
        publish(home, onto=2)
    assert (served(home), home.generations) == (1, [1, 2])


def test_other_things_among_the_generations_are_left_alone(home: IndexHome) -> None:
    publish(home)
    (home.path / "generations" / "000001.bak").mkdir()
    assert (publish(home), home.generations) == (2, [1, 2])
    assert (home.path / "generations" / "000001.bak").is_dir()


def test_back_and_forward_again_and_no_number_twice(home: IndexHome) -> None:
    with pytest.raises(IndexUnfit, match="no previous generation to go back to; on disk: "):
        home.rollback()
    publish(home), publish(home)
    for expected in (1, 2, 1):
        assert home.rollback().generation == expected == served(home)
    assert publish(home) == 3
    assert (home.generations, home.rollback().generation, served(home)) == ([1, 2, 3], 1, 1)
    shutil.rmtree(home.folder(3))  # by somebody who needed the space
    assert home.next_generation == 4
    with pytest.raises(IndexUnfit, match=r"no previous generation to go back to; on disk: \[1, 2\]"):
        home.rollback()


def test_a_generation_that_was_never_pointed_at_is_removed_and_its_number_not_used_again(home: IndexHome) -> None:
    publish(home)
    home.folder(2).mkdir()  # a kill between the two renames
    assert publish(home) == 3
    assert home.generations == [1, 3]


def test_another_process_that_writes_is_an_error_and_its_death_ends_it(home: IndexHome) -> None:
    code = (
        "import pathlib, sys, time; from shopwindow.retrieval.index.home import IndexHome\n"
        "with IndexHome(pathlib.Path(sys.argv[1])).writing(): print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home.path)], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(IndexUnfit, match="another update, compaction or publishing is under way"), home.writing():
            pass
        other.kill()
    assert publish(home) == 1


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(FileExistsError, match="holds other things than an index home"), IndexHome(tmp_path).writing():
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_pointer_that_cannot_be_read_is_named(home: IndexHome) -> None:
    publish(home)
    (home.path / "CURRENT").write_text('{"generation": 1')
    with pytest.raises(IndexUnfit, match="CURRENT: cannot be read"):
        resolve_index(home.path)
