"""Filters: which rows they keep, and how malformed ones are refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.filter_reading import MAX_FILTER_BYTES, parse_filter
from shopwindow.retrieval.request.filter_rows import check_filter, filter_mask

SCHEMA = pa.schema(
    [
        ("title", pa.string()),
        ("colour", pa.string()),
        ("brand", pa.dictionary(pa.int16(), pa.string())),
        ("price", pa.float64()),
        ("weight", pa.float32()),
        ("stock", pa.int16()),
        ("seller", pa.int64()),
        ("on_sale", pa.bool_()),
        ("parts", pa.struct([("name", pa.string())])),
    ]
)

# Few values per column, so that rows and operands are often equal.
WORDS = st.sampled_from(["red", "blue", "größe 38", ""])
SMALL = st.integers(-2, 2)
HALVES = st.integers(-4, 4).map(lambda n: n / 2)
LARGE = st.sampled_from([-(2**63), -1, 0, 2**53, 2**53 + 1, 2**63 - 2, 2**63 - 1])
OPERANDS: dict[str, st.SearchStrategy] = {
    "colour": WORDS,
    "brand": WORDS,
    "price": SMALL | HALVES,
    "weight": SMALL | HALVES,
    "stock": SMALL | HALVES,
    "seller": LARGE,
    "on_sale": st.booleans(),
}
TEXTS, NUMBERS = ["brand", "colour"], ["on_sale", "price", "seller", "stock", "weight"]
RANGES = ["lt", "lte", "gt", "gte"]
ROW = st.fixed_dictionaries(
    {
        "title": st.none(),
        "colour": st.none() | WORDS,
        "brand": st.none() | WORDS,
        "price": st.none() | st.just(math.nan) | HALVES,
        "weight": st.none() | st.just(math.nan) | HALVES,
        "stock": st.none() | SMALL,
        "seller": st.none() | LARGE,
        "on_sale": st.none() | st.booleans(),
        "parts": st.none(),
    }
)
ROWS = st.lists(ROW, min_size=4, max_size=8)


def condition(column: str, operator: str) -> st.SearchStrategy[Any]:
    """Draw one condition on a column; "bare" is a value without an operator."""
    operand = OPERANDS[column]
    if operator == "bare":
        return operand
    operands = st.lists(operand, min_size=1, max_size=3) if operator == "in" else operand
    return st.fixed_dictionaries({operator: operands})


@st.composite
def filters(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a filter of one to three columns with one to three operators each."""
    conditions = {}
    for column in draw(st.lists(st.sampled_from(TEXTS + NUMBERS), unique=True, min_size=1, max_size=3)):
        names = ["eq", "in", *(RANGES if column in NUMBERS else [])]
        chosen = draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=3))
        conditions[column] = {name: draw(condition(column, name))[name] for name in chosen}
    return conditions


def holds(value: Any, condition: Any) -> bool:
    """Return whether one value of one product satisfies a condition, from a plain reading of the grammar."""
    if value is None or value != value:
        return False
    if not isinstance(condition, dict):
        return bool(value == condition)
    tests = {
        "eq": lambda limit: value == limit,
        "in": lambda limits: any(value == limit for limit in limits),
        "lt": lambda limit: value < limit,
        "lte": lambda limit: value <= limit,
        "gt": lambda limit: value > limit,
        "gte": lambda limit: value >= limit,
    }
    return all(tests[name](limit) for name, limit in condition.items())


def assert_keeps_rows_that_hold(rows: list[dict[str, Any]], table: AttributeTable, conditions: dict[str, Any]) -> None:
    parsed = parse_filter(json.dumps(conditions))
    check_filter(parsed, table)
    mask = filter_mask(parsed, table)
    assert mask.dtype == bool
    assert mask.tolist() == [all(holds(row[column], conditions[column]) for column in conditions) for row in rows]


@pytest.mark.parametrize("column", TEXTS + NUMBERS)
@settings(max_examples=40)
@given(data=st.data(), rows=ROWS)
def test_every_operator_keeps_exactly_the_rows_that_satisfy_it(
    column: str, data: st.DataObject, rows: list[dict[str, Any]]
) -> None:
    table = AttributeTable(pa.Table.from_pylist(rows, schema=SCHEMA))
    for operator in ("bare", "eq", "in", *(RANGES if column in NUMBERS else [])):
        assert_keeps_rows_that_hold(rows, table, {column: data.draw(condition(column, operator), label=operator)})


@settings(max_examples=100)
@given(rows=ROWS, conditions=filters())
def test_all_conditions_must_hold(rows: list[dict[str, Any]], conditions: dict[str, Any]) -> None:
    table = AttributeTable(pa.Table.from_pylist(rows, schema=SCHEMA))
    assert_keeps_rows_that_hold(rows, table, conditions)


def test_an_empty_filter_keeps_every_row() -> None:
    table = AttributeTable(pa.table({"colour": ["red", None]}))
    assert parse_filter("{}") == ()
    assert filter_mask(parse_filter("{}"), table).tolist() == [True, True]


