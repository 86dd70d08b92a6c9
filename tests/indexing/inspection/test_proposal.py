"""What `shopwindow inspect` proposes for the names and values that shops have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.inspection.raw import propose_more, raw_columns


def proposed(folder: Path, rows: list[dict[str, Any]], given: CatalogOptions | None = None) -> list[str]:
    file = folder / "shop.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return propose_more(raw_columns([file]), given or CatalogOptions()).options


@pytest.mark.parametrize(
    "names, mapping",
    [
        (("product_id", "title", "image"), None),
        (("sku", "name", "photo_path"), "product_id=sku,title=name,image=photo_path"),
        (("id", "product_name", "image_url"), "product_id=id,title=product_name,image=image_url"),
        (("Product ID", "Product Name", "Image Src"), "product_id=Product ID,title=Product Name,image=Image Src"),
        (("parent_asin", "title", "images"), "product_id=parent_asin,image=images"),
        (("article_id", "label", "thumbnail"), "product_id=article_id,title=label"),
        (("number", "words", "colour"), None),
        (("Artikel-Nr.", "Bezeichnung", "Bild_URL"), "product_id=Artikel-Nr.,title=Bezeichnung,image=Bild_URL"),
        (("Bestellnummer", "Produkttitel", "Hauptbild"), "product_id=Bestellnummer,title=Produkttitel,image=Hauptbild"),
        (("商品编号", "商品名称", "商品图片"), "product_id=商品编号,title=商品名称,image=商品图片"),
        (("货号", "标题", "主图链接"), "product_id=货号,title=标题,image=主图链接"),
        (("貨號", "商品名稱", "圖片網址"), "product_id=貨號,title=商品名稱,image=圖片網址"),
    ],
)
def test_well_known_names(tmp_path: Path, names: tuple[str, str, str], mapping: str | None) -> None:
    rows = [dict(zip(names, (place, f"red mug {place}", f"{place}.jpg"), strict=True)) for place in range(9)]
    assert proposed(tmp_path, rows) == ([] if mapping is None else ["--map", mapping])


def test_the_most_telling_name_counts_and_an_id_must_tell_products_apart(tmp_path: Path) -> None:
    rows = [{"id": 1, "sku": f"A-{place}", "label": "x", "name": "red mug"} for place in range(9)]
    assert proposed(tmp_path, rows) == ["--map", "product_id=sku,title=name"]
    rows = [{**row, "id": place, "sku": "same"} for place, row in enumerate(rows)]
    assert proposed(tmp_path, rows) == ["--map", "product_id=id,title=name"]
    given = CatalogOptions(columns={"title": ("label", "name")})
    assert proposed(tmp_path, rows, given) == ["--map", "product_id=id"]


def test_several_columns_of_photos(tmp_path: Path) -> None:
    rows = [{"product_id": n, "title": "mug", "photo1": "a.jpg", "photo2": "b.jpg", "image_url": "c"} for n in range(9)]
    assert proposed(tmp_path, rows) == ["--map", "image=photo1+photo2"]


@pytest.mark.parametrize(
    "values, options",
    [
        (["₹1,299.00", "₹749.00", "₹12,499.50"], ["--number", "it"]),
        (["1.299,00 €", "15 €", "7,50 €"], ["--number", "it"]),
        (["￥1,299.00", "￥749"], ["--number", "it"]),
        (["1299元", "12.50元"], ["--number", "it"]),
        (["USD 1,000", "USD 15", "Rs. 20"], ["--number", "it"]),
        (["0049 171 5550", "0171 5550"], []),
        (["12345", "00017"], []),
        (["12,5 cm", "350 ml"], []),
        (["EU 38", "EU 39"], []),
        (["S|M|L", "M", "XL|L"], ["--list", "it=|"]),
        (["mugs;kitchen", "dresses"], ["--list", "it=;"]),
        (["A long sentence about a red mug that nobody would call a tag; it goes on and on"], []),
        (["2026-11-30", "2025-01-02"], ["--date", "it"]),
        (["2026-11-30T10:00:00Z", "2025-01-02 10:00:00+05:30"], ["--date", "it"]),
        (["red", "blue"], []),
    ],
)
def test_values_that_are_more_than_text(tmp_path: Path, values: list[str], options: list[str]) -> None:
    assert proposed(tmp_path, [{"product_id": n, "title": "mug", "it": v} for n, v in enumerate(values)]) == options
