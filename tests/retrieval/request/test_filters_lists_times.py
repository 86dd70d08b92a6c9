"""Filters on lists, dates and timestamps keep the rows that plain Python keeps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.filter_reading import parse_filter
from shopwindow.retrieval.request.filter_rows import check_filter, filter_mask

WORDS, NUMBERS = st.sampled_from(["S", "M", "größe", ""]), st.integers(-2, 2).map(lambda n: n / 2)
DAYS = st.dates(date(1969, 12, 30), date(1970, 1, 2))
MOMENTS = st.datetimes(datetime(1969, 12, 30), datetime(1970, 1, 2, 23, 59)).map(lambda m: m.replace(tzinfo=UTC))
# Midnights and their neighbours, where days begin and end.
EDGES = DAYS.flatmap(lambda day: st.sampled_from([timedelta(microseconds=n) + _start(day) for n in (-1, 0, 1)]))
LISTS = {"tags": (pa.list_(pa.string()), WORDS), "sizes": (pa.large_list(pa.float64()), NUMBERS)}
TIMES = {
    "day": (pa.date32(), DAYS),
    "long_day": (pa.date64(), DAYS),
    "moment": (pa.timestamp("us", "UTC"), EDGES | MOMENTS),
    "local": (pa.timestamp("us", "Asia/Shanghai"), EDGES | MOMENTS),
    "naive": (pa.timestamp("us"), EDGES | MOMENTS),
}


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def kept(column: pa.Array, conditions: Any) -> list[bool]:
    table = AttributeTable(pa.table({"c": pa.chunked_array([column.slice(0, 2), column.slice(2)])}))
    parsed = parse_filter({"c": conditions})
    check_filter(parsed, table)
    mask = filter_mask(parsed, table)
    assert mask.dtype == bool
    return [bool(one) for one in mask]


@pytest.mark.parametrize("name", LISTS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_list_passes_if_one_of_its_values_does(name: str, data: st.DataObject) -> None:
    kind, values = LISTS[name]
    rows = data.draw(st.lists(st.none() | st.lists(st.none() | values, max_size=3), max_size=6))
    operand, several = data.draw(values), data.draw(st.lists(values, min_size=1, max_size=3))
    held = [{value for value in row or [] if value is not None} for row in rows]
    column = pa.array(rows, kind)
    assert kept(column, operand) == [operand in row for row in held]
    assert kept(column, {"ne": operand}) == [operand not in row for row in held]
    assert kept(column, {"in": several}) == [bool(row & {*several}) for row in held]
    assert kept(column, {"not_in": several}) == [not row & {*several} for row in held]
    assert kept(column, {"contains_all": several}) == [row >= {*several} for row in held]
    assert kept(column, {"exists": True}) == [bool(row) for row in held]
    if name == "sizes":
        assert kept(column, {"gt": operand}) == [any(value > operand for value in row) for row in held]
        assert kept(column, {"lte": operand}) == [any(value <= operand for value in row) for row in held]


@pytest.mark.parametrize("name", TIMES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_times_are_compared_as_times_and_a_date_stands_for_its_day(name: str, data: st.DataObject) -> None:
    kind, values = TIMES[name]
    rows = data.draw(st.lists(st.none() | values, max_size=6))
    operand = data.draw(DAYS | EDGES | MOMENTS)
    zone = data.draw(st.sampled_from([UTC, timezone(timedelta(hours=8)), None]))
    text = operand.isoformat()
    if isinstance(operand, datetime):
        text = (operand.astimezone(zone) if zone else operand.replace(tzinfo=None)).isoformat()
    column = pa.array([value.replace(tzinfo=None) if name == "naive" and value else value for value in rows], kind)
    if isinstance(operand, datetime) and not name.endswith("day"):
        keys = [(value, operand) for value in rows]
    elif isinstance(operand, datetime):  # a date is its start
        keys = [(value and _start(value), operand) for value in rows]
    else:  # a date stands for its day
        keys = [(value.date() if isinstance(value, datetime) else value, operand) for value in rows]
    expected = {
        "eq": [a is not None and a == b for a, b in keys],
        "in": [a is not None and a == b for a, b in keys],
        "lt": [a is not None and a < b for a, b in keys],
        "lte": [a is not None and a <= b for a, b in keys],
        "gt": [a is not None and a > b for a, b in keys],
        "gte": [a is not None and a >= b for a, b in keys],
        "exists": [a is not None for a, _ in keys],
    }
    for operator, wanted in expected.items():
        given = {"in": [text, "1900-01-01", "1900-01-01T12:00:00Z"], "exists": True}.get(operator, text)
        assert kept(column, {operator: given}) == wanted, (operator, text)
    assert kept(column, {"ne": text}) == [not one for one in expected["eq"]]


@pytest.mark.parametrize(
    ("conditions", "named"),
    [
        ({"colour": {"contains_all": ["red"]}}, "contains_all needs a column of lists; colour holds single values"),
        ({"tags": {"gt": "a"}}, "gt needs a number column; tags holds text"),
        ({"tags": {"in": ["a", 5]}}, "the column holds text, got 5"),
        ({"sizes": {"contains_all": ["a"]}}, "the column holds numbers, got 'a'"),
        ({"made": "yesterday"}, "holds dates; write one like 2024-01-31 or 2024-01-31T12:00:00Z, got 'yesterday'"),
        ({"made": {"gte": 2024}}, "holds dates; write one like 2024-01-31 or 2024-01-31T12:00:00Z, got 2024"),
        ({"made": {"lt": "2024-02-30"}}, "got '2024-02-30'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(conditions: dict[str, Any], named: str) -> None:
    kinds = {"colour": pa.string(), "tags": pa.list_(pa.string()), "sizes": pa.list_(pa.int64()), "made": pa.date32()}
    with pytest.raises(InvalidRequest) as caught:
        check_filter(parse_filter(conditions), AttributeTable(pa.schema(list(kinds.items())).empty_table()))
    assert caught.value.field == f"filter.{next(iter(conditions))}"
    assert named in str(caught.value)


def test_lists_take_a_few_bytes_a_value() -> None:
    table = AttributeTable(pa.table({"tags": [["a", "b", "c"]] * 1_000}))
    column = table.get("tags")
    assert column is not None
    assert column.ends.nbytes + column.values.codes.nbytes < 1_001 * 2 + 3_001  # type: ignore[union-attr]
    assert column.ends.dtype == np.int16  # type: ignore[union-attr]
