"""Reading catalogues: rows that cannot be indexed are listed with a reason, the others are kept in order."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from shopwindow.base.skipped_rows import Skipped
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor
from shopwindow.retrieval.embedding.text import TextEncoder

SCHEMA = pa.schema(
    [
        ("product_id", pa.int64()),
        ("title", pa.string()),
        ("image", pa.binary()),
        ("price", pa.float64()),
        ("tags", pa.list_(pa.string())),
    ]
)


@pytest.fixture(scope="module")
def preprocess() -> ProductPreprocessor:
    tokenizer = Tokenizer(models.WordPiece({"[PAD]": 0, "[UNK]": 1, "red": 2, "mug": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return ProductPreprocessor(TextEncoder(tokenizer, 5), 8)


def photo(grey: int = 90) -> bytes:
    file = io.BytesIO()
    Image.new("L", (10, 10), grey).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, rows: Sequence[Any], schema: pa.Schema = SCHEMA) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "products.parquet")
    return folder / "products.parquet"


def read(file: Path, preprocess: ProductPreprocessor, size: int = 64) -> tuple[list[Any], Skipped]:
    skipped = Skipped()
    return list(Catalog(file).batches(preprocess, size, skipped)), skipped


ODD_ROWS: list[tuple[dict[str, Any], str | None]] = [
    ({"product_id": 10, "title": "red mug", "image": photo(), "price": 5.0}, None),
    ({"product_id": None, "title": "red mug", "image": photo()}, "product_id: is missing"),
    ({"product_id": -4, "title": "red mug", "image": photo()}, "product_id: must be a whole number from 0"),
    ({"product_id": 10, "title": "another mug", "image": photo()}, "product_id: appears twice"),
    ({"product_id": 11, "title": None, "image": None}, "title, image: at least one must be given"),
    ({"product_id": 12, "title": "  ", "image": b""}, "title, image: at least one must be given"),
    ({"product_id": 13, "title": "red mug", "image": b"no photo"}, "image: not a readable JPEG, PNG, WEBP image"),
    ({"product_id": 14, "title": None, "image": photo(20), "price": 7.0}, None),
    ({"product_id": 15, "title": "mug", "image": None}, None),
    ({"product_id": 16, "title": "x" * 2_000, "image": None}, "title: at most 1000 characters, got 2000"),
    ({"product_id": 13, "title": "mug", "image": None}, None),  # no repeat: the first 13 was not indexed
    ({"product_id": 0, "title": "mug", "image": None}, None),
]


@pytest.mark.parametrize("size", [1, 4, 64])
def test_odd_rows_are_kept_or_listed_with_their_row_number(
    tmp_path: Path, preprocess: ProductPreprocessor, size: int
) -> None:
    batches, skipped = read(write(tmp_path, [row for row, _ in ODD_ROWS]), preprocess, size)
    assert [int(product) for batch in batches for product in batch.product_ids] == [10, 14, 15, 13, 0]
    expected = [(number, row["product_id"], why) for number, (row, why) in enumerate(ODD_ROWS) if why]
    assert [(row, product) for row, product, _ in skipped.rows] == [(row, product) for row, product, _ in expected]
    for (_, _, reason), (_, _, why) in zip(skipped.rows, expected, strict=True):
        assert reason.startswith(why)
    assert sum(batch.rows for batch in batches) == len(ODD_ROWS)


def test_the_list_of_skipped_rows_is_a_csv(tmp_path: Path, preprocess: ProductPreprocessor) -> None:
    _, skipped = read(write(tmp_path, [row for row, _ in ODD_ROWS]), preprocess)
    rows = list(csv.DictReader(io.StringIO(skipped.to_csv())))
    assert [row["row"] for row in rows] == ["1", "2", "3", "4", "5", "6", "9"]
    assert [row["product_id"] for row in rows] == ["", "-4", "10", "11", "12", "13", "16"]
    assert rows[5]["reason"].startswith("image: not a readable JPEG, PNG, WEBP image")  # commas and all
    assert list(csv.reader(io.StringIO(Skipped().to_csv()))) == [["row", "product_id", "reason"]]


def test_kept_rows_reach_the_tower_and_the_attributes(tmp_path: Path, preprocess: ProductPreprocessor) -> None:
    (batch,), _ = read(write(tmp_path, [row for row, _ in ODD_ROWS]), preprocess)
    assert batch.product_ids.dtype == np.int64
    assert batch.batch.modality_mask.tolist() == [[1, 1], [0, 1], [1, 0], [1, 0], [1, 0]]
    assert batch.batch.title_ids[:3].tolist() == [[2, 3], [0, 0], [3, 0]]
    assert batch.batch.pixels[:3, 0, 0, 0].tolist() == [90, 20, 255]
    assert batch.attributes.column_names == ["title", "price", "tags"]
    assert batch.attributes["title"].to_pylist() == ["red mug", None, "mug", "mug", "mug"]
    assert batch.attributes["price"].to_pylist() == [5.0, 7.0, None, None, None]


def test_a_batch_with_only_skipped_rows_is_empty(tmp_path: Path, preprocess: ProductPreprocessor) -> None:
    batches, _ = read(write(tmp_path, [{"product_id": -1, "title": "mug"}]), preprocess)
    assert [(batch.rows, len(batch.product_ids), batch.batch) for batch in batches] == [(1, 0, None)]


def test_the_hugging_face_layout_of_an_image_is_read(tmp_path: Path, preprocess: ProductPreprocessor) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("product_id", pa.int64()), ("title", pa.string()), ("image", struct)])
    rows = [
        {"product_id": 1, "title": None, "image": {"bytes": photo(40), "path": "a.png"}},
        {"product_id": 2, "title": "mug", "image": None},
        {"product_id": 3, "title": None, "image": {"bytes": None, "path": "b.png"}},
        {"product_id": 4, "title": None, "image": {"bytes": photo(60), "path": None}},
    ]
    batches, skipped = read(write(tmp_path, rows, schema), preprocess, size=3)
    assert [batch.product_ids.tolist() for batch in batches] == [[1, 2], [4]]
    assert batches[0].batch.pixels[:, 0, 0, 0].tolist() == [40, 255]
    assert batches[1].batch.pixels[:, 0, 0, 0].tolist() == [60]
    assert [(row, product) for row, product, _ in skipped.rows] == [(2, 3)]


@pytest.mark.parametrize("column", ["title", "image"])
def test_one_of_title_and_image_is_enough(tmp_path: Path, preprocess: ProductPreprocessor, column: str) -> None:
    schema = pa.schema([SCHEMA.field("product_id"), SCHEMA.field(column)])
    value = {"title": "red mug", "image": photo()}[column]
    (batch,), skipped = read(write(tmp_path, [{"product_id": 1, column: value}], schema), preprocess)
    assert batch.batch.modality_mask.tolist() == [[float(column == "title"), float(column == "image")]]
    assert skipped.rows == []


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=["large string", "dictionary"]
)
def test_titles_may_be_stored_in_any_text_type(
    tmp_path: Path, preprocess: ProductPreprocessor, kind: pa.DataType
) -> None:
    schema = pa.schema([("product_id", pa.int32()), ("title", kind)])
    (batch,), _ = read(write(tmp_path, [{"product_id": 1, "title": "red mug"}], schema), preprocess)
    assert batch.batch.title_ids.tolist() == [[2, 3]]


def test_an_id_beyond_64_bits_signed_is_listed(tmp_path: Path, preprocess: ProductPreprocessor) -> None:
    schema = pa.schema([("product_id", pa.uint64()), ("title", pa.string())])
    rows = [{"product_id": 2**63, "title": "mug"}, {"product_id": 2**63 - 1, "title": "mug"}]
    (batch,), skipped = read(write(tmp_path, rows, schema), preprocess)
    assert batch.product_ids.tolist() == [2**63 - 1]
    assert [(row, product) for row, product, _ in skipped.rows] == [(0, 2**63)]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("title", pa.string()),
        ("colour", pa.large_string()),
        ("title", pa.dictionary(pa.int32(), pa.string())),
        ("colour", pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_only_the_row_with_text_that_is_not_utf8_is_skipped(
    tmp_path: Path, preprocess: ProductPreprocessor, column: str, kind: pa.DataType
) -> None:
    columns = {"title": ["red mug", "mug", "red"], "colour": ["red", None, "grün"]}
    table = pa.table({"product_id": [1, 2, 3], **columns})
    values = [value.encode() if value else None for value in columns[column]]
    values[1] = b"caf\xe9"  # Latin-1
    broken = pa.array(values, pa.binary()).view(pa.string())
    if kind == pa.large_string():
        broken = pa.array(values, pa.large_binary()).view(kind)
    elif pa.types.is_dictionary(kind):
        broken = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), broken)
    file = tmp_path / "products.parquet"
    pq.write_table(table.set_column(table.column_names.index(column), column, broken), file)
    (batch,), skipped = read(file, preprocess)
    assert batch.product_ids.tolist() == [1, 3]
    assert batch.attributes["title"].to_pylist() == ["red mug", "red"]
    assert batch.attributes["colour"].to_pylist() == ["red", "grün"]
    [(row, product, reason)] = skipped.rows
    assert (row, product) == (1, 2)
    assert "UTF-8" in reason


def test_columns_that_cannot_be_filtered_on_are_listed(tmp_path: Path) -> None:
    schema = SCHEMA.append(pa.field("opens", pa.time32("s"))).append(pa.field("parts", pa.struct([("a", pa.int8())])))
    assert Catalog(write(tmp_path, [{"product_id": 1, "title": "mug"}], schema)).unfilterable == ("opens", "parts")


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"sku": [1], "title": ["mug"]}, r"needs a column 'product_id'; it has \['sku', 'title'\]"),
        (
            {"product_id": [["1"]], "title": ["mug"]},
            "column 'product_id' of .* is list.*, and ids must be whole numbers or texts: write it as text",
        ),
        (
            {"product_id": [1.0], "title": ["mug"]},
            "column 'product_id' of .* is floating-point numbers, .* write it as int64",
        ),
        ({"product_id": [1], "name": ["mug"]}, "needs a column 'title' or 'image'; it has"),
        ({"product_id": [1], "title": [7]}, "column 'title' of .* must be text, got whole numbers"),
        ({"product_id": [1], "image": [7]}, "column 'image' of .* must hold photos: .*got whole numbers"),
        ({"product_id": [1], "image": [{"name": "1.jpg"}]}, "column 'image' of .* must hold photos: .*got objects"),
    ],
)
def test_a_catalogue_without_the_needed_columns_is_refused(tmp_path: Path, columns: dict, named: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "products.parquet")
    with pytest.raises(CatalogError, match=named):
        Catalog(tmp_path / "products.parquet")


@pytest.mark.parametrize("data", [None, b"", b"product_id,title\n1,mug\n"], ids=["missing", "empty", "csv"])
def test_a_file_that_is_not_parquet_is_named_in_the_error(tmp_path: Path, data: bytes | None) -> None:
    file = tmp_path / "products.parquet"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(CatalogError, match=r"catalog: cannot read .*products\.parquet as parquet"):
        Catalog(file)
