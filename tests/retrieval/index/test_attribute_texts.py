"""Attributes as JSON: every type comes back as the shop has it, and a file that holds something else is refused."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.index import attribute_texts
from shopwindow.retrieval.index.attribute_texts import read_texts, rows_as_json, write_texts, writing_texts
from shopwindow.retrieval.opening import open_index
from tests.retrieval.index_parts import attribute_rows, make_index, write_folder

NAN, ZONE = float("nan"), timezone(timedelta(hours=2))
TITLES = [
    *('24" monitor', "back\\slash", "two\nlines\tand \x00\x1f", "größe 🧥 \U0001f469\u200d\U0001f680"),
    *("", "</script> 'it'\u2028\x7f", "plain"),
]
EXACT = [Decimal("1234567890123456789.0000000001"), Decimal("1E-10"), Decimal(-7)]
MOMENTS = [datetime(2024, 1, 31, 12, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 5, tzinfo=UTC)]
# Type, values, and what JSON has for them where that is something else. Every column also has a missing value.
COLUMNS: dict[str, tuple[pa.DataType, list[Any], list[Any] | None]] = {
    "title": (pa.string(), TITLES, None),
    "large": (pa.large_string(), TITLES, None),
    "words": (pa.dictionary(pa.int8(), pa.string()), ["red", 'a "b"', "red"], None),
    "photo": (pa.large_binary(), ["ü.jpg".encode(), b""], ["ü.jpg", ""]),
    "double": (
        pa.float64(),
        [19.99, -0.5, 1e300, 5e-324, 2.0, NAN, np.inf],
        [19.99, -0.5, 1e300, 5e-324, 2, None, None],
    ),
    "single": (pa.float32(), [19.99, 16777216.0, -np.inf], [19.99, 16777216, None]),
    "half": (pa.float16(), [np.float16(19.98), np.float16(0.1), np.float16(NAN)], [19.98, 0.1, None]),
    "unsigned": (pa.uint64(), [2**64 - 1, 0], None),
    "whole": (pa.int64(), [-(2**63), 2**63 - 1], None),
    "small": (pa.int8(), [-128, 127], None),
    "decimal": (pa.decimal128(38, 10), EXACT, None),
    "cents": (pa.decimal128(9, 2), [Decimal("19.99"), Decimal("-0.10")], None),
    "flag": (pa.bool_(), [True, False], None),
    "day": (pa.date32(), [date(2024, 1, 31), date(1, 1, 1)], ["2024-01-31", "0001-01-01"]),
    "moment": (pa.timestamp("us", "UTC"), MOMENTS, ["2024-01-31T12:00:00Z", "1969-12-31T23:59:59.000005Z"]),
    "local": (pa.timestamp("s", "+02:00"), [datetime(2024, 1, 31, 12, tzinfo=ZONE)], ["2024-01-31T10:00:00Z"]),
    "naive": (pa.timestamp("ms"), [datetime(2024, 1, 31, 12, 30)], ["2024-01-31T12:30:00Z"]),
    "sizes": (pa.list_(pa.string()), [["S", 'M"'], [], [None, "L"]], None),
    "lengths": (pa.large_list(pa.float32()), [[0.1, NAN], []], [[0.1, None], []]),
    "pair": (pa.list_(pa.int32(), 2), [[1, 2], [3, None]], None),
    "empty": (pa.null(), [], None),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_values_of_every_type_are_shown_as_the_shop_has_them(tmp_path: Path, name: str) -> None:
    kind, values, other = COLUMNS[name]
    expected = [*(values if other is None else other), None]
    array = pa.array([*values, None], kind)
    # In chunks, one of which begins inside its buffers, as tables of updates have them.
    table = pa.table({name: pa.chunked_array([array.slice(1), array, array.slice(len(array))], kind)})
    write_texts(tmp_path, table)
    texts = read_texts(tmp_path)
    assert texts is not None and texts.rows == 2 * len(expected) - 1
    shown = rows_as_json(texts, np.arange(texts.rows)[None], [name])[0]
    exactly = Decimal if pa.types.is_decimal(kind) else float
    found = [json.loads(one, parse_float=exactly) for one in shown]
    assert found == [{name: value} for value in [*expected[1:], *expected]]


def test_rows_are_shown_in_any_order_with_the_fields_in_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribute_texts, "_BATCH_ROWS", 7)
    rows = attribute_rows(100)
    table = pa.Table.from_pylist(rows)
    with writing_texts(tmp_path, table.schema) as write:
        for start, stop in ((0, 1), (1, 50), (50, 50), (50, 100)):
            write(table.slice(start, stop - start))
    texts = read_texts(tmp_path)
    assert texts is not None and len(texts.starts) > 14
    wanted = np.random.default_rng(0).integers(-1, 100, (5, 40))
    fields = ["price", "title", "colour"]
    shown = rows_as_json(texts, wanted, fields)
    assert shown.shape == (5, 40) and (wanted < 0).any()
    for row, one in zip(wanted.ravel().tolist(), shown.ravel().tolist(), strict=True):
        if row < 0:
            assert one == b""
        else:
            assert list(json.loads(one).items()) == [(name, rows[row][name]) for name in fields]
    assert rows_as_json(texts, np.full((2, 3), -1), fields).tolist() == [[b""] * 3] * 2


def test_an_index_without_rows_shows_none(tmp_path: Path) -> None:
    write_texts(tmp_path, pa.table({"title": pa.array([], pa.string())}))
    texts = read_texts(tmp_path)
    assert texts is not None and texts.rows == 0
    assert rows_as_json(texts, np.full((1, 2), -1), ["title"]).tolist() == [[b"", b""]]


def test_texts_that_overlap_or_lie_outside_the_file_are_refused(tmp_path: Path) -> None:
    write_texts(tmp_path, pa.table({"title": ["red dress", "navy mug", "white mug"]}))
    file = tmp_path / "attributes.arrow"
    good = file.read_bytes()
    ends = np.array([0, 11, 21, 32], np.int64).tobytes()
    assert good.count(ends) == 1
    for wrong in ([0, 21, 11, 32], [0, 11, 21, 2**40], [-8, 11, 21, 32]):
        file.unlink()  # a memory map may be open
        file.write_bytes(good.replace(ends, np.array(wrong, np.int64).tobytes()))
        with pytest.raises(ValueError, match=r"title.*one after the other"):
            read_texts(tmp_path)
    for size in (0, 10, len(good) // 2, len(good) - 1):
        file.unlink()
        file.write_bytes(good[:size])
        with pytest.raises((OSError, ValueError)):
            read_texts(tmp_path)
    file.unlink()
    with pa.ipc.new_file(str(file), pa.schema([("title", pa.string())])):
        pass
    with pytest.raises(ValueError, match="must have columns of large_binary"):
        read_texts(tmp_path)


def test_an_index_names_the_columns_that_it_can_show(tmp_path: Path) -> None:
    write_folder(tmp_path / "index", make_index("flat", 20))
    index = open_index(tmp_path / "index")
    index.check_fields(("title", "price"))
    with pytest.raises(InvalidRequest) as caught:
        index.check_fields(("title", "color"))
    assert str(caught.value) == (
        "fields: no such attribute: 'color' (did you mean 'colour'?); this index has: colour, in_stock, price, title"
    )
    shown = index.attribute_rows(np.array([[3, -1]]), ("colour", "title"))
    row = attribute_rows(20)[3]
    assert shown.shape == (1, 2) and shown[0, 1] == b""
    assert json.loads(shown[0, 0]) == {"colour": row["colour"], "title": row["title"]}
    assert index.attribute_rows(np.array([[3, -1]]), ()).shape == (1, 0)
