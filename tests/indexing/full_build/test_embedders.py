"""Embedding through a running server or on a Ray cluster gives the same index as embedding in this process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.errors import IndexingError
from shopwindow.indexing.full_build.embedded_parts import read_progress
from shopwindow.indexing.full_build.embedders import ServerEmbedder
from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.index.folder import read_index
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.server import TritonServer

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shop: Path, repository: Path) -> Path:
    """A catalogue of two files with a few odd rows, and `here`, its index embedded in process.

    Some rows cannot be indexed, some have photos that cannot be read, and some have several photos.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    rows: list[dict[str, Any]] = pq.read_table(shop / "products.parquet").slice(0, 150).to_pylist()
    rows[10] |= {"image": b"broken", "title": None}
    rows[20] |= {"image": b"broken"}
    rows[40] |= {"image": b"broken"}
    rows[60] |= {"product_id": None}
    rows[70] |= {"title": None, "image": None}
    rows[80] |= {"image": None}
    rows[90] |= {"title": None}
    rows[100] |= {"product_id": rows[3]["product_id"]}
    photos = [[row["image"]] if row["image"] else [] for row in rows]
    for row in (5, 20, 30, 49, 120):
        photos[row] += [rows[row + 1]["image"], b"broken"][: 1 + row % 2]
    rows = [{**row, "image": some} for row, some in zip(rows, photos, strict=True)]
    (folder / "shop").mkdir()
    pq.write_table(pa.Table.from_pylist(rows[:110]), folder / "shop" / "1.parquet", row_group_size=50)
    pq.write_table(pa.Table.from_pylist(rows[110:]), folder / "shop" / "2.parquet")
    build_index(folder / "shop", repository, folder / "here", progress=False)
    return folder


def assert_equal(index: Path, here: Path) -> None:
    """Check that both hold the same products with the same vectors, and leave out the same rows."""
    found, expected = read_index(index), read_index(here)
    assert found.manifest.count == 146
    assert found.product_ids.tolist() == expected.product_ids.tolist()
    assert np.abs(found.vectors - expected.vectors).max() < 1e-5
    assert found.attributes.equals(expected.attributes)
    contents = [np.load(resolve_index(path) / "content.npy").tolist() for path in (index, here)]
    assert contents[0] == contents[1]
    for name, count in (("skipped.csv", 4), ("unread_photos.csv", 4)):
        lines = [(resolve_index(path) / name).read_text().splitlines() for path in (index, here)]
        assert [line.split(",")[:2] for line in lines[0]] == [line.split(",")[:2] for line in lines[1]]
        assert len(lines[0]) == 1 + count, name


def test_a_running_server_embeds_as_this_process_does(folder: Path, repository: Path, served: TritonServer) -> None:
    build_index(folder / "shop", repository, folder / "server", server=served.grpc_url, progress=False)
    assert_equal(folder / "server", folder / "here")


def test_a_server_of_other_towers_is_refused_and_both_are_named(
    folder: Path, repository: Path, served: TritonServer, tmp_path: Path
) -> None:
    other = shutil.copytree(repository, tmp_path / "model_repository")
    replace(Bundle.read(other), tower_hash="0123456789abcdef").write(other)
    ours = Bundle.read(repository).tower_hash[:12]
    with pytest.raises(IndexingError, match=rf"runs towers {ours}, the repository has towers 0123456789ab"):
        build_index(folder / "shop", other, tmp_path / "index", server=served.grpc_url, progress=False)


def test_a_build_stops_before_it_writes_vectors_of_other_towers(
    folder: Path, repository: Path, served: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, checks = ServerEmbedder.check, 0

    def changed(embedder: ServerEmbedder) -> None:
        nonlocal checks
        checks += 1
        if checks == 3:  # at the start, before the first part, before the second
            embedder._probe = -embedder._probe  # as if the server had switched to other towers
        check(embedder)

    with monkeypatch.context() as patch:
        patch.setattr("shopwindow.indexing.full_build.embedding.PART_ROWS", 64)
        patch.setattr(ServerEmbedder, "check", changed)
        with pytest.raises(IndexingError, match="the server runs other towers; index with the repository that"):
            build_index(folder / "shop", repository, tmp_path / "index", server=served.grpc_url, progress=False)
    progress = read_progress(tmp_path / "index" / "building")
    assert progress is not None and progress.parts == 1 and progress.rows < 150
    build_index(folder / "shop", repository, tmp_path / "index", progress=False)
    assert_equal(tmp_path / "index", folder / "here")


def test_a_ray_cluster_embeds_as_this_process_does(folder: Path, repository: Path) -> None:
    # In a separate process, as in use. Ray forks to start its servers, and these did not always start beside the
    # threads that other tests leave in this process.
    places = ["--catalog", folder / "shop", "--repository", repository, "--out", folder / "ray"]
    command = [sys.executable, "-m", "shopwindow.cli.main", "index", *places, "--ray"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_equal(folder / "ray", folder / "here")


def test_an_address_without_a_cluster_is_named(folder: Path, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(IndexingError, match=r"no cluster at nowhere .*is kept"):
        build_index(folder / "shop", repository, tmp_path / "index", ray="nowhere", progress=False)


def test_without_ray_the_error_says_how_to_get_it(
    folder: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if Ray were not installed
    with pytest.raises(IndexingError, match=r"Ray Data is not installed .*pip install 'ray\[data\]'"):
        build_index(folder / "shop", repository, tmp_path / "index", ray="local", progress=False)
    monkeypatch.undo()
    build_index(folder / "shop", repository, tmp_path / "index", progress=False)  # the build goes on without Ray
    assert_equal(tmp_path / "index", folder / "here")
