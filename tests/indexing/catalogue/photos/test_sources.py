"""Photos are the same wherever they are: in the file, in files beside it, or written as text."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shopwindow.base.photos.errors import PhotoBroken
from shopwindow.base.photos.header import read_header
from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.photos.options import PhotoOptions, Unreadable
from shopwindow.indexing.catalogue.photos.reader import Photos, Unread
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.request.attribute_columns import AttributeTable


def photo(grey: int, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("L", (20, 20), grey).save(file, format)
    return file.getvalue()


ONE, TWO, THREE = photo(10), photo(20, "JPEG"), photo(30, "WEBP")
TEXTS = [base64.b64encode(data).decode() for data in (ONE, TWO, THREE)]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with photos in files: 1.png, photos/2.jpg, and above it 3.webp."""
    (tmp_path / "shop" / "photos").mkdir(parents=True)
    (tmp_path / "shop" / "1.png").write_bytes(ONE)
    (tmp_path / "shop" / "photos" / "2.jpg").write_bytes(TWO)
    (tmp_path / "3.webp").write_bytes(THREE)
    return tmp_path / "shop"


def parquet(folder: Path, column: Any) -> Path:
    count = len(column)
    table = pa.table({"product_id": range(count), "title": ["mug"] * count, "image": column})
    pq.write_table(table, folder / "products.parquet")
    return folder / "products.parquet"


