"""A catalogue indexes to the same products, attributes and answers in every format, with photos from every source and
ids of every kind, read as `shopwindow inspect` proposes."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.full_build.run import build_index
from shopwindow.indexing.inspection.raw import accepted, propose_more, raw_columns
from shopwindow.retrieval import InProcessPipeline, open_index, parse_parameters
from shopwindow.retrieval.index.folder import read_index

ENDINGS = ("parquet", "csv", "tsv.gz", "jsonl", "jsonl.zst")
SOURCES = ("bytes", "struct", "path", "base64", "data URL")
SIZES = ("S", "M", "L")


def photo(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (24, 24), colour).save(file, "PNG")
    return file.getvalue()


PHOTOS = [photo("red"), photo("teal"), None]
PRODUCTS = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.integers(0, 2**63 - 1),
            "name": st.sampled_from(["red mug", "blue café cup", '3" pipe, "fine"', "women's dress", "茶 pot"]),
            "price": st.integers(100, 999_999).map(lambda cents: cents / 100),
            "sizes": st.lists(st.sampled_from(SIZES), unique=True, max_size=3),
            "made": st.dates(),
            "photo": st.sampled_from(PHOTOS),
        }
    ),
    min_size=3,
    max_size=6,
    unique_by=lambda product: product["number"],
)


def source_of(image: bytes | None, source: str, folder: Path) -> Any:
    """Return a photo as a value of the catalogue."""
    if image is None or source == "bytes":
        return image
    if source == "struct":
        return {"bytes": image, "path": "lost.png"}
    text = base64.b64encode(image).decode()
    name = f"photos/{PHOTOS.index(image)}.png"
    (folder / name).write_bytes(image)
    return {"path": name, "base64": text, "data URL": f"data:image/png;base64,{text}"}[source]


def write(folder: Path, products: list[dict[str, Any]], ending: str, source: str, texts: bool) -> Path:
    """Write products as shops have them: names of their own; amounts and dates as text where files have no types."""
    typed = ending == "parquet"
    (folder / "photos").mkdir()
    rows = []
    for product in products:
        image = source_of(product["photo"], source, folder)
        listed: Any = product["sizes"] if ending != "csv" and "tsv" not in ending else "|".join(product["sizes"])
        row = {
            "sku": f"sku-{product['number']}" if texts else product["number"],
            "name": product["name"],
            "sizes": listed,
        }
        row["price"] = product["price"] if typed else f"₹{product['price']:,.2f}"
        row["made"] = product["made"] if typed else product["made"].isoformat()
        rows.append({**row, "photo": image})
    file = folder / f"shop.{ending}"
    if typed:
        pq.write_table(pa.Table.from_pylist(rows), file)
        return file
    text = io.StringIO()
    if "json" in ending:
        text.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        writer = csv.DictWriter(text, rows[0], delimiter="," if ending == "csv" else "\t")
        writer.writeheader()
        writer.writerows(rows)
    data = text.getvalue().encode()
    if ending.endswith(".zst"):
        with pa.CompressedOutputStream(str(file), "zstd") as packed:
            packed.write(data)
    else:
        file.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    return file


@pytest.mark.exported
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PRODUCTS, st.sampled_from(ENDINGS), st.sampled_from(SOURCES), st.booleans())
def test_every_form_of_a_catalogue_gives_the_same_index(
    repository: Path,
    pipeline: InProcessPipeline,
    products: list[dict[str, Any]],
    ending: str,
    source: str,
    texts: bool,
) -> None:
    if ending != "parquet" and source in ("bytes", "struct"):
        source = "path"
    # A column that is empty in all rows, or has one value in all lists, shows no type to propose.
    products = [*products, {**products[0], "number": 5, "sizes": ["S", "M"], "photo": PHOTOS[0]}]
    products = list({product["number"]: product for product in products}.values())
    with tempfile.TemporaryDirectory() as place:
        file = write(Path(place), products, ending, source, texts)
        reading = accepted(propose_more(raw_columns([file]), CatalogOptions()), CatalogOptions())
        build_index(file, repository, Path(place) / "index", reading=reading, progress=False)
        folder = read_index(Path(place) / "index")
        expected = [
            xxhash.xxh3_64_intdigest(f"sku-{p['number']}".encode()) >> 1 if texts else p["number"] for p in products
        ]
        assert folder.product_ids.tolist() == expected
        kept = ["title", "price", "sizes", "made"]
        assert folder.attributes.select(kept).to_pylist() == [
            {"title": p["name"], "price": p["price"], "sizes": p["sizes"] or None, "made": p["made"]} for p in products
        ] or folder.attributes.select(kept).to_pylist() == [
            {"title": p["name"], "price": p["price"], "sizes": p["sizes"], "made": p["made"]} for p in products
        ]
        vectors, _ = pipeline.embed_product([p["name"] for p in products], [p["photo"] or b"" for p in products])
        assert np.allclose(folder.vectors, vectors, atol=1e-5)
        asked = {"sizes": {"contains_all": ["S", "M"]}, "price": {"gte": 1}}
        (found,) = open_index(Path(place) / "index").search_batch(
            [(vectors[:1], parse_parameters({"top_k": len(products), "filter": json.dumps(asked)}))]
        )
        right = {n for n, p in zip(expected, products, strict=True) if {"S", "M"} <= {*p["sizes"]}}
        assert {*found.product_ids[0].tolist()} - {-1} == right
        if texts:
            keys = pa.ipc.open_file(str(Path(place) / "index" / "generations" / "000001" / "product_keys.arrow"))
            assert keys.read_all().column(0).to_pylist() == [f"sku-{p['number']}" for p in products]
