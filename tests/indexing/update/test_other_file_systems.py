"""Homes that are file systems of their own, or whose generations lie on another one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shopwindow.indexing.full_build.run import build_index
from shopwindow.indexing.update.compaction import compact
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval import IndexUnfit
from shopwindow.retrieval.index.home import IndexHome, resolve_index
from tests.indexing.homes import START, Product, Truth, write_rows


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`."""
    if Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"needs two file systems, but /dev/shm and {tmp_path} are on one")
    folder = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="shopwindow-test-"))
    yield folder
    shutil.rmtree(folder)


def test_builds_and_updates_work_with_generations_on_another_file_system(
    tmp_path: Path, elsewhere: Path, repository: Path, truth: Truth, pool: list[Product], queries: np.ndarray
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "generations").symlink_to(elsewhere)
    build_index(write_rows(tmp_path / "shop.parquet", pool[:START]), repository, home, progress=False)
    truth.products = {row["product_id"]: dict(row) for row in pool[:START]}
    truth.assert_served(home, queries)
    built = resolve_index(home)
    update_index(home, repository, removed=[pool[0]["product_id"]], progress=False)
    assert (resolve_index(home) / "vectors.npy").samefile(built / "vectors.npy")
    truth.products.pop(pool[0]["product_id"])
    truth.assert_served(home, queries)
    compact(home, progress=False)
    truth.assert_served(home, queries)
    assert sorted(entry.name for entry in elsewhere.iterdir()) == ["000001", "000002", "000003"]
    assert {entry.name for entry in home.iterdir() if not entry.name.startswith(".")} == {"CURRENT", "generations"}


def test_what_a_file_system_keeps_in_its_root_does_not_disturb_a_home(
    home: Path, repository: Path, truth: Truth, pool: list[Product]
) -> None:
    (home / "lost+found").mkdir()
    assert update_index(home, repository, removed=[pool[0]["product_id"]], progress=False).removed == 1


def test_a_link_to_nothing_is_refused_before_anything_is_built(
    tmp_path: Path, repository: Path, pool: list[Product]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "generations").symlink_to(tmp_path / "not mounted")
    catalog = write_rows(tmp_path / "shop.parquet", pool[:5])
    with pytest.raises(
        IndexUnfit, match=r"generations: links to .*not mounted, which does not exist: make it, or mount"
    ):
        build_index(catalog, repository, home, progress=False)
    assert [entry.name for entry in home.iterdir()] == ["generations"]
    assert IndexHome(home).pointer is None
