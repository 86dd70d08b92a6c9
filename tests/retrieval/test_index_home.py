"""Index homes: one writer, numbers used once, and a way back and forward again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval import IndexUnfit
from retrieval.index_home import IndexHome, Pointer, resolve_index

ROOT = Path(__file__).resolve().parents[2]


def publish(home: IndexHome) -> int:
    """A generation that holds its own number."""
    with home.writing():
        number = home.next_generation
        home.building.mkdir()
        (home.building / "number").write_text(str(number))
        home.publish(home.building, number)
    return number


def served(home: IndexHome) -> int:
    return int((resolve_index(home.path) / "number").read_text())


@pytest.fixture
def home(tmp_path: Path) -> IndexHome:
    return IndexHome(tmp_path / "index")


def test_the_served_generation_and_the_one_before_are_kept(home: IndexHome) -> None:
    assert home.pointer is None and resolve_index(home.path) == home.path
    assert [publish(home) for _ in range(4)] == [1, 2, 3, 4]
    assert (served(home), home.pointer, home.generations) == (4, Pointer(generation=4, previous=3), [3, 4])


def test_back_and_forward_again_and_no_number_twice(home: IndexHome) -> None:
    with pytest.raises(IndexUnfit, match="no previous generation to go back to; on disk: "):
        home.rollback()
    publish(home), publish(home)
    for expected in (1, 2, 1):
        assert home.rollback().generation == expected == served(home)
    assert publish(home) == 3
    assert (home.generations, home.rollback().generation, served(home)) == ([1, 3], 1, 1)
    shutil.rmtree(home.folder(3))  # by somebody who needed the space
    assert home.next_generation == 4
    with pytest.raises(IndexUnfit, match=r"no previous generation to go back to; on disk: \[1\]"):
        home.rollback()


def test_a_generation_that_was_never_pointed_at_is_removed_and_its_number_not_used_again(home: IndexHome) -> None:
    publish(home)
    home.folder(2).mkdir()  # a kill between the two renames
    assert publish(home) == 3
    assert home.generations == [1, 3]


def test_another_process_that_writes_is_an_error_and_its_death_ends_it(home: IndexHome) -> None:
    code = (
        "import pathlib, sys, time; from retrieval.index_home import IndexHome\n"
        "with IndexHome(pathlib.Path(sys.argv[1])).writing(): print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(home.path)], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(IndexUnfit, match="another build, update or rollback is writing here"), home.writing():
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
