"""Parquet as different writers make it: the same products, whatever types and folders hold them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.catalogue.reading import Catalog, CatalogRows
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.inspection.raw import raw_columns
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.filter_reading import parse_filter
from shopwindow.retrieval.request.filter_rows import filter_mask

TITLES = ["red mug", None, "grüne Tasse"]
BRANDS = ["Nordvale", "Kesto", None]
IDS = pa.array([1, 2, 3], pa.int64())
TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.uint32(), pa.large_string()),
]


def write(file: Path, **columns: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


def rows_of(catalog: Catalog, size: int = 2) -> list[dict[str, Any]]:
    """Ids with attributes, read twice, because a resumed build relies on the order."""
    first, again = (
        [
            {"product_id": product, **about}
            for rows in catalog.read(size)
            for product, about in zip(rows.ids, rows.attributes.to_pylist(), strict=True)
        ]
        for _ in range(2)
    )
    assert first == again
    return first


def only(catalog: Catalog) -> CatalogRows:
    (rows,) = catalog.read(64)
    return rows


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_text_of_every_type_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    columns = {"title": pa.array(TITLES).cast(kind), "brand": pa.array(BRANDS).cast(kind)}
    catalog = Catalog(write(tmp_path / "a.parquet", product_id=IDS, **columns))
    assert only(catalog).titles == ["red mug", "", "grüne Tasse"]
    assert [row["brand"] for row in rows_of(catalog)] == BRANDS
    table = AttributeTable(only(catalog).attributes)
    assert filter_mask(parse_filter({"brand": "Kesto"}), table).tolist() == [False, True, False]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
@pytest.mark.parametrize("struct", [False, True])
def test_photos_of_every_binary_type_are_read(tmp_path: Path, kind: pa.DataType, struct: bool) -> None:
    photos = pa.array([b"\xff\xd8 one", None, b"\xff\xd8 three"]).cast(kind)
    column = pa.StructArray.from_arrays([photos], names=["bytes"]) if struct else photos
    rows = only(Catalog(write(tmp_path / "a.parquet", product_id=IDS, image=column)))
    assert rows.images == [b"\xff\xd8 one", b"", b"\xff\xd8 three"]
    assert not rows.refused


def test_files_may_hold_the_same_text_in_different_types(tmp_path: Path) -> None:
    files = [
        write(tmp_path / f"{number}.parquet", product_id=IDS, title=pa.array(TITLES).cast(kind))
        for number, kind in enumerate(TEXT_TYPES)
    ]
    files.append(write(tmp_path / "9.parquet", product_id=IDS, title=pa.nulls(3)))
    assert [row["title"] for row in rows_of(Catalog(files))] == TITLES * len(TEXT_TYPES) + [None] * 3


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.uint64(), [2**63 + 1, None, 2**53 + 1]),
        (pa.float16(), [np.float16(19.99), None, np.float16(2)]),
        (pa.decimal32(5, 2), [Decimal("19.99"), None, Decimal("-0.07")]),
        (pa.decimal64(12, 2), [Decimal("19.99"), None, Decimal("-0.07")]),
        (pa.decimal256(60, 2), [Decimal("19.99"), None, Decimal("-0.07")]),
        (pa.decimal128(38, 0), [Decimal(2**63 + 1), None, Decimal(2**53 + 1)]),
    ],
    ids=str,
)
def test_numbers_of_every_type_find_their_product(tmp_path: Path, kind: pa.DataType, values: list[Any]) -> None:
    catalog = Catalog(write(tmp_path / "a.parquet", product_id=IDS, title=TITLES, number=pa.array(values, kind)))
    table = AttributeTable(only(catalog).attributes)
    assert [row["number"] for row in rows_of(catalog)] == values
    asked = [19.99 if kind == pa.float16() else int(values[0]) if values[0] == int(values[0]) else float(values[0])]
    assert filter_mask(parse_filter({"number": {"in": asked}}), table).tolist() == [True, False, False]


def test_an_id_may_be_a_decimal_without_fraction(tmp_path: Path) -> None:
    ids = pa.array([Decimal(2**53 + 1), None, Decimal(10**30)], pa.decimal128(38, 0))
    rows = only(Catalog(write(tmp_path / "a.parquet", product_id=ids, title=TITLES)))
    assert rows.ids == [2**53 + 1, None, 10**30]
    assert list(rows.refused) == [1, 2]


def test_folders_hold_columns_as_hive_writes_them(tmp_path: Path) -> None:
    """A value of all folders decides the type: `size` is text because of one value, `year` is a whole number."""
    shop, rows = tmp_path / "shop", {"product_id": [1], "title": ["mug"]}
    write(shop / "colour=red" / "year=2024" / "size=38" / "a.parquet", **rows)
    write(shop / "colour=sky%20blue" / "year=2025" / "size=M" / "a.parquet", **rows)
    write(shop / "colour=__HIVE_DEFAULT_PARTITION__" / "year=2023" / "size=40" / "a.parquet", **rows)
    expected = {("red", 2024, "38"), ("sky blue", 2025, "M"), (None, 2023, "40")}
    for given in (shop, tmp_path / "*" / "*" / "*" / "*" / "*.parquet", tmp_path / "**" / "*.parquet"):
        catalog = Catalog(given)
        assert {(row["colour"], row["year"], row["size"]) for row in rows_of(catalog)} == expected
        assert catalog.schema.field("year").type == pa.int64()
    (row,) = rows_of(Catalog(shop / "colour=red" / "year=2024" / "size=38" / "a.parquet"))
    assert (row["colour"], row["year"], row["size"]) == ("red", 2024, 38)


def test_a_column_in_the_file_counts_more_than_one_in_its_path(tmp_path: Path) -> None:
    write(tmp_path / "price=5" / "a.parquet", product_id=[1], title=["mug"], price=[5.25])
    write(tmp_path / "price=6" / "a.parquet", product_id=[2], title=["mug"])
    assert [row["price"] for row in rows_of(Catalog(tmp_path))] == [5.25, 6.0]
    write(tmp_path / "price=cheap" / "a.parquet", product_id=[3], title=["mug"])
    with pytest.raises(
        CatalogError, match=r"'price' is floating-point numbers in .*, and row 0 of .*price=cheap.* has 'cheap'"
    ):
        Catalog(tmp_path)


def test_hidden_names_are_left_out_of_folders_and_patterns(tmp_path: Path) -> None:
    seen = write(tmp_path / "shop" / "a.parquet", product_id=IDS, title=TITLES)
    hidden = [
        write(tmp_path / "shop" / "_delta_log" / "b.parquet", product_id=IDS, title=TITLES),
        write(tmp_path / "shop" / ".cache" / "b.parquet", product_id=IDS, title=TITLES),
        write(tmp_path / "shop" / "_b.parquet", product_id=IDS, title=TITLES),
        tmp_path / "shop" / "._a.parquet",
        tmp_path / "shop" / "_SUCCESS",
    ]
    for file in hidden[3:]:
        file.write_bytes(b"no parquet")
    for given in ("shop", "shop/*.parquet", "shop/*", "**/*.parquet", "shop/[_a]*.parquet"):
        assert Catalog(tmp_path / given).files == [seen], given
    assert Catalog(tmp_path / "shop" / "_*.parquet").files == [hidden[2]]
    assert Catalog(tmp_path / "shop" / "_delta_log").files == [hidden[0]]
    assert Catalog(tmp_path / "shop" / "_delta_log" / "*.parquet").files == [hidden[0]]
    assert Catalog(hidden[2]).files == [hidden[2]]


def test_a_name_that_two_columns_have_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([IDS, pa.array(TITLES), IDS, IDS], names=["product_id", "title", "price", "price"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(CatalogError, match=r"a\.parquet has several columns 'price'; give each a name of its own"):
        Catalog(tmp_path / "a.parquet")


def test_the_row_numbers_of_pandas_are_no_attribute(tmp_path: Path) -> None:
    columns = {"product_id": IDS, "title": TITLES, "__index_level_0__": [5, 6, 7]}
    catalog = Catalog(write(tmp_path / "a.parquet", **columns))
    assert catalog.schema.names == ["title"]
    assert catalog.unfilterable == ()


def test_columns_that_no_filter_can_name_may_differ_between_files(tmp_path: Path) -> None:
    made = pa.array([None, 5, 6], pa.time32("ms"))
    one = write(tmp_path / "1.parquet", product_id=IDS, title=TITLES, made=made)
    two = write(tmp_path / "2.parquet", product_id=IDS, title=TITLES, made=made.cast(pa.time64("us")))
    assert Catalog([one, two]).unfilterable == ("made",)
    text = write(tmp_path / "3.parquet", product_id=IDS, title=TITLES, made=["a", "b", "c"])
    with pytest.raises(CatalogError, match=r"'made' is times of day in .*1\.parquet and text in .*3\.parquet"):
        Catalog([one, text])


@pytest.mark.parametrize(
    "moments",
    [
        pa.array([0, None, 2_932_896, 2_932_897], pa.date32()),  # 9999-12-31, and the day after
        pa.array([0, None, -719_162, -719_163], pa.date32()),  # 0001-01-01, and the day before
        pa.array([0, None, 1, 2**60], pa.timestamp("us")),
        pa.array([0, None, 1, 2**60], pa.timestamp("ms", "Asia/Shanghai")),  # overflows in microseconds
    ],
)
def test_dates_beyond_the_calendar_are_refused_by_row(tmp_path: Path, moments: pa.Array) -> None:
    titles = pa.array(["a", "b", "c", "d"])
    good = write(tmp_path / "a.parquet", product_id=[1, 2, 3], title=titles[:3], made=moments[:3])
    bad = write(tmp_path / "b.parquet", product_id=[5, 6, 7, 8], title=titles, made=moments)
    assert len(rows_of(Catalog([good]))) == 3
    with pytest.raises(CatalogError, match=r"column 'made' of .*b\.parquet: row 3 has -?\d+ .* write null"):
        rows_of(Catalog([good, bad]))
    with pytest.raises(CatalogError, match=r"column 'made' of .*b\.parquet: row 3 has -?\d+"):
        raw_columns([bad])


def test_fixed_size_lists_without_values_are_refused_with_a_remedy(tmp_path: Path) -> None:
    sizes = pa.array([[1, 2], None], pa.list_(pa.int64(), 2))
    with pytest.raises(CatalogError, match=r"a\.parquet .*\['sizes'\].* write them as usual lists"):
        rows_of(Catalog([write(tmp_path / "a.parquet", product_id=[1, 2], title=["a", "b"], sizes=sizes)]))


def test_inspect_reads_columns_and_folders_without_any_value(tmp_path: Path) -> None:
    write(tmp_path / "colour=__HIVE_DEFAULT_PARTITION__" / "a.parquet", product_id=[1], title=["mug"])
    (tmp_path / "b.csv").write_text("product_id,title,price\n2,,\n3,,\n", encoding="utf-8")
    raw = raw_columns([tmp_path])
    assert pa.types.is_null(raw.types["price"]) and pa.types.is_null(raw.types["colour"])
    assert raw.sample["title"] == ["mug"]
