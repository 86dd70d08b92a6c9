"""Updates: searches find what a freshly built index would, and only changed products are embedded."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.update.compaction import compact
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval import IndexUnfit
from shopwindow.retrieval.index.folder import read_index, read_manifest
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.search import product_index
from tests.indexing.homes import START, Product, Truth, write_rows


@pytest.fixture
def without_towers(tmp_path: Path, repository: Path) -> Path:
    """A repository with the right bundle, and with towers that cannot be opened."""
    shutil.copytree(repository, tmp_path / "without_towers", ignore=shutil.ignore_patterns("*.onnx", "tokenizer.json"))
    return tmp_path / "without_towers"


def skipped(home: Path) -> list[dict[str, str]]:
    with (resolve_index(home) / "skipped.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("kind", "seed"), [("flat", 0), ("ivf", 1), ("ivf", 2)])
def test_any_sequence_of_updates_gives_the_results_of_a_fresh_index(
    tmp_path: Path,
    repository: Path,
    truth: Truth,
    pool: list[Product],
    queries: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    seed: int,
) -> None:
    monkeypatch.setattr(product_index, "EXACT_ROWS", 3)  # so that filters reach the engines
    rng, home = random.Random(seed), tmp_path / "index"
    truth.build(home, pool[:START], kind)
    for step in range(4):
        before = set(truth.products)
        changed: list[Product] = []
        for product in rng.sample(pool, 12):
            other = rng.choice(pool)
            mixed = dict(truth.products.get(product["product_id"], product))
            if rng.random() < 0.4:
                mixed |= {"title": other["title"], "image": other["image"]}
            mixed |= {"colour": rng.choice(["red", "blue", None]), "price": rng.choice([None, 10.0, 90.0])}
            changed.append(mixed)
        left = [product for product in before if product not in {row["product_id"] for row in changed}]
        removed = [*rng.sample(left, min(4, len(left))), 5]
        result = update_index(
            home, repository, changes=write_rows(tmp_path / "c", changed), removed=removed, progress=False
        )
        for product in removed:
            truth.products.pop(product, None)
        contents = {i: (p["title"], p["image"]) for i, p in truth.products.items()}
        truth.products |= {row["product_id"]: row for row in changed}
        again = [
            row for row in changed if contents.get(row["product_id"], (None, None)) != (row["title"], row["image"])
        ]
        added = {row["product_id"] for row in changed} - before
        assert (result.added, result.embedded_again) == (len(added), len(again) - len(added))
        assert result.attributes_only == len(changed) - len(again)
        assert (result.removed, result.unknown, result.skipped) == (len(removed) - 1, (5,), 0)
        assert result.generation == step + 2 == read_manifest(home).generation
        truth.assert_served(home, queries)
    assert read_manifest(home).delta > 0 < read_manifest(home).dead
    manifest = compact(home, recipe=kind, progress=False)
    assert (manifest.delta, manifest.dead, manifest.generation) == (0, 0, 6)
    assert not [name for name in ("delta.npy", "alive.npy") if (resolve_index(home) / name).exists()]
    truth.assert_served(home, queries)
    assert compact(home, recipe=kind, progress=False) == manifest


def test_attributes_are_changed_without_opening_a_tower(
    home: Path, without_towers: Path, truth: Truth, pool: list[Product], queries: np.ndarray, tmp_path: Path
) -> None:
    some = [{**row, "colour": "red", "price": 49.0} for row in pool[:START:2]]
    for row in some:
        truth.products[row["product_id"]] |= {"colour": "red", "price": 49.0}
    result = update_index(
        home,
        without_towers,
        changes=write_rows(tmp_path / "c", some, ["product_id", "colour", "price"]),
        progress=False,
    )
    assert (result.attributes_only, result.embedded_again, result.added, result.skipped) == (20, 0, 0, 0)
    truth.assert_served(home, queries)
    # Equal titles and photos, or none at all, need no tower either.
    for changes in (some, [{**row, "title": None, "image": None} for row in some]):
        result = update_index(home, without_towers, changes=write_rows(tmp_path / "c", changes), progress=False)
        assert result.attributes_only == 20
        truth.assert_served(home, queries)
    assert read_manifest(home).delta == read_manifest(home).dead == 0
    with pytest.raises((OSError, IndexUnfit, RuntimeError, Exception), match=r"tokenizer\.json|model\.onnx"):
        update_index(home, without_towers, changes=write_rows(tmp_path / "c", pool[START:]), progress=False)
    truth.assert_served(home, queries)


def test_absent_columns_keep_their_values_and_are_empty_for_new_products(
    home: Path, repository: Path, truth: Truth, pool: list[Product], queries: np.ndarray, tmp_path: Path
) -> None:
    changes = [{**pool[0], "title": "a green bicycle"}, pool[START]]
    columns = ["product_id", "title", "image", "price"]
    result = update_index(home, repository, changes=write_rows(tmp_path / "c", changes, columns), progress=False)
    assert (result.embedded_again, result.added) == (1, 1)
    truth.products[pool[0]["product_id"]]["title"] = "a green bicycle"
    truth.products[pool[START]["product_id"]] = {**pool[START], "colour": None}
    truth.assert_served(home, queries)


def test_a_new_title_or_photo_alone_is_skipped_if_the_product_has_both(
    home: Path, repository: Path, truth: Truth, pool: list[Product], queries: np.ndarray, tmp_path: Path
) -> None:
    whole, words, photo = pool[0], pool[2], pool[4]
    assert words["image"] is None and photo["title"] is None
    titles = [{**row, "title": "a green bicycle"} for row in (whole, words)] + [pool[1]]
    result = update_index(
        home, repository, changes=write_rows(tmp_path / "c", titles, ["product_id", "title"]), progress=False
    )
    assert (result.embedded_again, result.attributes_only, result.skipped) == (1, 1, 1)
    assert [(row["row"], row["product_id"]) for row in skipped(home)] == [("0", str(whole["product_id"]))]
    assert "title: changed" in skipped(home)[0]["reason"] and "give both" in skipped(home)[0]["reason"]
    truth.products[words["product_id"]]["title"] = "a green bicycle"
    truth.assert_served(home, queries)
    photos = [{**row, "image": pool[9]["image"]} for row in (whole, photo)] + [pool[1]]
    result = update_index(
        home, repository, changes=write_rows(tmp_path / "c", photos, ["product_id", "image"]), progress=False
    )
    assert (result.embedded_again, result.attributes_only, result.skipped) == (1, 1, 1)
    assert "image: changed" in skipped(home)[0]["reason"]
    truth.products[photo["product_id"]]["image"] = pool[9]["image"]
    truth.assert_served(home, queries)


def test_rows_that_cannot_be_used_are_skipped_and_counted(
    home: Path, repository: Path, truth: Truth, pool: list[Product], queries: np.ndarray, tmp_path: Path
) -> None:
    new = pool[START]
    rows = [
        {**new, "product_id": None},
        {**new, "product_id": -3},
        {**new, "title": None, "image": None},
        {**new, "image": b"no photo"},
        new,
        new,
        {**pool[3], "price": 1.0},
    ]
    result = update_index(
        home, repository, changes=write_rows(tmp_path / "c", rows), removed=[pool[3]["product_id"]], progress=False
    )
    reasons = [row["reason"] for row in skipped(home)]
    assert (result.added, result.removed, result.skipped) == (1, 1, 6) and read_manifest(home).skipped == 6
    for reason, part in zip(
        reasons,
        ("is missing", "from 0 to 2^63 - 1", "at least one must be given", "image", "twice", "also removes"),
        strict=True,
    ):
        assert part in reason
    truth.products[new["product_id"]] = new
    del truth.products[pool[3]["product_id"]]
    truth.assert_served(home, queries)


def test_a_removed_product_can_be_added_again(
    home: Path, repository: Path, truth: Truth, pool: list[Product], queries: np.ndarray, tmp_path: Path
) -> None:
    product = pool[7]["product_id"]
    assert update_index(home, repository, removed=[product, product], progress=False).removed == 1
    found = truth.products.pop(product)
    truth.assert_served(home, queries)
    assert update_index(home, repository, removed=[product, 2**70], progress=False).unknown == (product, 2**70)
    assert read_manifest(home).generation == 2  # there was nothing to do
    result = update_index(home, repository, changes=write_rows(tmp_path / "c", [found]), progress=False)
    assert result.added == 1
    truth.products[product] = found
    truth.assert_served(home, queries)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        (
            "weight",
            pa.array([1.0]),
            "columns that the index does not know: weight; the index has colour, image, made, price",
        ),
        (
            "price",
            pa.array(["dear"]),
            "column 'price' of .* is text, in the index it is floating-point numbers, and row 0 has 'dear'",
        ),
        (
            "price",
            pa.array([True]),
            "column 'price' of .* is true or false, in the index it is floating-point numbers, and row 0 has True",
        ),
        (
            "colour",
            pa.array([38.0]),
            "column 'colour' of .* is floating-point numbers, in the index it is text, and row 0 has 38.0",
        ),
        ("title", pa.array([3]), "column 'title' of .* must be text, got whole numbers"),
    ],
)
def test_a_column_that_does_not_fit_is_named(
    home: Path, repository: Path, pool: list[Product], tmp_path: Path, column: str, value: pa.Array, named: str
) -> None:
    pq.write_table(pa.table({"product_id": [pool[0]["product_id"]], column: value}), tmp_path / "c")
    with pytest.raises(CatalogError, match=named):
        update_index(home, repository, changes=tmp_path / "c", progress=False)
    assert read_manifest(home).generation == 1


def test_a_column_that_cannot_be_filtered_on_may_be_given(
    home: Path, repository: Path, pool: list[Product], tmp_path: Path
) -> None:
    pq.write_table(pa.table({"product_id": [pool[0]["product_id"]], "made": [["here"]]}), tmp_path / "c")
    assert update_index(home, repository, changes=tmp_path / "c", progress=False).attributes_only == 1


def test_a_repository_with_other_towers_than_the_index_is_refused(
    home: Path, repository: Path, pool: list[Product], tmp_path: Path
) -> None:
    shutil.copytree(repository, tmp_path / "other")
    fields = json.loads((repository / "bundle.json").read_text())
    (tmp_path / "other" / "bundle.json").write_text(json.dumps(fields | {"tower_hash": "b" * 64}))
    with pytest.raises(IndexUnfit, match="has towers bbbbbbbbbbbb"):
        update_index(home, tmp_path / "other", changes=write_rows(tmp_path / "c", pool[START:]), progress=False)


def test_an_update_must_change_something_and_leave_products(home: Path, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="changes, removed: nothing to do"):
        update_index(home, repository)
    with pytest.raises(CatalogError, match=f"removed: none of the index's {START} products would be left"):
        update_index(home, repository, removed=read_index(home).product_ids.tolist(), progress=False)
    with pytest.raises(IndexUnfit, match=r"is not an index home .*shopwindow index"):
        update_index(tmp_path / "none", repository, removed=[1])
    with pytest.raises(IndexUnfit, match=r"is not an index home .*shopwindow index"):
        compact(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_changes_may_be_written_as_other_writers_do(
    home: Path, repository: Path, truth: Truth, pool: list[Product], queries: np.ndarray, tmp_path: Path
) -> None:
    """Views of text as Polars has them, the row numbers of pandas, and a photo that is only a path."""
    rows = [{**product, "colour": "blue", "price": 90.0} for product in (pool[5], pool[6], pool[7], pool[9])]
    photos = [{"bytes": product["image"], "path": "x.jpg"} for product in rows[:3]]
    photos.append({"bytes": None, "path": "photos/1.jpg"})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(rows[3]["image"])
    table = pa.table(
        {
            "product_id": [row["product_id"] for row in rows],
            "title": pa.array([row["title"] for row in rows], pa.string_view()),
            "image": pa.array(photos, pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())])),
            "colour": pa.array([row["colour"] for row in rows]).dictionary_encode(),
            "price": pa.array([row["price"] for row in rows], pa.float32()),
            "__index_level_0__": range(len(rows)),
        }
    )
    pq.write_table(table, tmp_path / "c.parquet")
    update = update_index(home, repository, changes=tmp_path / "c.parquet", progress=False)
    assert (update.attributes_only, update.embedded_again, update.added, update.skipped) == (4, 0, 0, 0)
    truth.products |= {row["product_id"]: row for row in rows}
    truth.assert_served(home, queries)
