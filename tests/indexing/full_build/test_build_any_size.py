"""Builds of any size: many files, constant memory, and kills at any moment."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.base.default_places import python_path
from shopwindow.indexing.catalogue.files import catalog_files
from shopwindow.indexing.catalogue.id_set import IdSet
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.growing_array import GrowingArray
from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import KINDS, choose_recipe
from shopwindow.retrieval.index.folder import read_index
from shopwindow.retrieval.index.home import IndexHome, resolve_index

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
GIB = 2**30


@pytest.fixture(scope="module")
def rows(shop: Path) -> list[dict[str, Any]]:
    """Thirty products of the shop: one with a broken photo and no title, one with a broken photo, one twice."""
    rows = pq.read_table(shop / "products.parquet").slice(100, 29).to_pylist()
    broken = {"image": b"broken"}
    return [*rows[:7], {**rows[7], **broken, "title": None}, *rows[8:12], {**rows[12], **broken}, *rows[13:], rows[3]]


def write(file: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file, **options)
    return file


def listed_rows(folder: Path, name: str) -> list[tuple[int, int]]:
    with (folder / name).open(newline="") as file:
        return [(int(line["row"]), int(line["product_id"])) for line in csv.DictReader(file)]


def run(script: str, *arguments: object) -> list[str]:
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": python_path({})}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    return done.stdout.decode().splitlines()


def test_a_catalogue_may_be_files_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("b/2", "b/10", "a", "c"):
        write(tmp_path / f"{name}.parquet", [{"product_id": 1, "title": "mug"}])
    (tmp_path / "b" / "notes.txt").write_text("no catalogue")

    def found(*inputs: str) -> list[str]:
        files = catalog_files([tmp_path / given for given in inputs])
        return [str(file.relative_to(tmp_path.resolve())) for file in files]

    assert found("c.parquet", "a.parquet") == ["c.parquet", "a.parquet"]
    assert found("b") == ["b/10.parquet", "b/2.parquet"]
    assert found("?.parquet", "a.parquet") == ["a.parquet", "c.parquet"]  # no file twice
    assert found("**/*0.parquet") == ["b/10.parquet"]
    with pytest.raises(CatalogError, match=r"none-\*\.parquet has no file whose name ends in \.parquet"):
        found("a.parquet", "none-*.parquet")


def test_several_files_are_indexed_as_one_would_be(
    tmp_path: Path, repository: Path, rows: list[dict[str, Any]]
) -> None:
    write(tmp_path / "parts" / "1.parquet", rows[:11], row_group_size=4)
    write(tmp_path / "parts" / "2.parquet", rows[11:])
    build_index(write(tmp_path / "whole.parquet", rows), repository, tmp_path / "one", progress=False)
    manifest = build_index([tmp_path / "parts"], repository, tmp_path / "two", progress=False)
    one, two = read_index(tmp_path / "one"), read_index(tmp_path / "two")
    assert one.product_ids.tolist() == two.product_ids.tolist()
    assert np.abs(one.vectors - two.vectors).max() < 1e-5
    assert one.attributes.equals(two.attributes)
    assert (manifest.count, manifest.skipped) == (one.manifest.count, one.manifest.skipped) == (28, 2)
    assert manifest.catalog == str((tmp_path / "parts").resolve())
    (_, unread) = (resolve_index(tmp_path / "two") / "unread_photos.csv").read_text().splitlines()
    assert unread.endswith('; indexed by its title (row 1 of 2.parquet)"')
    lines = (resolve_index(tmp_path / "two") / "skipped.csv").read_text().splitlines()
    assert lines[2].startswith("29,")
    assert lines[2].endswith("product_id: appears twice (row 18 of 2.parquet)")


def test_a_column_that_a_file_lacks_is_empty_there(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", [{"product_id": 1, "title": "mug", "price": 5.0, "colour": None}])
    write(tmp_path / "2.parquet", [{"product_id": 2, "title": None, "colour": "red"}])
    catalog = Catalog([tmp_path])
    tables = [part.attributes for part in catalog.read(10)]
    assert pa.concat_tables(tables).to_pylist() == [
        {"title": "mug", "price": 5.0, "colour": None},
        {"title": None, "price": None, "colour": "red"},
    ]
    write(tmp_path / "3.parquet", [{"product_id": 3, "title": "mug", "price": 5}])
    with pytest.raises(
        CatalogError, match=r"'price' is floating-point numbers in .*1\.parquet and whole numbers in .*3\.parquet"
    ):
        Catalog([tmp_path])


def test_reading_can_start_and_stop_at_any_row(tmp_path: Path) -> None:
    products = [{"product_id": i, "title": f"mug {i}"} for i in range(23)]
    write(tmp_path / "1.parquet", products[:9], row_group_size=4)
    write(tmp_path / "2.parquet", products[9:], row_group_size=5)
    catalog = Catalog([tmp_path])
    assert catalog.groups == [(0, 4), (4, 8), (8, 9), (9, 14), (14, 19), (19, 23)]
    for size in (1, 3, 64):
        for start, stop in [(0, 23), (3, 23), (4, 21), (9, 14), (11, 12), (22, 23), (23, 23)]:
            parts = list(catalog.read(size, start, stop))
            assert [i for part in parts for i in part.ids] == list(range(start, stop))
            assert all(part.ids[0] == part.start and len(part.ids) <= size for part in parts)


def test_an_id_set_knows_the_same_ids_as_a_python_set() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 2_000, 50)
    seen, expected = IdSet(first), set(first.tolist())
    for _ in range(60):
        asked = rng.integers(0, 2_000, int(rng.integers(0, 40)))
        assert seen.known(asked).tolist() == [int(i) in expected for i in asked]
        new = np.unique([i for i in asked if int(i) not in expected]).astype(np.int64)
        seen.add(new)
        expected |= set(new.tolist())
    assert len(seen._runs) < 12  # more runs would make lookups slow


def test_a_growing_array_is_a_npy_file_after_every_append_and_can_be_cut_back(tmp_path: Path) -> None:
    file = tmp_path / "vectors.npy"
    vectors = np.random.default_rng(0).random((50, 3), np.float32)
    array = GrowingArray(file, 0, np.float32, (3,))
    assert np.load(file).shape == (0, 3)
    for start in (0, 20, 30):
        array.append(vectors[start : start + 20 if start == 0 else start + 10])
        kept = np.load(file)
        assert np.array_equal(kept, vectors[: len(kept)])
    array.close()
    with file.open("ab") as torn:
        torn.write(b"half a row")
    array = GrowingArray(file, 20, np.float32, (3,))
    array.append(vectors[20:22])
    assert np.array_equal(np.load(file), vectors[:22])
    assert np.array_equal(array.read(), vectors[:22])
    with pytest.raises(ValueError, match="holds fewer than the 23 rows"):
        GrowingArray(file, 23, np.float32, (3,))


def test_a_build_that_is_killed_again_and_again_ends_with_the_same_index(
    tmp_path: Path, repository: Path, rows: list[dict[str, Any]]
) -> None:
    file = write(tmp_path / "products.parquet", rows)
    expected = build_index(file, repository, tmp_path / "calm", progress=False)
    home = tmp_path / "home"
    build_index(write(tmp_path / "few.parquet", rows[:3]), repository, home, progress=False)
    moments = [random.Random(seed).randint(1, 45) for seed in range(6)]
    said = run("kill_builds.py", file, repository, home, *moments, 0)
    ended = [line for line in said if line.startswith("ended:")]
    assert len(ended) == len(moments) + 1
    assert "ended: -9 serves: 1" in ended[0]
    assert ended[-1].startswith("ended: 0 serves:")
    assert any(line.startswith("going on after an interrupted build: ") for line in said)
    calm, killed = resolve_index(tmp_path / "calm"), resolve_index(home)
    assert (killed / "product_ids.npy").read_bytes() == (calm / "product_ids.npy").read_bytes()
    assert (killed / "content.npy").read_bytes() == (calm / "content.npy").read_bytes()
    left_out = [(7, rows[7]["product_id"]), (29, rows[3]["product_id"])]
    assert listed_rows(killed, "skipped.csv") == listed_rows(calm, "skipped.csv") == left_out
    unread = [(12, rows[12]["product_id"])]
    assert listed_rows(killed, "unread_photos.csv") == listed_rows(calm, "unread_photos.csv") == unread
    found = read_index(home)
    assert (found.manifest.count, found.manifest.skipped) == (expected.count, expected.skipped)
    assert found.manifest.unread_photos == expected.unread_photos == 1
    assert np.abs(found.vectors - read_index(tmp_path / "calm").vectors).max() < 1e-5
    assert found.attributes.equals(read_index(tmp_path / "calm").attributes)
    assert not IndexHome(home).building.exists()


def test_a_build_with_other_inputs_starts_over_and_says_so(
    tmp_path: Path, repository: Path, rows: list[dict[str, Any]]
) -> None:
    file = write(tmp_path / "products.parquet", rows)
    home = tmp_path / "home"
    build_index(file, repository, home, progress=False)
    run("kill_builds.py", file, repository, home, 40)
    assert (IndexHome(home).building / "progress.json").exists()
    write(file, rows[5:20])
    said: list[str] = []
    build_index(file, repository, home, progress=False, say=said.append)
    assert said[1] == "starting over: an interrupted build had other inputs (catalogue)"
    kept = [row["product_id"] for row in rows[5:20] if row is not rows[7]]
    assert read_index(home).product_ids.tolist() == kept


def test_memory_does_not_grow_with_the_catalogue(tmp_path: Path) -> None:
    peaks = []
    for count in (80_000, 200_000):
        table = pa.table(
            {"product_id": range(count), "title": [f"a mug of many colours, number {i}" for i in range(count)]}
        )
        pq.write_table(table, tmp_path / f"{count}.parquet")  # one row group
        peaks.append(int(run("peak_memory.py", tmp_path / f"{count}.parquet", tmp_path / str(count))[-1]))
    # The vectors alone are 59 MiB more.
    assert peaks[1] - peaks[0] < 24 * 1024


@pytest.mark.parametrize(("gib", "kind"), [(8, "ivf"), (7, "ivf-sq8"), (1.5, "ivf-pq32"), (0.7, "ivf-pq32")])
def test_the_recipe_follows_from_count_and_memory(gib: float, kind: str) -> None:
    assert choose_recipe(10_000_000, dim=128, memory=int(gib * GIB)).kind == kind
    assert choose_recipe(20_000, dim=128, memory=int(gib * GIB)).kind == "flat"
    assert choose_recipe(10_000_000, "ivf", dim=128, memory=1).kind == "ivf"  # a named recipe is taken as it is


def test_without_memory_for_any_recipe_the_error_says_how_much_is_needed() -> None:
    with pytest.raises(ValueError, match=r"10000000 products of 128 .* as ivf-pq32.* 0\.5\d* GiB.*scaling"):
        choose_recipe(10_000_000, dim=128, memory=GIB // 4)
    with pytest.raises(
        ValueError, match=r"100 dimensions as ivf-sq8.* 1\.5\d* GiB"
    ):  # pq32 cannot divide 100 dimensions
        choose_recipe(10_000_000, dim=100, memory=GIB)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_per_vector_are_those_of_the_file(tmp_path: Path, kind: str) -> None:
    rows, dim = 4_000, 64
    vectors = np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)
    recipe = choose_recipe(rows, kind)
    FaissCpuEngine.build(vectors, recipe).write(tmp_path / "index.faiss")
    fixed = 4 * dim * recipe.max_breadth if recipe.inverted else 0
    fixed += 256 * 4 * dim if kind == "ivf-pq32" else 0  # the quantiser's own values
    size = (tmp_path / "index.faiss").stat().st_size - fixed
    assert size / rows == pytest.approx(recipe.bytes_per_vector(dim), rel=0.05)
