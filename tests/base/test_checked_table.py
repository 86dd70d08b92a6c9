"""Small parquet files: what is no such file, lacks a column or has broken text is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.base.checked_table import LABEL, PRODUCT, TEXT, Column, read_checked

COLUMNS = [Column("product_id", PRODUCT), Column("text", TEXT), Column("label", LABEL, needed=False)]


def refusal(file: Path) -> str:
    with pytest.raises(ValueError, match=r"^pairs: .*table") as refused:
        read_checked("pairs", file, COLUMNS)
    [line] = str(refused.value).splitlines()
    return line.removeprefix(f"pairs: {file}")


def test_what_is_no_parquet_file_is_refused_by_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "table"
    assert refusal(file) == " does not exist"
    file.mkdir()
    assert refusal(file) == " is a folder; give one parquet file"
    file.rmdir()
    file.touch()
    assert refusal(file).startswith(" is not a parquet file, it is empty; write it as parquet")
    file.write_text("product_id,text\n1,mug\n")
    assert refusal(file).startswith(" is not a parquet file, it begins with 'product_id,text'; write it as parquet")
    pq.write_table(pa.table({"product_id": [1], "text": ["mug"]}), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert refusal(file).startswith(" is damaged: ")


def test_missing_and_repeated_columns_and_no_rows_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "table"
    pq.write_table(pa.table({"Product_ID": [1], "text": ["mug"]}), file)
    missing = " has no column 'product_id' (whole numbers from 0 to 2^63 - 1, or texts); it has ['Product_ID', 'te"
    assert refusal(file).startswith(missing)
    columns = [pa.array([1]), pa.array(["mug"]), pa.array(["cup"])]
    twice = pa.Table.from_arrays(columns, names=["product_id", "text", "text"])
    pq.write_table(twice, file)
    assert refusal(file) == " has 2 columns 'text'; leave one of them"
    pq.write_table(twice.select([0, 1]).slice(0, 0), file)
    assert refusal(file) == " has no row"
    assert read_checked("pairs", file, COLUMNS, empty=True) == {"product_id": [], "text": []}


def test_text_that_is_not_utf8_is_refused_by_its_row(tmp_path: Path) -> None:
    file = tmp_path / "table"
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\3\0\0\0\5\0\0\0"), pa.py_buffer(b"mug\xff\xfe"))
    pq.write_table(pa.table({"product_id": [1, 2], "text": broken}), file)
    assert "column 'text' must hold texts, row 1 (from 0) has text that is not UTF-8; " in refusal(file)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_text_is_read_however_it_is_stored(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array(["mug", "cup"]).cast(kind)
    table = pa.table(
        {"product_id": pa.array([2**53 + 1, 2**63 - 1], pa.uint64()), "text": texts, "label": [True, False]}
    )
    pq.write_table(table, tmp_path / "table")
    assert read_checked("pairs", tmp_path / "table", COLUMNS) == {
        "product_id": [2**53 + 1, 2**63 - 1],
        "text": ["mug", "cup"],
        "label": [1, 0],
    }
