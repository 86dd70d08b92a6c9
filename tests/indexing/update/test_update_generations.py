"""What updates write to disk, who may write at the same time, and rollback and compaction after updates."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.photos.options import PhotoOptions, Unreadable
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.update.compaction import compact
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval import IndexUnfit, InvalidRequest
from shopwindow.retrieval.index.folder import read_manifest, write_manifest
from shopwindow.retrieval.index.home import IndexHome, resolve_index
from shopwindow.retrieval.opening import open_index
from tests.indexing.homes import START, Product, Truth, write_rows
from tests.whole_server.generations import flip


def test_unchanged_files_are_shared_and_the_old_generation_stays_as_it_was(
    home: Path, repository: Path, truth: Truth, pool: list[Product], tmp_path: Path
) -> None:
    old = resolve_index(home)
    before = {file: file.read_bytes() for file in old.rglob("*") if file.is_file()}
    update_index(home, repository, changes=write_rows(tmp_path / "c", pool[START:]), progress=False)
    new = resolve_index(home)
    assert (new / "vectors.npy").samefile(old / "vectors.npy")
    assert {file: file.read_bytes() for file in old.rglob("*") if file.is_file()} == before
    update_index(home, repository, removed=[pool[0]["product_id"]], progress=False)
    for name in ("delta.npy", "attributes.parquet", "attributes.arrow", "content.npy", "lexical/data.csc.index.npy"):
        assert (resolve_index(home) / name).samefile(new / name)


def test_each_generation_reports_what_made_it(
    home: Path, repository: Path, pool: list[Product], tmp_path: Path
) -> None:
    changes = write_rows(tmp_path / "c", [pool[START], {**pool[1], "price": 9.0}, {**pool[2], "product_id": None}])
    done = update_index(home, repository, changes=changes, removed=[pool[0]["product_id"], 5], progress=False)
    report = json.loads((resolve_index(home) / "report.json").read_text())
    assert (report["command"], report["generation"], report["changes"]) == ("update", 2, str(changes))
    assert (report["added"], report["attributes_only"], report["removed"], report["not_in_the_index"]) == (1, 1, 1, 1)
    assert report["products"] == done.manifest.count == START
    assert [(one["rows"], one["first"], one["product_id"]) for one in report["left_out"]] == [(1, 2, None)]
    compact(home, progress=False)
    report = json.loads((resolve_index(home) / "report.json").read_text())
    assert (report["command"], report["compacted"], report["products"]) == ("compact", 2, START)


def test_only_one_process_may_write_at_a_time(home: Path, repository: Path, pool: list[Product]) -> None:
    with IndexHome(home).writing():
        with pytest.raises(IndexUnfit, match="another update, compaction or publishing is under way"):
            update_index(home, repository, removed=[pool[0]["product_id"]], progress=False)
        with pytest.raises(IndexUnfit, match="is under way here"):
            compact(home, progress=False)
    assert update_index(home, repository, removed=[pool[0]["product_id"]], progress=False).removed == 1


def test_a_rollback_undoes_an_update_and_a_second_one_restores_it(
    home: Path, repository: Path, truth: Truth, pool: list[Product], queries: np.ndarray
) -> None:
    before, place = dict(truth.products), IndexHome(home)
    update_index(home, repository, removed=[row["product_id"] for row in pool[:5]], progress=False)
    after = replace(truth, products={i: p for i, p in before.items() if i not in {r["product_id"] for r in pool[:5]}})
    after.assert_served(home, queries)
    place.rollback()
    truth.assert_served(home, queries)
    place.rollback()
    after.assert_served(home, queries)
    place.rollback()
    # An update after a rollback takes a number that was never used.
    assert update_index(home, repository, removed=[pool[9]["product_id"]], progress=False).generation == 3
    assert place.generations == [1, 2, 3]


def test_an_index_can_be_updated_during_a_build(home: Path, repository: Path, pool: list[Product]) -> None:
    with IndexHome(home).filling():
        assert update_index(home, repository, removed=[pool[0]["product_id"]], progress=False).removed == 1
        with pytest.raises(IndexUnfit, match="another build is under way here"), IndexHome(home).filling():
            pass


def test_an_update_without_usable_rows_publishes_nothing(
    home: Path, repository: Path, pool: list[Product], tmp_path: Path
) -> None:
    changes = write_rows(tmp_path / "c", [{**pool[START], "image": b"no photo"}])
    with pytest.raises(CatalogError, match="changes: none of the first 1 photos can be read"):
        update_index(home, repository, changes=changes, progress=False)
    reading = CatalogOptions(photos=PhotoOptions(unreadable=Unreadable.LEAVE_OUT))
    result = update_index(home, repository, changes=changes, reading=reading, progress=False)
    assert (result.published, result.generation, result.skipped) == (False, 1, 1)
    assert result.reasons[0].startswith("row 0: image")
    assert IndexHome(home).generations == [1]


def test_compaction_keeps_the_recipe(tmp_path: Path, repository: Path, truth: Truth, pool: list[Product]) -> None:
    truth.build(tmp_path / "index", pool[:START], "ivf")
    update_index(tmp_path / "index", repository, removed=[pool[0]["product_id"]], progress=False)
    assert compact(tmp_path / "index", progress=False).recipe.kind == "ivf"
    assert compact(tmp_path / "index", recipe="flat", progress=False).recipe.kind == "flat"


def test_compaction_pays_after_a_tenth_of_the_products_changed(
    home: Path, repository: Path, pool: list[Product]
) -> None:
    four = update_index(home, repository, removed=[row["product_id"] for row in pool[:4]], progress=False)
    assert not four.compaction_pays
    assert update_index(home, repository, removed=[pool[4]["product_id"]], progress=False).compaction_pays


def test_an_index_without_content_hashes_is_served_but_not_updated(home: Path, repository: Path) -> None:
    folder = resolve_index(home)
    (folder / "content.npy").unlink()
    write_manifest(folder, read_manifest(folder))
    with pytest.raises(IndexUnfit, match=r"content\.npy.*build the index again"):
        update_index(home, repository, removed=[1], progress=False)
    assert open_index(home).manifest.count == START  # it can still be served


def test_an_update_takes_over_only_what_belongs_to_the_index(home: Path, repository: Path, pool: list[Product]) -> None:
    strangers = ("notes.txt", ".DS_Store", "lexical/.DS_Store")
    for name in strangers:
        (resolve_index(home) / name).write_text("not ours")
    update_index(home, repository, removed=[pool[0]["product_id"]], progress=False)
    assert not any((resolve_index(home) / name).exists() for name in strangers)
    (resolve_index(home) / "lexical" / ".DS_Store").write_text("not ours")
    write_manifest(resolve_index(home), read_manifest(home))
    (resolve_index(home) / "lexical" / ".DS_Store").unlink()
    assert open_index(home).manifest.generation == 2


@pytest.mark.parametrize("writer", ["compact", "update"])
def test_an_index_of_an_earlier_version_gets_attributes_to_show(
    home: Path, repository: Path, truth: Truth, pool: list[Product], queries: np.ndarray, writer: str
) -> None:
    served = resolve_index(home)
    (served / "attributes.arrow").unlink()
    write_manifest(served, read_manifest(served))
    old = open_index(home)
    assert old.attribute_rows(np.array([[0]]), ()).shape == (1, 0)
    with pytest.raises(InvalidRequest, match=r"^fields: an earlier version built this index.*'shopwindow compact'"):
        old.check_fields(("title",))
    if writer == "compact":
        assert compact(home, progress=False).generation == 2
        assert compact(home, progress=False).generation == 2  # now there is nothing to do
        truth.assert_served(home, queries)
    else:
        gone = pool[0]["product_id"]
        update_index(home, repository, removed=[gone], progress=False)
        left = {product: row for product, row in truth.products.items() if product != gone}
        replace(truth, products=left).assert_served(home, queries)


def test_a_generation_that_lacks_a_file_is_not_updated(home: Path, repository: Path, pool: list[Product]) -> None:
    shutil.rmtree(resolve_index(home) / "lexical")
    with pytest.raises(IndexUnfit, match=r"is incomplete, lexical/.* missing"):
        update_index(home, repository, removed=[pool[0]["product_id"]], progress=False)
    assert IndexHome(home).generations == [1]


@pytest.mark.parametrize("name", ["product_ids.npy", "content.npy", "attributes.parquet", "vectors.npy"])
def test_a_fault_in_a_served_file_is_not_written_into_the_next_generation(
    home: Path, repository: Path, pool: list[Product], name: str
) -> None:
    served = resolve_index(home)
    flip(name)(served)
    with pytest.raises(IndexUnfit, match=rf"{name}: is not what was written"):
        update_index(home, repository, removed=[pool[0]["product_id"]], progress=False)
        compact(home, progress=False)  # an update does not read the vectors
    with pytest.raises(IndexUnfit, match=rf"{name}: is not what was written"):
        open_index(home)  # nor does it give the file that it shares a new checksum
