"""Replacing a folder as a whole: other files are never lost, a failure changes nothing, old leftovers are removed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shopwindow.base.whole_folders import replacing

MARKER = "mark"


def write(folder: Path, text: str) -> None:
    with replacing(folder, MARKER) as new:
        (new / MARKER).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.mark.parametrize("before", ["missing", "empty", "marked"])
def test_a_folder_of_the_same_kind_is_replaced(tmp_path: Path, before: str) -> None:
    folder = tmp_path / "new" / "place" if before == "missing" else tmp_path / "place"
    if before != "missing":
        folder.mkdir()
    if before == "marked":
        (folder / MARKER).write_text("old")
        (folder / "old.npy").write_text("old")
    write(folder, "new")
    assert contents(folder) == {MARKER: "new"}
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_place_with_other_files_is_refused_and_kept(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "home"
    if kind == "folder":
        place.mkdir()
    letter = place / "letter.txt" if kind == "folder" else place
    letter.write_text("dear")
    with pytest.raises(FileExistsError, match=r"home holds other things \(it has no mark\)"):
        write(place, "new")
    assert letter.read_text() == "dear"
    assert list(tmp_path.iterdir()) == [place]


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "disk" / "index", tmp_path / "index"
    write(target, "old")
    link.symlink_to(target)
    write(link, "new")
    assert link.is_symlink()
    assert contents(target) == {MARKER: "new"}
    assert list(target.parent.iterdir()) == [target]


def test_an_exception_inside_the_block_leaves_the_old_folder(tmp_path: Path) -> None:
    write(tmp_path / "place", "old")
    with pytest.raises(RuntimeError, match="disk full"), replacing(tmp_path / "place", MARKER) as new:
        (new / MARKER).write_text("half")
        raise RuntimeError("disk full")
    assert contents(tmp_path / "place") == {MARKER: "old"}
    assert list(tmp_path.iterdir()) == [tmp_path / "place"]


def test_leftovers_of_dead_processes_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as living:  # ends with its standard input
        names = [f".place.{kind}-{pid}" for kind in ("new", "old") for pid in (dead.pid, living.pid)]
        for name in [*names, ".place.notes", f".places.new-{dead.pid}"]:
            (tmp_path / name).mkdir()
        write(tmp_path / "place", "new")
        left = {path.name for path in tmp_path.iterdir()}
    kept = {f".place.{kind}-{living.pid}" for kind in ("new", "old")}
    assert left == {"place", ".place.notes", f".places.new-{dead.pid}", *kept}
