"""Index homes: one writer at a time, numbers used once, rollbacks back and forth."""

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
    """Publish a generation that contains its own number and, if `base` is given, shares that generation's vectors."""
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
    assert home.generations == [2, 3, 4]  # 2 was the one before when 4 was published


def test_a_generation_that_a_process_still_serves_is_kept_with_the_one_before_it(home: IndexHome) -> None:
    assert [publish(home), *(publish(home, 1) for _ in range(2))] == [1, 2, 3]
    process = LiveFile(home.path, "model")
    try:
        process.write(2, None)  # the process is slow, or it has refused 3
        assert [publish(home, 3) for _ in range(3)] == [4, 5, 6]
        assert home.generations == [1, 2, 4, 5, 6]
        assert home.withdraw(6, 2) == home.pointer == Pointer(generation=2, previous=1)
    finally:
        process.close()
    assert publish(home, 2) == 7
    assert home.generations == [1, 2, 7]


def test_the_last_generation_of_the_previous_build_is_kept_through_all_updates(home: IndexHome) -> None:
    publish(home), publish(home, 1)
    for base in (None, 3, 4, 5, 6):
        publish(home, base)
    assert home.generations == [2, 5, 6, 7]
    assert home.rollback(2) == home.pointer == Pointer(generation=2, previous=7, earlier=(6, 5))
    with pytest.raises(IndexUnfit, match=r"no generation 3 to go back to; on disk: \[2, 5, 6, 7\]"):
        home.rollback(3)


def test_a_refused_generation_removes_no_older_one_and_can_be_tried_again(home: IndexHome) -> None:
    publish(home), publish(home, 1), publish(home, 1)
    assert home.withdraw(2, 1) is None  # CURRENT names another generation
    assert home.withdraw(3, 2) == Pointer(generation=2, previous=1)
    assert home.rollback(3) == Pointer(generation=3, previous=2, earlier=(1,))
    home.withdraw(3, 2)
    assert (home.rollback().generation, home.rollback().generation) == (1, 2)
    assert publish(home, 1) == 4
    assert home.generations == [1, 2, 4]


def test_publishing_fails_if_a_rollback_switched_the_generation_meanwhile(home: IndexHome) -> None:
    publish(home), publish(home)
    with home.writing():
        assert home.rollback().generation == 1  # a rollback does not wait for writers
    with pytest.raises(IndexUnfit, match="generation 2 was being changed, a rollback switched to generation 1"):
        publish(home, onto=2)
    assert (served(home), home.generations) == (1, [1, 2])


def test_other_folders_among_the_generations_are_left_alone(home: IndexHome) -> None:
    publish(home)
    (home.path / "generations" / "000001.bak").mkdir()
    assert (publish(home), home.generations) == (2, [1, 2])
    assert (home.path / "generations" / "000001.bak").is_dir()


def test_rollbacks_go_back_and_forth_and_no_number_is_used_twice(home: IndexHome) -> None:
    with pytest.raises(IndexUnfit, match="no previous generation to go back to; on disk: "):
        home.rollback()
    publish(home), publish(home)
    for expected in (1, 2, 1):
        assert home.rollback().generation == expected == served(home)
    assert publish(home) == 3
    assert (home.generations, home.rollback().generation, served(home)) == ([1, 2, 3], 1, 1)
    shutil.rmtree(home.folder(3))  # as somebody does who needs the space
    assert home.next_generation == 4
    with pytest.raises(IndexUnfit, match=r"no previous generation to go back to; on disk: \[1, 2\]"):
        home.rollback()


def test_a_generation_that_current_never_named_is_removed_and_its_number_not_reused(home: IndexHome) -> None:
    publish(home)
    home.folder(2).mkdir()  # as a kill between the two renames leaves it
    assert publish(home) == 3
    assert home.generations == [1, 3]


def test_only_one_process_can_write_and_its_death_frees_the_lock(home: IndexHome) -> None:
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


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(FileExistsError, match="holds other things than an index home"), IndexHome(tmp_path).writing():
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_error_names_a_current_that_cannot_be_read(home: IndexHome) -> None:
    publish(home)
    (home.path / "CURRENT").write_text('{"generation": 1')
    with pytest.raises(IndexUnfit, match="CURRENT: cannot be read"):
        resolve_index(home.path)