def delimited(folder: Path, column: list[str]) -> Path:
    with (folder / "products.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["product_id", "title", "image"], *([i, "mug", v] for i, v in enumerate(column))])
    return folder / "products.csv"


def json_lines(folder: Path, column: list[Any]) -> Path:
    rows = ({"product_id": i, "title": "mug", "image": value} for i, value in enumerate(column))
    (folder / "products.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "products.jsonl"


def open_with(file: Path, **options: Any) -> Catalog:
    return Catalog(file, CatalogOptions(photos=PhotoOptions(**options)))


def read(file: Path, most: int = 4, **options: Any) -> list[Photos]:
    return [photos for rows in open_with(file, **options).read(2, photos=most) for photos in rows.photos]


def texts(shop: Path) -> list[str]:
    return [
        "1.png",
        "photos/2.jpg",
        " ./photos/../1.png ",
        "../3.webp",
        str(shop / "1.png"),
        *TEXTS,
        "\n".join(TEXTS[0][at : at + 76] for at in range(0, len(TEXTS[0]), 76)).rstrip("="),
        TEXTS[1],
        f"data:image/png;base64,{TEXTS[0]}",
        f"DATA:image/jpeg;name=a;base64,{TEXTS[1]}",
        f"data:,{quote_from_bytes(THREE)}",
        "",
        "  ",
    ]


EXPECTED = [ONE, TWO, ONE, THREE, ONE, ONE, TWO, THREE, ONE, TWO, ONE, TWO, THREE]


@pytest.mark.parametrize("write", [parquet, delimited, json_lines])
def test_a_text_is_a_path_or_holds_the_photo(shop: Path, write: Any) -> None:
    assert read(write(shop, texts(shop))) == [(data,) for data in EXPECTED] + [(), ()]


def test_photos_are_read_in_every_column_of_parquet(shop: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    both = {"bytes": TWO, "path": "missing.jpg"}
    assert read(
        parquet(shop, pa.array([both, {"bytes": None, "path": "1.png"}, {"bytes": b"", "path": ""}, None], struct))
    ) == [
        (TWO,),
        (ONE,),
        (),
        (),
    ]
    for kind in (pa.list_(pa.binary()), pa.large_list(pa.binary_view()), pa.list_(pa.large_binary())):
        assert read(parquet(shop, pa.array([[ONE, TWO], [None, THREE], None], kind))) == [(ONE, TWO), (THREE,), ()]
    assert read(parquet(shop, pa.array([["1.png", "photos/2.jpg"], [], ["../3.webp"]]))) == [(ONE, TWO), (), (THREE,)]
    assert read(parquet(shop, pa.array([[{"path": "1.png"}, {"path": "photos/2.jpg"}], None]))) == [(ONE, TWO), ()]
    assert read(parquet(shop, pa.array(["1.png", None, "1.png"]).dictionary_encode())) == [(ONE,), (), (ONE,)]
    assert read(parquet(shop, pa.nulls(2))) == [(), ()]
    assert read(json_lines(shop, [["1.png", "photos/2.jpg"], [], None])) == [(ONE, TWO), (), ()]


def test_the_first_photos_are_read_and_one_that_is_named_twice_counts_once(shop: Path) -> None:
    file = parquet(shop, pa.array([["1.png", "1.png", "photos/2.jpg", "../3.webp", "missing.png"]]))
    assert read(file, most=3) == [(ONE, TWO, THREE)]
    assert read(file, most=1) == [(ONE,)]


def test_several_columns_are_several_photos(shop: Path) -> None:
    """Some may hold lists, and a list may be a text."""
    reading = CatalogOptions(columns={"image": ("front", "more")}, lists={"more": "|"})
    front, more = ["1.png", None, "../3.webp", None], [["photos/2.jpg", "1.png"], ["1.png"], None, None]
    texts = ["photos/2.jpg|1.png", "1.png", None, None]
    table = {"product_id": range(4), "title": ["mug"] * 4, "front": front}
    pq.write_table(pa.table({**table, "more": more}), shop / "a.parquet")
    pq.write_table(pa.table({**table, "more": texts}), shop / "b.parquet")
    (shop / "c.csv").write_text(
        "product_id,title,front,more\n"
        + "".join(f"{row},mug,{front[row] or ''},{texts[row] or ''}\n" for row in range(4))
    )
    rows = ({"product_id": row, "front": front[row], "more": more[row]} for row in range(4))
    (shop / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for file in ("a.parquet", "b.parquet", "c.csv", "d.jsonl"):
        found = [photos for rows in Catalog(shop / file, reading).read(3) for photos in rows.photos]
        assert found == [(ONE, TWO), (ONE,), (THREE,), ()], file
    pq.write_table(pa.table({**table, "more": [ONE, None, None, None]}), shop / "e.parquet")
    with pytest.raises(CatalogError, match=r"the photos of .* must have one type: front is text, more is bytes"):
        Catalog(shop / "e.parquet", CatalogOptions(columns={"image": ("front", "more")}))


def test_paths_may_be_relative_to_another_folder(shop: Path, tmp_path: Path) -> None:
    assert read(parquet(shop, ["3.webp", "shop/1.png", str(shop / "1.png")]), folder=str(tmp_path)) == [
        (THREE,),
        (ONE,),
        (ONE,),
    ]


def test_a_photo_that_cannot_be_read_has_a_reason(shop: Path) -> None:
    os.mkfifo(shop / "pipe")
    (shop / "empty.jpg").touch()
    with (shop / "large.jpg").open("wb") as file:
        file.truncate(2**30)
    wrong = {
        "2.jpg": f"cannot read '{shop}/2.jpg': No such file or directory",
        "photos": f"'{shop}/photos' is not a file",
        "pipe": f"'{shop}/pipe' is not a file",
        "large.jpg": f"'{shop}/large.jpg' has 1073741824 bytes, at most 20971520 are read",
        "1.png/a": f"cannot read '{shop}/1.png/a': Not a directory",
        "a" * 300: f"cannot read '{shop}/{'a' * 300}': File name too long",
        "a\0b": r"cannot read 'a\x00b': embedded null byte",
        "ftp://shop/1.jpg": "cannot read 'ftp://shop/1.jpg': ftp:// is not known, give a path, http:// or https://",
        "https://shop/1.jpg": "'https://shop/1.jpg' is on the web, and --fetch-photos was not given",
        f"data:image/png;base64,{TEXTS[0][:81]}": "is no sound base64",
        "x!" * 5_000: "is no sound base64",
        "data:,": "'data:,' is empty",
        "empty.jpg": "'empty.jpg' is empty",
    }
    found = read(json_lines(shop, list(wrong)))
    for (value, reason), (unread,) in zip(wrong.items(), found, strict=True):
        assert isinstance(unread, Unread), value
        assert unread.reason == reason or (reason in unread.reason and "base64" in reason)
        assert len(unread.reason) < 500


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (photo(10, "GIF"), "GIF"),
        (photo(10, "BMP"), "BMP"),
        (photo(10, "TIFF"), "TIFF"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n<!DOCTYPE html><title>Not found</title>", "HTML"),
    ],
)
def test_a_format_that_is_not_read_is_named(data: bytes, name: str) -> None:
    with pytest.raises(PhotoBroken, match=f"it is {name}, convert it to one of these"):
        read_header(data)


def test_a_catalogue_none_of_whose_photos_can_be_read_is_refused(shop: Path) -> None:
    file = delimited(shop, ["", "5.jpg", "6.jpg"])
    with pytest.raises(
        CatalogError, match=r"^catalog: none of the first 2 photos can be read; .*5\.jpg'.* --photos"
    ) as e:
        Catalog(file).check_photos(4)
    assert "\n" not in str(e.value)
    with pytest.raises(CatalogError, match="none of the first 1 photos can be read; the first reason: it is HTML"):
        Catalog(parquet(shop, [b"<!doctype html>", None])).check_photos(4)
    for unreadable in (Unreadable.INDEX, Unreadable.LEAVE_OUT):
        open_with(file, unreadable=unreadable).check_photos(4)
    assert Catalog(delimited(shop, ["", "5.jpg", "1.png"])).check_photos(4)
    assert not Catalog(delimited(shop, ["", ""])).check_photos(4)


def test_addresses_are_refused_at_once_unless_they_are_fetched(shop: Path) -> None:
    file = delimited(shop, ["1.png", "http://127.0.0.1:9/2.jpg", "HTTPS://127.0.0.1:9/3.jpg", "4.jpg"])
    with pytest.raises(
        CatalogError, match=r"2 of the first 4 photos .* such as 'http://127.*/2.jpg': .* --fetch-photos"
    ):
        Catalog(file).check_photos(4)
    open_with(file, unreadable=Unreadable.INDEX).check_photos(4)


def test_the_photos_of_some_products_are_found_in_every_format(shop: Path) -> None:
    column = ["1.png", "photos/2.jpg", None, "missing.png", "../3.webp"] * 30
    lists = [None if value is None else ["missing.png", value] for value in column]
    files = [parquet(shop, pa.array(lists)), json_lines(shop, lists), delimited(shop, [v or "" for v in column])]
    for file in files:
        assert Catalog(file).photos_of({1, 147, 3, 144, 999}) == {1: TWO, 147: b"", 3: b"", 144: THREE}
    assert Catalog(files).photos_of({75}) == {75: ONE}


@pytest.mark.parametrize(
    ("column", "places"),
    [
        (["1.png", None, "https://shop.example/é.png", TEXTS[0]], ["1.png", None, "https://shop.example/é.png", None]),
        ([["photos/2.jpg", "1.png"], [], None, [" 1.png "]], ["photos/2.jpg", None, None, "1.png"]),
        ([None, TEXTS[0], "1.png"], None),  # photos in the file itself: the first one decides
        ([ONE, TWO], None),
        ([{"bytes": None, "path": "1.png"}], None),
    ],
)
def test_an_index_keeps_where_the_first_photo_is(shop: Path, column: list[Any], places: list[Any] | None) -> None:
    catalog = open_with(parquet(shop, column))
    assert catalog.schema.names == ["title"]
    kept = pa.concat_tables([rows.attributes for rows in catalog.read(2)])
    if places is None:
        assert kept.column_names == ["title"]
    else:
        assert kept["image"].to_pylist() == [None if place is None else place.encode() for place in places]
        assert AttributeTable(kept).names == []  # no filter can name it
