"""Ids, titles and photos come from the columns that `--map` names, in every format, and also in updates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shopwindow.indexing.catalogue.options import CatalogOptions, read_mapping
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.run import build_index, built_already
from shopwindow.indexing.update.compaction import compact
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval import InvalidRequest, parse_parameters
from shopwindow.retrieval.index.folder import read_index, read_manifest
from shopwindow.retrieval.opening import open_index

ROWS: list[dict[str, Any]] = [
    {"sku": 7, "brand": "Kesto", "name": "red mug", "size": 38, "product_id": 1},
    {"sku": 8, "brand": None, "name": "bowl", "size": 40, "product_id": 2},
    {"sku": 9, "brand": "Nordvale", "name": None, "size": None, "product_id": 3},
]
TITLES = ["Kesto red mug 38", "bowl 40", "Nordvale"]
MAPPED = CatalogOptions(columns=read_mapping(["title=brand+name+size,product_id=sku"]))


def write(folder: Path, name: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    file = folder / name
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".csv":
        lines = [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
        file.write_text("\n".join([",".join(rows[0]), *lines]))
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_columns_are_mapped_in_every_format(tmp_path: Path, name: str) -> None:
    catalog = Catalog(write(tmp_path, name), MAPPED)
    (rows,) = catalog.read(9)
    assert rows.ids == [7, 8, 9]
    assert rows.titles == TITLES
    # The parts of the title are attributes, too; the id is not, and the column that --map passes over is named.
    assert rows.attributes.select(["brand", "name", "size"]).to_pylist() == [
        {name: row[name] for name in ("brand", "name", "size")} for row in ROWS
    ]
    assert set(rows.attributes.column_names) == {"title", "brand", "name", "size"}
    assert catalog.left_out == {"product_id": "product_id is read from sku"}
    (one,) = Catalog(tmp_path / name, CatalogOptions(columns=read_mapping(["title=name"]))).read(9)
    assert one.titles == ["red mug", "bowl", ""]
    assert set(one.attributes.column_names) == {"title", "sku", "brand", "size"}


def test_a_column_of_the_path_is_mapped_and_a_title_may_be_a_part_of_itself(tmp_path: Path) -> None:
    (tmp_path / "brand=Kesto").mkdir()
    file = write(tmp_path / "brand=Kesto", "a.csv", [{"product_id": 1, "title": "mug"}])
    catalog = Catalog(file, CatalogOptions(columns={"title": ("brand", "title")}))
    (rows,) = catalog.read(9)
    assert (rows.titles, rows.attributes.to_pylist()) == (["Kesto mug"], [{"title": "Kesto mug", "brand": "Kesto"}])
    assert not catalog.left_out


def test_a_mapping_file_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('{"title": ["brand", "a, b = c"], "product_id": "sku"}')
    assert read_mapping([str(tmp_path / "map.json"), "image=photo"]) == {
        "title": ("brand", "a, b = c"),
        "product_id": ("sku",),
        "image": ("photo",),
    }
    assert CatalogOptions.from_json(json.loads(json.dumps(MAPPED.to_json()))) == MAPPED


@pytest.mark.parametrize(
    ("mapping", "named"),
    [
        (["titel=name"], r"'titel' is not product_id, title or image \(did you mean 'title'\?\)"),
        (["title=nam"], r"a\.csv needs a column 'nam' or 'image' \(did you mean 'name'\?\); it has \['brand',"),
        (["title=brand+nam"], r"no column 'nam' in .*a\.csv \(did you mean 'name'\?\); there are \['brand',"),
        (["product_id=skuu"], r"read from 'skuu', which it lacks \(did you mean 'sku'\?\)"),
        (["title=name", "title=brand"], "title is given twice: name and brand"),
        (["title=name+name"], "names a column twice"),
        (["title="], "title needs the name of a column"),
        (["product_id=sku+brand"], "one column only"),
        (["title=name,brand"], "'brand' in 'title=name,brand' must be like title=name"),
        (["nothing.json"], "there is no such file"),
        (["list.json"], r"must be like .* or a JSON file such as"),
        (["twice.json"], "title is given twice"),
        (["number.json"], "'title' of number.json must be a column or a list of columns, got 5"),
    ],
)
def test_a_wrong_mapping_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapping: list[str], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {"list.json": "[1]", "twice.json": '{"title": "a", "title": "b"}', "number.json": '{"title": 5}'}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CatalogError, match=named) as caught:
        Catalog(write(tmp_path, "a.csv"), CatalogOptions(columns=read_mapping(mapping)))
    assert "\n" not in str(caught.value)


def test_updates_read_changes_as_the_index_was_built(tmp_path: Path, repository: Path) -> None:
    home, file = tmp_path / "index", write(tmp_path, "a.csv")
    build_index(file, repository, home, reading=MAPPED, progress=False)
    assert CatalogOptions.from_json(read_manifest(home).reading) == MAPPED
    assert built_already(file, repository, home, reading=MAPPED) is not None
    assert built_already(file, repository, home, reading=CatalogOptions(columns={"title": ("name",)})) is None

    def update(name: str, rows: list[dict[str, Any]], reading: CatalogOptions | None = None) -> tuple[int, int]:
        changes = write(tmp_path, name, rows)
        done = update_index(home, repository, changes=changes, reading=reading, progress=False)
        return done.embedded_again, done.attributes_only

    assert update("c.jsonl", [{**ROWS[0], "name": "blue mug"}]) == (1, 0)
    with pytest.raises(CatalogError, match="has 'brand', but not 'name': titles are joined from"):
        update("c.csv", [{"sku": 7, "brand": "Altmere"}])
    with pytest.raises(CatalogError, match="needs a column 'sku' for product_id"):
        update("c.csv", [{"id": 7, "brand": "Altmere", "name": "x", "size": 1}])
    with pytest.raises(CatalogError, match="has a column 'title', but title is read from 'brand'"):
        update("c.csv", [{"sku": 7, "title": "mug"}])
    own = CatalogOptions(columns={"product_id": ("id",)})  # replaces only what it gives
    assert update("c.csv", [{"id": 8, "brand": "Altmere", "name": "bowl", "size": 40}], own) == (1, 0)
    index = read_index(home)
    live = index.attributes.take(index.live_rows)
    found = dict(zip(index.product_ids[index.live_rows].tolist(), live["title"].to_pylist(), strict=True))
    assert found == {7: "Kesto blue mug 38", 8: "Altmere bowl 40", 9: "Nordvale"}


def test_an_index_shows_where_photos_are_under_the_name_of_the_shop(tmp_path: Path, repository: Path) -> None:
    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{number}.png")
    home = tmp_path / "index"
    reading = CatalogOptions(columns=read_mapping(["image=photo_path"]))

    def row(product: int, title: str | None, photo: str | None) -> dict[str, Any]:
        return {"product_id": product, "title": title, "photo_path": photo, "price": 5}

    def shown() -> dict[int, str | None]:
        index = open_index(home)
        assert index.folder is not None
        rows = index.folder.live_rows
        index.check_fields(("photo_path",))
        found = index.attribute_rows(rows[None], ("photo_path",))[0]
        return {int(index.product_ids[n]): json.loads(one)["photo_path"] for n, one in zip(rows, found, strict=True)}

    def update(*rows: dict[str, Any]) -> None:
        update_index(home, repository, changes=write(tmp_path, "c.parquet", [*rows]), progress=False)

    catalogue = write(tmp_path, "a.csv", [row(1, "red mug", "0.png"), row(2, "bowl", None), row(3, "cup", "1.png")])
    build_index(catalogue, repository, home, reading=reading, progress=False)
    assert shown() == {1: "0.png", 2: None, 3: "1.png"}
    with pytest.raises(InvalidRequest, match="no such attribute; this index has: price"):
        open_index(home).check_parameters(parse_parameters({"filter": {"photo_path": "0.png"}}))
    (tmp_path / "moved.png").write_bytes((tmp_path / "1.png").read_bytes())
    update(row(1, None, None), row(2, "bowl", "1.png"), row(3, "cup", "moved.png"), row(4, "jug", "0.png"))
    # The first has neither title nor photo, so both stay. The photo of the third is the same, and elsewhere.
    assert shown() == {1: "0.png", 2: "1.png", 3: "moved.png", 4: "0.png"}
    update({"product_id": 1, "price": 6})
    update(row(2, "bowl", None))
    assert shown() == {1: "0.png", 2: None, 3: "moved.png", 4: "0.png"}
    compact(home, progress=False)
    assert shown() == {1: "0.png", 2: None, 3: "moved.png", 4: "0.png"}
