"""Updates: what is found is what an index built afresh would find, and only what changed is embedded."""

from __future__ import annotations

import csv
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export.compaction import compact
from export.errors import CatalogError
from export.update import update_index
from retrieval import IndexUnfit, InProcessPipeline, ProductIndex, product_index
from retrieval.index_folder import read_index, read_manifest
from retrieval.index_home import IndexHome, resolve_index
from tests.export.homes import Product, Truth, write_rows

START = 40


@pytest.fixture(scope="module")
def truth(repository: Path) -> Truth:
    return Truth(InProcessPipeline(repository))


@pytest.fixture(scope="module")
def pool(shop: Path) -> list[Product]:
    """Eighty products with titles and photos; some of the first ones lack one of them."""
    rows = pq.read_table(shop / "products.parquet").slice(0, 80).to_pylist()
    return [
        {
            "product_id": 2**40 + 7 * place,
            "title": None if place % 9 == 4 else row["title"],
            "image": None if place % 9 == 2 else row["image"],
            "colour": ["red", "blue", None][place % 3],
            "price": float(place),
        }
        for place, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def queries(truth: Truth, pool: list[Product]) -> np.ndarray:
    near = truth.vectors(pool[::13]) + 0.1 * np.random.default_rng(0).normal(size=(7, 128)).astype(np.float32)
    return near / np.linalg.norm(near, axis=1, keepdims=True)


@pytest.fixture
def home(tmp_path: Path, truth: Truth, pool: list[Product]) -> Path:
    """An index home with the first START products."""
    truth.build(tmp_path / "index", pool[:START])
    return tmp_path / "index"


@pytest.fixture
def nowhere(tmp_path: Path, repository: Path) -> Path:
    """A repository whose bundle is right and whose towers can't be opened."""
    shutil.copytree(repository, tmp_path / "nowhere", ignore=shutil.ignore_patterns("*.onnx", "tokenizer.json"))
    return tmp_path / "nowhere"


def skipped(home: Path) -> list[dict[str, str]]:
    with (resolve_index(home) / "skipped.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", ["flat", "ivf"])
@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_updates_finds_what_a_fresh_index_would(
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


def test_attributes_alone_are_changed_without_any_tower(
    home: Path, nowhere: Path, truth: Truth, pool: list[Product], queries: np.ndarray, tmp_path: Path
) -> None:
    some = [{**row, "colour": "red", "price": 49.0} for row in pool[:START:2]]
    for row in some:
        truth.products[row["product_id"]] |= {"colour": "red", "price": 49.0}
    result = update_index(
        home, nowhere, changes=write_rows(tmp_path / "c", some, ["product_id", "colour", "price"]), progress=False
    )
    assert (result.attributes_only, result.embedded_again, result.added, result.skipped) == (20, 0, 0, 0)
    truth.assert_served(home, queries)
    # The same titles and photos again, or none at all, are no reason to embed either.
    for changes in (some, [{**row, "title": None, "image": None} for row in some]):
        result = update_index(home, nowhere, changes=write_rows(tmp_path / "c", changes), progress=False)
        assert result.attributes_only == 20
        truth.assert_served(home, queries)
    assert read_manifest(home).delta == read_manifest(home).dead == 0
    with pytest.raises((OSError, IndexUnfit, RuntimeError, Exception), match=r"tokenizer\.json|model\.onnx"):
        update_index(home, nowhere, changes=write_rows(tmp_path / "c", pool[START:]), progress=False)
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


def test_half_of_a_changed_product_is_skipped_with_a_reason(
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
        ("from 0 to 2^63 - 1", "from 0 to 2^63 - 1", "at least one must be given", "image", "twice", "to be removed"),
        strict=True,
    ):
        assert part in reason
    truth.products[new["product_id"]] = new
    del truth.products[pool[3]["product_id"]]
    truth.assert_served(home, queries)


def test_a_removed_product_comes_back_when_it_is_given_again(
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


def test_what_did_not_change_is_shared_on_disk_and_the_old_generation_stays_as_it_was(
    home: Path, repository: Path, truth: Truth, pool: list[Product], tmp_path: Path
) -> None:
    old = resolve_index(home)
    before = {file: file.read_bytes() for file in old.rglob("*") if file.is_file()}
    update_index(home, repository, changes=write_rows(tmp_path / "c", pool[START:]), progress=False)
    new = resolve_index(home)
    assert (new / "vectors.npy").samefile(old / "vectors.npy")
    assert {file: file.read_bytes() for file in old.rglob("*") if file.is_file()} == before
    update_index(home, repository, removed=[pool[0]["product_id"]], progress=False)
    for name in ("delta.npy", "attributes.parquet", "content.npy", "lexical/data.csc.index.npy"):
        assert (resolve_index(home) / name).samefile(new / name)


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("weight", pa.array([1.0]), "columns that the index does not know: weight; it has colour, image, made, price"),
        ("price", pa.array(["dear"]), "column 'price' of .* is string, in the index it is double"),
        ("title", pa.array([3]), "column 'title' of .* must be text, got int64"),
        ("made", pa.array([["here"]]), None),
    ],
)
def test_a_column_that_does_not_fit_is_named(
    home: Path, repository: Path, pool: list[Product], tmp_path: Path, column: str, value: pa.Array, named: str | None
) -> None:
    pq.write_table(pa.table({"product_id": [pool[0]["product_id"]], column: value}), tmp_path / "c")
    if named is None:  # one that the catalogue had, though nothing can be filtered by it
        assert update_index(home, repository, changes=tmp_path / "c", progress=False).attributes_only == 1
        return
    with pytest.raises(CatalogError, match=named):
        update_index(home, repository, changes=tmp_path / "c", progress=False)
    assert read_manifest(home).generation == 1


def test_other_towers_than_the_index_has_are_refused_before_anything_is_embedded(
    home: Path, repository: Path, pool: list[Product], tmp_path: Path
) -> None:
    shutil.copytree(repository, tmp_path / "other")
    fields = json.loads((repository / "bundle.json").read_text())
    (tmp_path / "other" / "bundle.json").write_text(json.dumps(fields | {"tower_hash": "b" * 64}))
    with pytest.raises(IndexUnfit, match="has towers bbbbbbbbbbbb"):
        update_index(home, tmp_path / "other", changes=write_rows(tmp_path / "c", pool[START:]), progress=False)


def test_there_must_be_something_to_do_and_something_left(home: Path, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="changes, removed: nothing to do"):
        update_index(home, repository)
    with pytest.raises(CatalogError, match=f"removed: no product of the index's {START} would be left"):
        update_index(home, repository, removed=read_index(home).product_ids.tolist(), progress=False)
    for act in (update_index, compact):
        with pytest.raises(IndexUnfit, match=r"is not an index home .*shopwindow index"):
            act(tmp_path / "none", repository, removed=[1]) if act is update_index else act(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_one_writer_at_a_time(home: Path, repository: Path, pool: list[Product]) -> None:
    with IndexHome(home).writing():
        with pytest.raises(IndexUnfit, match="another update, compaction or publishing is under way"):
            update_index(home, repository, removed=[pool[0]["product_id"]], progress=False)
        with pytest.raises(IndexUnfit, match="is under way here"):
            compact(home, progress=False)
    assert update_index(home, repository, removed=[pool[0]["product_id"]], progress=False).removed == 1


def test_a_rollback_undoes_an_update_and_leads_forward_again(
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
    # An update of what was rolled back to takes a number that was never used.
    assert update_index(home, repository, removed=[pool[9]["product_id"]], progress=False).generation == 3
    assert place.generations == [1, 2, 3]


def test_a_build_under_way_keeps_nobody_from_updating(home: Path, repository: Path, pool: list[Product]) -> None:
    with IndexHome(home).filling():
        assert update_index(home, repository, removed=[pool[0]["product_id"]], progress=False).removed == 1
        with pytest.raises(IndexUnfit, match="another build is under way here"), IndexHome(home).filling():
            pass


def test_an_update_of_which_nothing_is_left_takes_no_generation_to_go_back_to(
    home: Path, repository: Path, pool: list[Product], tmp_path: Path
) -> None:
    result = update_index(
        home, repository, changes=write_rows(tmp_path / "c", [{**pool[START], "image": b"no photo"}]), progress=False
    )
    assert (result.published, result.generation, result.skipped) == (False, 1, 1)
    assert result.reasons[0].startswith("row 0: image")
    assert IndexHome(home).generations == [1]


def test_compaction_keeps_the_recipe(tmp_path: Path, repository: Path, truth: Truth, pool: list[Product]) -> None:
    truth.build(tmp_path / "index", pool[:START], "ivf")
    update_index(tmp_path / "index", repository, removed=[pool[0]["product_id"]], progress=False)
    assert compact(tmp_path / "index", progress=False).recipe.kind == "ivf"
    assert compact(tmp_path / "index", recipe="flat", progress=False).recipe.kind == "flat"


def test_when_compaction_pays(home: Path, repository: Path, pool: list[Product]) -> None:
    four = update_index(home, repository, removed=[row["product_id"] for row in pool[:4]], progress=False)
    assert not four.compaction_pays
    assert update_index(home, repository, removed=[pool[4]["product_id"]], progress=False).compaction_pays


def test_a_folder_from_before_updates_says_what_to_do(home: Path, repository: Path) -> None:
    (resolve_index(home) / "content.npy").unlink()
    with pytest.raises(IndexUnfit, match=r"content\.npy.*build the index again"):
        update_index(home, repository, removed=[1], progress=False)
    assert ProductIndex.open(home).manifest.count == START  # it is served all the same
