"""A catalogue is the same in every format, and where a value is in a file never decides its type."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.indexing.catalogue.files import catalog_files
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError

SCHEMA = pa.schema(
    [
        ("product_id", pa.int64()),
        ("title", pa.string()),
        ("brand", pa.string()),
        ("size", pa.int64()),
        ("supplier", pa.uint64()),
        ("price", pa.float64()),
        ("in_stock", pa.bool_()),
    ]
)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "product_id": st.integers(0, 2**63 - 1),
            "title": st.none() | TEXTS,
            "brand": st.none() | TEXTS | st.sampled_from(["007", "12E4", "1.50", "true", "null", "NA", '"', "a\r\nb"]),
            "size": st.none() | st.integers(-(2**63), 2**63 - 1),
            "supplier": st.none() | st.integers(0, 2**64 - 1),
            "price": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "in_stock": st.none() | st.booleans(),
        }
    ),
    max_size=30,
)
# A first row that leaves no doubt about the types, which parquet declares and text does not.
SURE = {"brand": "Nordvale", "size": -1, "supplier": 2**63, "price": 0.5, "in_stock": True}


def delimited(rows: list[dict[str, Any]], delimiter: str, quoting: Any, line_break: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(
        file, SCHEMA.names, delimiter=delimiter, quoting=quoting, lineterminator=line_break, strict=True
    )
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def json_lines(rows: list[dict[str, Any]], line_break: str = "\n") -> bytes:
    some = ({name: value for name, value in row.items() if value is not None or row["size"]} for row in rows)
    return line_break.join(json.dumps(row, ensure_ascii=bool(row.get("size"))) for row in some).encode()


def zst(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


# Python's writer does not quote a lone carriage return if lines end in a line feed, so that combination is left out.
FORMATS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "a.csv": lambda rows: delimited(rows, ",", csv.QUOTE_NONNUMERIC, "\n"),
    "b.csv": lambda rows: b"\xef\xbb\xbf" + delimited(rows, ",", csv.QUOTE_ALL, "\r\n"),
    "c.CSV": lambda rows: delimited(rows, ",", csv.QUOTE_MINIMAL, "\r\n").decode().encode("utf-16"),
    "d.csv.gz": lambda rows: gzip.compress(delimited(rows, ",", csv.QUOTE_NONNUMERIC, "\r\n")),
    "e.csv.zst": lambda rows: zst(delimited(rows, ",", csv.QUOTE_MINIMAL, "\r\n")),
    "f.tsv": lambda rows: delimited(rows, "\t", csv.QUOTE_ALL, "\n"),
    "g.tsv.gz": lambda rows: b"".join(gzip.compress(part) for part in halves(FORMATS["f.tsv"](rows))),
    "h.jsonl": json_lines,
    "i.ndjson.gz": lambda rows: gzip.compress(b"\xef\xbb\xbf" + json_lines(rows, "\r\n")),
    "j.json.zst": lambda rows: b"".join(zst(part) for part in halves(json_lines(rows, "\n\n"))),
}


def halves(data: bytes) -> list[bytes]:
    return [data[: len(data) // 2], data[len(data) // 2 :]]


def read(catalog: Catalog, size: int = 64, start: int = 0) -> list[dict[str, Any]]:
    found = []
    for rows in catalog.read(size, start):
        assert rows.start == start + len(found)
        assert not rows.refused
        assert len(rows.ids) <= size
        for product, title, about in zip(rows.ids, rows.titles, rows.attributes.to_pylist(), strict=True):
            assert (about["title"] or "") == title
            found.append({"product_id": product, **about})
    return found


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, size=st.integers(1, 9), data=st.data())
def test_a_catalogue_is_the_same_in_every_format(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], size: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("formats")
    rows = [{"product_id": 0, "title": "mug", **SURE}, *rows]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "products.parquet")
    expected = read(Catalog(folder / "products.parquet"))
    assert expected == rows
    for name, write in FORMATS.items():
        (folder / name).write_bytes(write(rows))
        catalog = Catalog(folder / name)
        assert catalog.rows == len(rows)
        assert read(catalog, size) == expected, name
        start = data.draw(st.integers(0, len(rows)))
        assert read(catalog, size, start) == expected[start:], name  # as an interrupted build goes on
        types = {field.name: field.type for field in catalog.schema}
        assert types == {f.name: f.type for f in Catalog(folder / "products.parquet").schema}, name
    together = Catalog([folder / "products.parquet", *(folder / name for name in FORMATS)])
    assert read(together) == expected * (1 + len(FORMATS))


def write(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(lines))
    return file


@pytest.mark.parametrize(
    ("values", "kind", "read_as"),
    [
        (["5", "-7", ""], pa.int64(), [5, -7, None]),
        (["5", "5.25", "1e+16", "1.5E3"], pa.float64(), [5.0, 5.25, 1e16, 1500.0]),
        (["5", "18446744073709551615"], pa.uint64(), [5, 2**64 - 1]),
        (["-5", "18446744073709551615"], pa.large_string(), ["-5", "18446744073709551615"]),
        (["5", "118446744073709551615"], pa.large_string(), ["5", "118446744073709551615"]),
        (["0.5", "18446744073709551615"], pa.large_string(), ["0.5", "18446744073709551615"]),
        (["5", "007"], pa.large_string(), ["5", "007"]),
        (["1200", "12E4"], pa.large_string(), ["1200", "12E4"]),
        (["+5", "5"], pa.large_string(), ["+5", "5"]),
        (["1,5", "2"], pa.large_string(), ["1,5", "2"]),
        (["nan", "2"], pa.large_string(), ["nan", "2"]),
        (["5 ", "2"], pa.large_string(), ["5 ", "2"]),
        (["True", "FALSE", "true", ""], pa.bool_(), [True, False, True, None]),
        (["true", "yes"], pa.large_string(), ["true", "yes"]),
        (["2024-01-02", ""], pa.large_string(), ["2024-01-02", None]),
    ],
    ids=str,
)
@pytest.mark.parametrize("far", [False, True])
def test_the_whole_column_decides_its_type(
    tmp_path: Path, values: list[str], kind: pa.DataType, read_as: list[Any], far: bool
) -> None:
    """`far`: the values are thousands of rows apart, and so in different batches."""
    first, *others = [[value] * (5_000 if far else 1) for value in values]
    column = [*first, *(value for each in others for value in each)]
    lines = [f'{row},mug,"{value}"' for row, value in enumerate(column)]
    catalog = Catalog(write(tmp_path / "a.csv", "product_id,title,value", *lines))
    assert catalog.schema.field("value").type == kind
    found = [row["value"] for row in read(catalog, 4_096)]
    assert found[:: 5_000 if far else 1] == read_as


def test_other_files_say_the_type_of_a_column_of_text(tmp_path: Path) -> None:
    columns = {"code": ["007"], "price": pa.array([Decimal("1.50")], pa.decimal128(9, 2)), "w": pa.array([0.5], "f4")}
    pq.write_table(pa.table({"product_id": [1], "title": ["mug"], **columns}), tmp_path / "1.parquet")
    one = write(tmp_path / "2.csv", "product_id,title,code,price,w", "2,mug,12,19.99,1")
    two = write(tmp_path / "3.jsonl", '{"product_id": 3, "title": "mug", "code": "13", "price": 5, "w": 2.5}')
    found = read(Catalog([tmp_path / "1.parquet", one, two]))
    assert [row["code"] for row in found] == ["007", "12", "13"]
    assert [row["price"] for row in found] == [Decimal("1.50"), Decimal("19.99"), Decimal("5.00")]
    assert [row["w"] for row in found] == [0.5, 1.0, 2.5]
    wrong = write(tmp_path / "4.csv", "product_id,title,price", "4,mug,1", "5,mug,dear")
    with pytest.raises(CatalogError, match=r"'price' is decimal.* in .*1\.parquet, and row 1 of .*4\.csv has 'dear'"):
        Catalog([tmp_path / "1.parquet", wrong])
    long = write(tmp_path / "5.csv", "product_id,title,price", "4,mug,1", "5,mug,1.12345")
    with pytest.raises(CatalogError, match=r"'price' of .*5\.csv should be decimal.*, and row 1 has '1\.12345'"):
        read(Catalog([tmp_path / "1.parquet", long]))


def test_files_of_text_decide_together(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "1.csv", "product_id,title,size,price", "1,mug,38,"),
        write(tmp_path / "2.csv", "product_id,title,size,price", "2,mug,M,20"),
        write(tmp_path / "3.jsonl", '{"product_id": 3, "title": "mug", "price": 19.99, "parts": {"a": 1}}'),
    ]
    catalog = Catalog(files)
    assert [(row["size"], row["price"]) for row in read(catalog)] == [("38", None), ("M", 20.0), (None, 19.99)]
    assert catalog.unfilterable == ("parts",)
    mixed = write(tmp_path / "4.jsonl", '{"product_id": 4, "title": "mug", "size": 40}')
    with pytest.raises(
        CatalogError, match=r"'size' has no single type: row 0 of .*4\.jsonl has '40', .*2\.csv has 'M'"
    ):
        Catalog([*files, mixed])


def test_a_column_without_a_name_is_the_row_number_of_pandas(tmp_path: Path) -> None:
    catalog = Catalog(write(tmp_path / "a.csv", ",product_id,title", "0,7,mug", "1,8,mug"))
    assert catalog.schema.names == ["title"]
    assert [row["product_id"] for row in read(catalog)] == [7, 8]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_only_the_row_with_broken_text_is_refused(tmp_path: Path, name: str) -> None:
    lines = {
        "a.csv": [b"product_id,title", b"1,caf\xe9", "2,café".encode()],
        "a.jsonl": [b'{"product_id": 1, "title": "caf\xe9"}', rb'{"product_id": 2, "title": "caf\u00e9"}'],
    }[name]
    (tmp_path / name).write_bytes(b"\n".join(lines))
    (rows,) = Catalog(tmp_path / name).read(9)
    assert list(rows.refused) == [0]
    assert rows.refused[0] == "title: text that is not UTF-8; write the file as UTF-8"
    assert rows.titles[1] == "café"


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", ","), ("a.csv", "|")])
def test_the_line_of_names_tells_the_separator(tmp_path: Path, name: str, mark: str) -> None:
    lines = ["product_id{}title{}weight", '1{}"a{} b"{}1,5', "2{}mug{}"]
    lines = [line.replace("{}", mark) for line in lines]
    (rows,) = Catalog(write(tmp_path / name, "\n".join(lines).replace("1,5", '"1,5"'))).read(9)
    assert (rows.ids, rows.titles) == ([1, 2], [f"a{mark} b", "mug"])
    assert rows.attributes["weight"].to_pylist() == ["1,5", None]


def test_half_a_character_in_json_is_broken_text(tmp_path: Path) -> None:
    """As when a writer cuts a text in the middle of an emoji."""
    (rows,) = Catalog(write(tmp_path / "a.jsonl", r'{"product_id": 1, "title": "mug \ud83d"}')).read(9)
    assert "UTF-8" in rows.refused[0]


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("a.csv", b'product_id,title\n1,"mug\n2,mug\n', "as CSV: line 3: unexpected end of data"),
        ("a.tsv", b'product_id\ttitle\n1\t"Best" mug\n', r"as TSV: line 2: '\t' expected after '\"'"),
        ("a.csv", b"product_id,title\n1,mug\n2,a,b\n", "as CSV: line 3 has 3 fields, the first line has 2"),
        ("a.csv", b"product_id;title\n1;mug\n2,cup\n", "as CSV: line 3 has 1 fields, the first line has 2"),
        ("a.csv", b"product_id,title,gr\xf6sse\n1,mug,5\n", r"'gr\\udcf6sse' .* not UTF-8; write the file as UTF-8"),
        ("a.csv", b"product_id,title,a,a\n1,mug,5,5\n", "several columns 'a'"),
        ("a.csv", b"", "needs a column 'product_id'"),
        (
            "a.csv",
            b"product_id,title\n1,a\n2.0,b\n",
            r"is floating-point numbers \('2\.0' in row 1\), .* write it as int64",
        ),
        (
            "a.jsonl",
            b'{"product_id": 1, "image": 7}',
            r"'image' of .* must hold photos: .* got whole numbers \('7' in row 0\)",
        ),
        (
            "a.csv.gz",
            gzip.compress(b"product_id,title\n" + b"1,mug\n" * 999, mtime=0)[:-9],
            "as CSV: Compressed file ended",
        ),
        ("a.csv.zst", zst(b"product_id,title\n" + b"1,mug\n" * 999)[:-4], "as CSV: Truncated compressed stream"),
        ("a.csv.gz", b"product_id,title\n1,mug\n", "as CSV: Not a gzipped file"),
        ("a.jsonl", b'{"product_id": 1}\n{"product_id": ', "as JSON lines: line 2: Expecting value"),
        ("a.json", b'[{"product_id": 1, "title": "mug"}]', "line 1: every line must be an object, got "),
        ("a.jsonl", b'{"product_id": 1, "a": 1, "a": 2}', "line 1: the name 'a' appears twice"),
        (
            "a.jsonl",
            b'{"product_id": 1, "title": 7}',
            r"'title' of .* must be text, got whole numbers \('7' in row 0\)",
        ),
        (
            "a.jsonl",
            b'{"product_id": "1", "title": "mug"}\n{"product_id": 2}',
            r"is values of several kinds \('1' in row 0\), and ids must be whole num",
        ),
        (
            "a.jsonl",
            b'{"product_id": 1, "title": "mug", "size": "M"}\n{"product_id": 2, "size": 38}',
            "column 'size' has no single type: row 1 of .* has '38', row 0 of .* has 'M'",
        ),
        (
            "a.jsonl",
            b'{"product_id": 1, "title": "a", "n": 18446744073709551615}\n{"product_id": 2, "n": -1}',
            r"'n' has no single type: row 0 of .* has '18446744073709551615', row 1 of .* has '-1'; a column holds "
            r"numbers from -2\^63 to 2\^63 - 1, or whole numbers from 0 to 2\^64 - 1: write all its values as text",
        ),
        ("a.XLSX", b"PK\x03\x04", r"is a spreadsheet, which is not read: save it as CSV \(UTF-8\), and give that file"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(tmp_path: Path, name: str, data: bytes, named: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CatalogError, match=named) as caught:
        Catalog(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_searched_for_every_format(tmp_path: Path) -> None:
    for name in ("a.csv", "b.tsv.gz", "c.jsonl.zst", "d.ndjson", "e.parquet", "notes.txt", "about.json", ".f.csv"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "colour=red").mkdir()
    write(tmp_path / "colour=red" / "g.csv", "product_id,title", "1,mug")
    names = [file.name for file in catalog_files([tmp_path])]
    assert names == ["a.csv", "b.tsv.gz", "c.jsonl.zst", "g.csv", "d.ndjson", "e.parquet"]
    assert read(Catalog(tmp_path / "colour=red")) == [{"product_id": 1, "title": "mug", "colour": "red"}]


def test_a_file_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    catalog = Catalog(write(tmp_path / "a.csv", "product_id,title", "1,mug", "2,mug"))
    write(tmp_path / "a.csv", "product_id,title", "1,mug")
    with pytest.raises(CatalogError, match=r"a\.csv changed while it was read: it lacks row 1"):
        read(catalog)
