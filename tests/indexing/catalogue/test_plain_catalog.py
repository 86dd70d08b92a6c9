"""A catalogue as one parquet file: what is copied, what is left out with a word, and what is not done twice."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.catalogue import plain_parts
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.photos.options import PhotoOptions, Unreadable
from shopwindow.indexing.catalogue.plain_catalog import PlainCatalog, plain_catalog
from shopwindow.indexing.catalogue.reading import Catalog, CatalogRows
from shopwindow.indexing.errors import CatalogError
from tests.towers.small import photo

RED = photo((220, 30, 60))
OPTIONS = CatalogOptions(
    columns={"product_id": ("sku",), "title": ("name",), "image": ("file",)}, numbers={"price": ""}
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A CSV with an id that comes twice, a row without an id, a photo that is missing, and a column without values."""
    (tmp_path / "red.png").write_bytes(RED)
    rows = [
        ("A-1", "red mug", "red.png", "$ 1,299.00", ""),
        ("", "no id", "red.png", "$ 2.00", ""),
        ("A-2", "blue lamp", "gone.png", "", ""),
        ("A-1", "again", "red.png", "$ 3.00", ""),
        ("A-3", "", "red.png", "$ 4.50", ""),
    ]
    with (tmp_path / "shop.csv").open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([("sku", "name", "file", "price", "note"), *rows])
    return tmp_path / "shop.csv"


def copy_of(shop: Path, options: CatalogOptions = OPTIONS, **more: Any) -> PlainCatalog:
    return plain_catalog([shop], options, cache=shop.parent / "cache", progress=False, **more)


def test_a_copy_has_the_photos_and_what_it_lacks_is_said(shop: Path) -> None:
    found = copy_of(shop)
    assert pq.read_table(found.file).to_pylist() == [
        {"product_id": "A-1", "title": "red mug", "price": 1299.0, "image": RED},
        {"product_id": "A-2", "title": "blue lamp", "price": None, "image": None},
        {"product_id": "A-3", "title": None, "price": 4.5, "image": RED},
    ]
    *others, unread = found.notes
    assert others == [
        "column 'note' is left out: it has no value",
        "left out: 1 row (row 1): product_id: is missing; give every product one",
        "left out: 1 row (row 3, id A-1): product_id: appears twice",
    ]
    assert unread.startswith("without a photo, because it cannot be read: 1 row (row 2, id A-2): cannot read ")
    assert unread.endswith("gone.png': No such file or directory")
    strict = CatalogOptions(columns=OPTIONS.columns, photos=PhotoOptions(unreadable=Unreadable.LEAVE_OUT))
    assert pq.read_table(copy_of(shop, strict).file)["product_id"].to_pylist() == ["A-1", "A-3"]
    assert "image" not in pq.read_schema(copy_of(shop, photos=False).file).names


def test_a_copy_is_made_once_and_again_when_a_file_changes(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = copy_of(shop)
    with monkeypatch.context() as without_reading:
        without_reading.setattr(Catalog, "__init__", None)
        assert copy_of(shop) == made
    with shop.open("a") as opened:
        opened.write("A-4,green mug,red.png,,\n")
    again = copy_of(shop)
    assert again.file == made.file
    assert pq.read_table(again.file)["product_id"].to_pylist() == ["A-1", "A-2", "A-3", "A-4"]


def test_a_stopped_copy_goes_on_after_the_last_part(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plain_catalog([shop], OPTIONS, cache=tmp_path / "whole", progress=False)
    monkeypatch.setattr(plain_parts, "_ROWS", 2)
    monkeypatch.setattr(plain_parts, "_PART", 1)  # byte: each two rows are a part

    class Killed(BaseException):
        pass

    def killed(catalog: Catalog, size: int, start: int, **more: Any) -> Iterator[CatalogRows]:
        for number, rows in enumerate(read(catalog, size, start, **more)):
            if number == 2:
                raise Killed
            yield rows

    read = Catalog.read
    with monkeypatch.context() as dying:
        dying.setattr(Catalog, "read", killed)
        with pytest.raises(Killed):
            copy_of(shop)
    starts = []
    monkeypatch.setattr(
        Catalog, "read", lambda self, size, start, **more: starts.append(start) or read(self, size, start, **more)
    )
    found = copy_of(shop)
    assert starts == [4]  # the first two parts hold rows 0 to 3
    assert pq.read_table(found.file).equals(pq.read_table(whole.file)) and found.notes == whole.notes
    assert {file.name for file in found.file.parent.iterdir()} == {"about.json", "products.parquet"}


def test_parquet_with_the_photos_in_it_stays_where_it_is(tmp_path: Path) -> None:
    def told(name: str, columns: dict[str, Any], options: CatalogOptions | None = None, **more: Any) -> PlainCatalog:
        pq.write_table(pa.table(columns), tmp_path / name)
        cache = tmp_path / "cache"
        return plain_catalog([tmp_path / name], options or CatalogOptions(), cache=cache, progress=False, **more)

    plain = {"product_id": ["a", "b"], "title": ["mug", None], "image": [None, RED]}
    assert told("plain.parquet", plain) == PlainCatalog(file=tmp_path / "plain.parquet")
    # An index of a CSV keeps options that do not concern this file.
    assert not told("plain.parquet", plain, defaults=OPTIONS).copied
    assert not (tmp_path / "cache").exists()
    face = {**plain, "image": [{"bytes": None, "path": "red.png"}, {"bytes": RED, "path": None}]}
    (tmp_path / "red.png").write_bytes(RED)
    for name, columns in (("face", face), ("twice", {**plain, "product_id": ["a", "a"]})):
        assert told(f"{name}.parquet", columns).copied
    assert pq.read_table(told("face.parquet", face).file)["image"].to_pylist() == [RED, RED]


def test_what_index_refuses_is_refused_alike(shop: Path) -> None:
    for options in (CatalogOptions(), CatalogOptions(columns={**OPTIONS.columns, "image": ("note2",)})):
        with pytest.raises(CatalogError) as by_index:
            Catalog(shop, options)
        with pytest.raises(CatalogError, match=re.escape(str(by_index.value))):
            copy_of(shop, options)
    (shop.parent / "red.png").unlink()
    with pytest.raises(CatalogError, match="none of the first 5 photos can be read"):
        copy_of(shop)
    assert not list((shop.parent / "cache").iterdir())