def test_in_takes_a_thousand_values_and_refuses_one_more() -> None:
    table = AttributeTable(pa.table({"stock": list(range(2_000))}))
    mask = filter_mask(parse_filter({"stock": {"in": list(range(500, 1_500))}}), table)
    assert np.flatnonzero(mask).tolist() == list(range(500, 1_500))
    with pytest.raises(InvalidRequest, match=r"filter\.stock\.in: must be a list of 1 to 1000 values, got \[0, 1, 2"):
        parse_filter({"stock": {"in": list(range(1_001))}})


@pytest.mark.parametrize(
    ("text", "field", "named"),
    [
        ("colour=red", "filter", ["not valid JSON", "'colour=red'"]),
        ("", "filter", ["not valid JSON", "''"]),
        ('{"colour": "red"', "filter", ["not valid JSON", '{"colour": "red"']),
        ('["colour", "red"]', "filter", ["must be a JSON object", "['colour', 'red']"]),
        ("7", "filter", ["must be a JSON object", "7"]),
        ("null", "filter", ["must be a JSON object", "None"]),
        ('{"price": {"below": 5}}', "filter.price", ["unknown operator 'below'", "eq, in, lt, lte, gt, gte"]),
        ('{"price": {}}', "filter.price", ["empty condition", "eq, in, lt, lte, gt, gte"]),
        ('{"price": null}', "filter.price", ["a text, a number or true/false", "None"]),
        ('{"price": [5, 6]}', "filter.price", ["a text, a number or true/false", "[5, 6]"]),
        ('{"price": {"gte": {"gte": 5}}}', "filter.price.gte", ["a text, a number or true/false", "{'gte': 5}"]),
        ('{"colour": {"in": "red"}}', "filter.colour.in", ["a list of 1 to 1000", "'red'"]),
        ('{"colour": {"in": []}}', "filter.colour.in", ["a list of 1 to 1000", "[]"]),
        ('{"colour": {"in": [null]}}', "filter.colour.in", ["a text, a number or true/false", "None"]),
        ('{"price": NaN}', "filter.price", ["must be finite", "nan"]),
        ('{"price": {"lt": Infinity}}', "filter.price.lt", ["must be finite", "inf"]),
        ('{"price": {"in": [1, -1e999]}}', "filter.price.in", ["must be finite", "-inf"]),
        (f'{{"seller": {2**64}}}', "filter.seller", ["must fit 64 bits", str(2**64)]),
        (f'{{"seller": {-(2**63) - 1}}}', "filter.seller", ["must fit 64 bits", str(-(2**63) - 1)]),
        (f'{{"seller": {"9" * 5_000}}}', "filter", ["not valid JSON", "digits", "9999"]),
        ("[" * 16_000, "filter", ["not valid JSON", "[[[["]),
        ('{"a":' * 3_000, "filter", ["not valid JSON", '{"a":{"a":']),
        ("\ud800", "filter", ["not valid JSON", r"\ud800"]),
        (json.dumps({"a": "x" * MAX_FILTER_BYTES}), "filter", [f"at most {MAX_FILTER_BYTES} bytes", "16393"]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_malformed_filter_is_refused_with_the_field_s_name(text: str, field: str, named: list[str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_filter(text)
    message = str(caught.value)
    assert caught.value.field == field
    assert message.startswith(f"{field}: ")
    assert all(part in message for part in named), message
    assert len(message.encode()) < 400


@pytest.mark.parametrize(
    ("conditions", "field", "named"),
    [
        ({"colour": {"gte": "blue"}}, "filter.colour", "gte needs a number column; colour holds text"),
        ({"brand": {"lt": 5}}, "filter.brand", "lt needs a number column; brand holds text"),
        ({"colour": 5}, "filter.colour", "the column holds text, got 5"),
        ({"colour": True}, "filter.colour", "the column holds text, got True"),
        ({"price": "5"}, "filter.price", "the column holds numbers, got '5'"),
        ({"stock": {"in": [1, "2"]}}, "filter.stock", "the column holds numbers, got '2'"),
        ({"prise": 5}, "filter.prise", "did you mean 'price'"),
        ({"zzzzzz": 5}, "filter.zzzzzz", "this index has: brand, colour, on_sale, price, seller, stock, weight"),
        ({"title": "red dress"}, "filter.title", "no such attribute"),
        ({"parts": "new"}, "filter.parts", "no such attribute"),
    ],
)
def test_a_filter_that_does_not_fit_the_columns_is_refused_with_the_field_s_name(
    conditions: dict[str, Any], field: str, named: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_filter(parse_filter(conditions), AttributeTable(SCHEMA.empty_table()))
    assert caught.value.field == field
    assert named in str(caught.value)


@pytest.mark.parametrize("column", ["\ud800", "x" * 10_000], ids=["half a surrogate pair", "long"])
def test_the_error_about_a_hostile_column_name_can_be_sent(column: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_filter(parse_filter(json.dumps({column: 1})), AttributeTable(SCHEMA.empty_table()))
    assert len(str(caught.value).encode()) < 400


def test_a_number_too_long_to_print_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"filter\.stock: must fit 64 bits"):
        parse_filter({"stock": 10**5_000})
