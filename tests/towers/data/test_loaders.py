"""Published data sets are converted to our layout; small files in the published format stand for them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.towers.data.esspr_pairs import convert_esspr, product_number
from shopwindow.towers.data.published_sets import convert_fashion
from shopwindow.towers.data.training_data import load_catalog, photo_of
from tests.towers.small import COLOURS, photo

SKU_A = 3996731205584399591
HUB_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
HUB = pa.schema(
    [
        ("id", pa.int64()),
        *((name, pa.string()) for name in ("gender", "masterCategory", "subCategory", "articleType", "baseColour")),
        ("season", pa.string()),
        ("year", pa.float64()),
        ("usage", pa.string()),
        ("productDisplayName", pa.string()),
        ("image", HUB_IMAGE),
    ]
)


def hub_row(number: int | None, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "gender": "Men",
        "masterCategory": "Apparel",
        "subCategory": "Topwear",
        "articleType": "Shirts",
        "baseColour": "Red",
        "season": "Fall",
        "year": 2011.0,
        "usage": "Casual",
        "productDisplayName": f"Red Shirt {number}",
        "image": {"bytes": photo(COLOURS["red"]), "path": None},
        **changes,
    }


def write_hub(file: Path, *rows: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=HUB), file)


def reasons(out: Path) -> list[tuple[int, str]]:
    with (out / "skipped.csv").open(encoding="utf-8") as text:
        return [(int(row["row"]), row["reason"]) for row in csv.DictReader(text)]


def test_a_hub_snapshot_becomes_one_catalogue_that_training_can_read(tmp_path: Path) -> None:
    write_hub(tmp_path / "hub" / "data" / "train-00001-of-00002.parquet", hub_row(7, year=None, season=None))
    write_hub(tmp_path / "hub" / "data" / "train-00000-of-00002.parquet", hub_row(2**60 + 1), hub_row(3))
    converted = convert_fashion(tmp_path / "hub", tmp_path / "out")
    assert converted.counts == {"products": 3, "with a photo": 3}
    rows = pq.read_table(tmp_path / "out" / "products.parquet").to_pylist()
    assert [row["product_id"] for row in rows] == [2**60 + 1, 3, 7]
    assert rows[1] == {
        "product_id": 3,
        "title": "Red Shirt 3",
        "image": photo(COLOURS["red"]),
        "gender": "Men",
        "master_category": "Apparel",
        "sub_category": "Topwear",
        "article_type": "Shirts",
        "base_colour": "Red",
        "season": "Fall",
        "year": 2011,
        "usage": "Casual",
    }
    assert (rows[2]["year"], rows[2]["season"]) == (None, None)
    assert load_catalog(tmp_path / "out" / "products.parquet", 8).pixels[1, 0, 0].tolist() == [220, 30, 60]


def test_unusable_rows_are_listed_and_the_others_converted(tmp_path: Path) -> None:
    nothing = {"bytes": None, "path": "1.jpg"}
    write_hub(
        tmp_path / "hub.parquet",
        hub_row(1),
        hub_row(None),
        hub_row(1),
        hub_row(-4),
        hub_row(5, productDisplayName=" ", image=nothing),
        hub_row(6, image=nothing),
        hub_row(7, productDisplayName=None),
        hub_row(8, image=None),
    )
    converted = convert_fashion(tmp_path / "hub.parquet", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "products.parquet")
    assert table["product_id"].to_pylist() == [1, 6, 7, 8]
    assert converted.counts == {"products": 4, "with a photo": 2}
    assert reasons(tmp_path / "out") == [
        (1, "id: must be a whole number from 0 to 2^63 - 1, got None"),
        (2, "id: appears twice"),
        (3, "id: must be a whole number from 0 to 2^63 - 1, got -4"),
        (4, "neither a title nor a photo"),
    ]


def test_a_row_that_is_not_utf_8_is_skipped_alone(tmp_path: Path) -> None:
    write_hub(tmp_path / "hub.parquet", hub_row(1), hub_row(2), hub_row(3))
    table = pq.read_table(tmp_path / "hub.parquet")
    broken = pa.array([b"one", b"\xff\xfe", b"three"]).view(pa.string())
    place = table.column_names.index("productDisplayName")
    pq.write_table(table.set_column(place, "productDisplayName", broken), tmp_path / "hub.parquet")
    convert_fashion(tmp_path / "hub.parquet", tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "products.parquet")["title"].to_pylist() == ["one", "three"]
    [(row, reason)] = reasons(tmp_path / "out")
    assert row == 1
    assert reason.startswith("text that is not UTF-8")


def test_a_source_in_another_format_is_an_error_that_names_the_missing_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "image": [b""]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"other\.parquet: has no column productDisplayName, gender"):
        convert_fashion(tmp_path, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: has no file \*\.parquet"):
        convert_fashion(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def pair(trigger: Any, recall: Any, label: Any = 1, **changes: Any) -> dict[str, Any]:
    return {
        "cate_lv1_name": "Home",
        "cate_name": "Mugs",
        "trigger_id": trigger,
        "trigger_title": f"mug {trigger}",
        "recall_id": recall,
        "recall_title": f"mug {recall}",
        "trigger_img": f"https://example.com/img/{trigger}.png?size=300",
        "recall_img": f"photos/{recall}.png",
        "label": label,
        **changes,
    }


def convert(folder: Path, *rows: Any, images: Path | None = None) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return convert_esspr(folder / "pairs.jsonl", folder / "out", images)


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(folder / "out" / f"{name}.parquet").to_pylist()


@pytest.mark.parametrize("form", ["lines", "list"])
def test_pairs_become_products_same_style_and_labelled_pairs(tmp_path: Path, form: str) -> None:
    rows = [pair(1, 2), pair("3", 1, 0), pair(2, 3, "1")]
    text = json.dumps(rows, indent=1) if form == "list" else "\n".join(map(json.dumps, rows))
    (tmp_path / "eval.json").write_text(text)
    converted = convert_esspr(tmp_path / "eval.json", tmp_path / "out")
    labelled = [(row["trigger_id"], row["recall_id"], row["label"]) for row in read(tmp_path, "labelled_pairs")]
    assert labelled == [(1, 2, 1), (3, 1, 0), (2, 3, 1)]
    assert read(tmp_path, "same_style") == [{"trigger_id": t, "recall_id": r, "label": 1} for t, r in ((1, 2), (2, 3))]
    assert read(tmp_path, "products") == [
        {"product_id": n, "title": f"mug {n}", "image": None, "category": "Home", "leaf_category": "Mugs"}
        for n in (1, 2, 3)
    ]
    assert converted.counts["same style"] == 2
    assert converted.skipped.rows == []


def test_photos_are_found_by_path_or_by_the_file_name_of_a_url(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "photos").mkdir(parents=True)
    (images / "1.png").write_bytes(b"one")
    (images / "photos" / "2.png").write_bytes(b"two")
    (tmp_path / "secret.png").write_bytes(b"secret")
    outside = str(tmp_path / "secret.png")
    converted = convert(
        tmp_path / "source",
        pair(1, 2),
        pair(3, 4, recall_img="../secret.png"),
        pair(5, 6, trigger_img=outside, recall_img=""),
        images=images,
    )
    found = {row["product_id"]: row["image"] for row in read(tmp_path / "source", "products")}
    assert found == {1: b"one", 2: b"two", 3: None, 4: None, 5: None, 6: None}
    assert (converted.counts["with a photo"], converted.counts["photos not found"]) == (2, 3)


def test_ids_that_are_not_numbers_get_stable_numbers_that_can_be_looked_up(tmp_path: Path) -> None:
    convert(tmp_path, pair("sku-a", "17"), pair("017", "sku-a"))
    ids = {row["source_id"]: row["product_id"] for row in read(tmp_path, "product_ids")}
    assert ids.keys() == {"sku-a", "17", "017"}
    assert ids["17"] == 17
    # From coreutils: printf sku-a | b2sum -l 64, shifted right by one bit.
    assert ids["sku-a"] == product_number("sku-a") == SKU_A
    assert len(set(ids.values())) == 3
    assert all(0 <= number < 2**63 for number in ids.values())
    [first, second] = read(tmp_path, "same_style")
    assert first["trigger_id"] == second["recall_id"] == ids["sku-a"]


def test_a_later_pair_fills_in_missing_details_of_a_product(tmp_path: Path) -> None:
    convert(tmp_path, pair(1, 2, trigger_title="", cate_name=None), pair(1, 3, trigger_title="late"), pair(1, 4))
    product = read(tmp_path, "products")[0]
    assert (product["title"], product["leaf_category"]) == ("late", "Mugs")


def test_rows_that_are_not_pairs_are_listed_and_the_others_converted(tmp_path: Path) -> None:
    bad = [
        pair(1, 1),
        pair(None, 2),
        pair(1, " "),
        pair(1, 2, None),
        pair(1, 2, 2),
        pair("\ud800", 2),
        ["no object"],
        {},
    ]
    text = "\n".join(["{broken", "", *map(json.dumps, [*bad, pair(8, 9, trigger_title="half \ud800")])])
    (tmp_path / "pairs.jsonl").write_text(text)
    convert_esspr(tmp_path / "pairs.jsonl", tmp_path / "out")
    assert [row["title"] for row in read(tmp_path, "products")] == ["half ?", "mug 9"]
    found = reasons(tmp_path / "out")
    assert [row for row, _ in found] == list(range(9))
    assert [reason.split(":")[0] for _, reason in found[:6]] == [
        "not JSON",
        "recall_id",
        "trigger_id",
        "recall_id",
        "label",
        "label",
    ]


def test_a_source_without_pairs_is_an_error_that_quotes_the_first_row(tmp_path: Path) -> None:
    message = r"no row is a pair in eSSPR's format; the first row: label: must be 0 or 1, got None"
    with pytest.raises(ValueError, match=message):
        convert(tmp_path, {"query": "mug"})
    (tmp_path / "list.json").write_text('[{"label": 1},')
    with pytest.raises(ValueError, match=r"list\.json: the JSON list cannot be read"):
        convert_esspr(tmp_path / "list.json", tmp_path / "out")


def write_plain(file: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table({"product_id": [1, 2], **columns}), file)
    return file


def test_a_catalogue_may_lack_titles_or_photos_but_not_both(tmp_path: Path) -> None:
    red = photo(COLOURS["red"])
    photos = load_catalog(write_plain(tmp_path / "photos.parquet", image=pa.array([red, None])), 8)
    assert (photos.titles, photos.has_image.tolist()) == (["", ""], [True, False])
    titles = load_catalog(write_plain(tmp_path / "titles.parquet", title=pa.array(["mug", None])), 8)
    assert (titles.titles, titles.has_image.tolist()) == (["mug", ""], [False, False])
    assert (titles.pixels == 255).all()
    with pytest.raises(ValueError, match=r"none\.parquet: needs a column title or image; it has \['product_id'\]"):
        load_catalog(write_plain(tmp_path / "none.parquet"), 8)


def test_photos_in_the_hub_s_struct_are_read_like_plain_bytes(tmp_path: Path) -> None:
    red = photo(COLOURS["red"])
    plain = load_catalog(write_plain(tmp_path / "plain.parquet", image=pa.array([red, None])), 8)
    struct = pa.array([{"bytes": red, "path": "1.jpg"}, {"bytes": None, "path": "2.jpg"}], HUB_IMAGE)
    hub = load_catalog(write_plain(tmp_path / "hub.parquet", image=struct), 8)
    assert np.array_equal(plain.pixels, hub.pixels)
    assert hub.has_image.tolist() == [True, False]


def test_photos_in_lists_are_read_and_paths_are_refused() -> None:
    assert photo_of([None, b"one", b"two"]) == photo_of([{"bytes": b"one", "path": "1.jpg"}]) == b"one"
    assert photo_of([]) is photo_of(None) is photo_of({"bytes": None, "path": "1.jpg"}) is None
    for path in ("1.jpg", ["1.jpg"]):
        with pytest.raises(ValueError, match=r"'image' has the text '1\.jpg': .* must hold the bytes of photos"):
            photo_of(path)
