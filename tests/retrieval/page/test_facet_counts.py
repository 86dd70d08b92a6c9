"""Facets count what plain Python counts."""

from __future__ import annotations

import gc
import json
import math
import weakref
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.page.facet_counts import count_facet
from shopwindow.retrieval.page.kept_facets import kept_facets
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.filter_conditions import without_own
from shopwindow.retrieval.request.filter_reading import parse_filter
from shopwindow.retrieval.request.page.facet_reading import Facet, check_facets, parse_facets

ROWS = 400  # so many that values are both frequent and rare, and that row numbers are both few and many
WORDS = st.text("aZé中😀", max_size=2)
CENTS = st.integers(-300, 300).map(lambda n: n / 100)
LARGE = st.sampled_from([0, 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1])
SIGNED = st.sampled_from([-(2**63), -(2**53) - 1, -1, 0, 2**53, 2**53 + 1, 2**63 - 1])
DAYS = st.dates(date(1969, 12, 25), date(1970, 1, 5))
MOMENTS = st.builds(
    lambda day, plus: datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(microseconds=plus),
    DAYS,
    st.sampled_from([-1, 0, 1, 10**6]),
)
NUMBER_EDGES = CENTS | st.integers(-3, 3) | LARGE | SIGNED

# name: (Arrow type, values of one product, edges of ranges or None)
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], st.SearchStrategy[Any] | None]] = {
    "text": (pa.string(), WORDS, None),
    "numbered text": (pa.dictionary(pa.int16(), pa.string()), WORDS, None),
    "float64": (pa.float64(), CENTS | st.just(math.nan) | st.just(-0.0), CENTS | NUMBER_EDGES),
    "float32": (pa.float32(), CENTS, CENTS | NUMBER_EDGES),
    "float16": (pa.float16(), st.integers(-9, 9).map(lambda n: n / 2), st.integers(-20, 20).map(lambda n: n / 4)),
    "decimal": (pa.decimal128(9, 2), CENTS.map(lambda n: Decimal(f"{n:.2f}")), CENTS),
    "int8": (pa.int8(), st.integers(-5, 5), NUMBER_EDGES),
    "int64": (pa.int64(), SIGNED, NUMBER_EDGES),
    "uint64": (pa.uint64(), LARGE, NUMBER_EDGES),
    "boolean": (pa.bool_(), st.booleans(), None),
    "date": (pa.date32(), DAYS, DAYS | MOMENTS),
    "timestamp": (pa.timestamp("us", "Asia/Shanghai"), MOMENTS, DAYS | MOMENTS),
    "texts": (pa.list_(pa.string()), st.lists(st.none() | WORDS, max_size=4), None),
    "numbers": (pa.large_list(pa.float32()), st.lists(st.none() | CENTS, max_size=4), CENTS),
    "booleans": (pa.list_(pa.bool_()), st.lists(st.booleans(), max_size=3), None),
}


def held(value: Any) -> set[Any]:
    """The values that a product counts for."""
    values = value if isinstance(value, list) else [value]
    return {one for one in values if one is not None and one == one}


def as_json(value: Any) -> Any:
    """A value as the reply shows it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return float(value) + 0.0 if isinstance(value, float | Decimal) else value


def comparable(value: Any) -> Any:
    """A value or edge in a type in which the others of its column can be compared; a date is its start."""
    if isinstance(value, datetime | Decimal):  # the number of a decimal is the float that is nearest to it
        return float(value) if isinstance(value, Decimal) else value
    return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else value


def tally(rows: list[Any], counted: list[int], groups: Any, keys: Callable[[Any], set[Any]]) -> Counter[Any]:
    """How many of the counted rows, or of their groups, have each key."""
    pairs = {(row if groups is None else int(groups[row]), key) for row in counted for key in keys(rows[row])}
    return Counter(key for _, key in pairs)


@st.composite
def columns(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> list[Any]:
    """Draw a column. The first of its values are the most frequent, the last are rare."""
    some = draw(st.lists(st.none() | values, min_size=1, max_size=12))
    places = np.random.default_rng(draw(st.integers(0, 99))).geometric(0.4, ROWS) - 1
    return [some[place % len(some)] for place in places]


@st.composite
def counted_rows(draw: st.DrawFn) -> np.ndarray | None:
    """Draw a mask, row numbers in any order, or all."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    mask = rng.random(ROWS) < draw(st.sampled_from([0, 0.01, 0.1, 0.5, 1]))
    return draw(st.sampled_from([None, mask, rng.permutation(np.flatnonzero(mask))]))


@st.composite
def group_numbers(draw: st.DrawFn) -> np.ndarray | None:
    low, high = draw(st.sampled_from([(0, 1), (0, 50), (0, 100_000), (-5, 5), (2**62, 2**63 - 1)]))
    numbers = np.random.default_rng(draw(st.integers(0, 99))).integers(low, high, ROWS)
    return draw(st.sampled_from([None, numbers]))


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=80, deadline=None)
@given(data=st.data(), chosen=counted_rows(), groups=group_numbers(), most=st.integers(1, 8))
def test_a_facet_counts_what_plain_python_counts(
    name: str, data: st.DataObject, chosen: np.ndarray | None, groups: np.ndarray | None, most: int
) -> None:
    kind, values, edges = KINDS[name]
    rows = data.draw(columns(values))
    column = pa.array(rows, kind)
    table = AttributeTable(pa.table({"c": pa.chunked_array([column.slice(0, 7), column.slice(7)])}))
    numbers = list(range(ROWS)) if chosen is None else np.arange(ROWS)[chosen].tolist()

    facets = parse_facets({"c": most})
    check_facets(facets, table)
    counts = tally(rows, numbers, groups, held)
    best = sorted(counts, key=lambda value: (-counts[value], value))[:most]
    wanted: list[dict[str, Any]] = [{"value": as_json(value), "count": counts[value]} for value in best]
    for _ in range(2):  # the second time with what was kept
        found = count_facet(facets[0], table, chosen, groups)
        assert json.dumps(found) == json.dumps(wanted)

    if edges is None:
        return
    drawn = data.draw(
        st.lists(edges, min_size=2, max_size=5, unique_by=comparable).map(lambda e: sorted(e, key=comparable))
    )
    limits = [data.draw(st.sampled_from([drawn[0], None])), *drawn[1:-1], data.draw(st.sampled_from([drawn[-1], None]))]
    facets = parse_facets(json.dumps({"c": {"ranges": [as_json(edge) for edge in limits]}}))
    check_facets(facets, table)

    def inside(value: Any) -> set[int]:
        bounds = [(comparable(low), comparable(high)) for low, high in pairwise(limits)]
        return {
            number
            for number, (low, high) in enumerate(bounds)
            for one in map(comparable, held(value))
            if (low is None or low <= one) and (high is None or one < high)
        }

    counts = tally(rows, numbers, groups, inside)
    wanted = [
        {"from": as_json(low), "to": as_json(high), "count": counts[number]}
        for number, (low, high) in enumerate(pairwise(limits))
    ]
    for _ in range(2):
        assert json.dumps(count_facet(facets[0], table, chosen, groups)) == json.dumps(wanted)


def table_of(**columns: pa.Array) -> AttributeTable:
    return AttributeTable(pa.table(columns))


def test_float32_prices_large_ids_and_flags_read_as_the_shop_wrote_them() -> None:
    table = table_of(
        price=pa.array([19.99, 19.99, 5], pa.float32()),
        seller=pa.array([2**64 - 1, 2**63, 2**64 - 1], pa.uint64()),
        stock=pa.array([True, False, True]),
        made=pa.array([datetime(2024, 1, 31, 12, 0, 0, 5000, UTC), None, None], pa.timestamp("us")),
    )
    facets = parse_facets({"price": 5, "seller": 5, "stock": 5, "made": 5})
    price, seller, stock, made = (json.dumps(count_facet(one, table, None)) for one in facets)
    assert price == '[{"value": 19.99, "count": 2}, {"value": 5.0, "count": 1}]'
    assert seller == '[{"value": 18446744073709551615, "count": 2}, {"value": 9223372036854775808, "count": 1}]'
    assert stock == '[{"value": true, "count": 2}, {"value": false, "count": 1}]'
    assert made == '[{"value": "2024-01-31T12:00:00.005000Z", "count": 1}]'


def test_infinity_is_in_open_ranges_but_no_value() -> None:
    table = table_of(price=pa.array([math.inf, -math.inf, 1.0, None]))
    assert count_facet(Facet("price", 9), table, None) == [{"value": 1.0, "count": 1}]
    ranges = count_facet(Facet("price", edges=(None, 0, None)), table, None)
    assert [one["count"] for one in ranges] == [1, 2]


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int8(), pa.string()), pa.int8(), pa.list_(pa.string())])
def test_an_index_without_products_and_a_column_without_values_have_no_counts(kind: pa.DataType) -> None:
    for rows in (0, 3):
        table = table_of(c=pa.array([None] * rows, kind))
        for groups in (None, np.zeros(rows, np.int64)):
            for chosen in (None, np.ones(rows, bool), np.arange(0)):
                assert count_facet(Facet("c", 9), table, chosen, groups) == []


def test_what_is_kept_goes_with_its_table() -> None:
    table = table_of(c=pa.array(["a", "b"]))
    count_facet(Facet("c", 9), table, None)
    gone = weakref.ref(kept_facets(table))
    del table
    gc.collect()
    assert gone() is None


FORMS = 'must be an integer from 1 to 1000 or {"ranges": [...]}'
EDGES = "must be a list of 2 to 100 edges"


@pytest.mark.parametrize(
    ("facets", "message"),
    [
        ("colour", "facets: not valid JSON (Expecting value: line 1 column 1 (char 0)): 'colour'"),
        ("[" * 16_000, "facets: not valid JSON (maximum recursion depth exceeded"),
        ('{"a": 1, "a": 2}', "facets: 'a' appears twice"),
        ('{"a": {"ranges": [0, 1], "ranges": [0, 2]}}', "facets: 'ranges' appears twice"),
        (json.dumps({"x" * 16_384: 1}), "facets: at most 16384 bytes of JSON, got 16391"),
        ('["colour"]', "facets: must be a JSON object of column: number of values, got ['colour']"),
        ({f"c{n}": 1 for n in range(21)}, "facets: at most 20 facets, got 21"),
        ({7: 1}, "facets: the name of a column must be a text, got 7"),
        ({"colour": 0}, f"facets.colour: {FORMS}, got 0"),
        ({"colour": 1_001}, f"facets.colour: {FORMS}, got 1001"),
        ({"colour": True}, f"facets.colour: {FORMS}, got True"),
        ({"colour": "20"}, f"facets.colour: {FORMS}, got '20'"),
        ('{"colour": null}', f"facets.colour: {FORMS}, got None"),
        ({"price": {}}, 'facets.price: must be a number or {"ranges": [...]}, got {}'),
        ({"price": {"range": [0, 1]}}, "facets.price: must be a number or {\"ranges\": [...]}, got {'range': [0, 1]}"),
        ({"price": {"ranges": 5}}, f"facets.price.ranges: {EDGES}, got 5"),
        ({"price": {"ranges": [5]}}, f"facets.price.ranges: {EDGES}, got 1: [5]"),
        ({"price": {"ranges": [*range(101)]}}, f"facets.price.ranges: {EDGES}, got 101: [0, 1, 2"),
        (
            {"price": {"ranges": [0, None, 5]}},
            "facets.price.ranges: null may stand only first and last, got [0, None, 5]",
        ),
        ({"price": {"ranges": [0, 5, 5]}}, "facets.price.ranges: must rise, got 5 before 5"),
        ({"price": {"ranges": [None, 5, 2.5]}}, "facets.price.ranges: must rise, got 5 before 2.5"),
        (
            {"made": {"ranges": ["2024-01-01T00:00:00Z", "2024-01-01"]}},
            "facets.made.ranges: must rise, got '2024-01-01T00:00:00Z' before '2024-01-01'",
        ),
        (
            {"made": {"ranges": [5, "2024-01-01"]}},
            "facets.made.ranges: must be all numbers or all dates, got [5, '2024-01-01']",
        ),
        (
            {"made": {"ranges": ["2024-02-30", None]}},
            "facets.made.ranges: an edge is a number, a date like 2024-01-31 or null, got '2024-02-30'",
        ),
        (
            {"made": {"ranges": [False, True]}},
            "facets.made.ranges: an edge is a number, a date like 2024-01-31 or null, got False",
        ),
        ('{"price": {"ranges": [0, Infinity]}}', "facets.price.ranges: must be finite, got inf"),
        ({"price": {"ranges": [0, 2**64]}}, "facets.price.ranges: must fit 64 bits, got 18446744073709551616"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_malformed_facet_is_refused_with_the_field_the_limit_and_the_value(facets: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_facets(facets)
    assert str(caught.value).startswith(message)
    assert caught.value.field == message.partition(": ")[0]
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("facets", "message"),
    [
        (
            {"color": 5},
            "facets.color: no such attribute (did you mean 'colour'?); this index has: colour, made, price, ",
        ),
        ({"title": 5}, "facets.title: no such attribute; this index has: colour, made, price, sizes, stock"),
        ({"colour": {"ranges": [0, 5]}}, "facets.colour: ranges need numbers or dates; the column holds text"),
        ({"sizes": {"ranges": [0, 5]}}, "facets.sizes: ranges need numbers or dates; the column holds text"),
        ({"stock": {"ranges": [0, 1]}}, "facets.stock: ranges need numbers or dates; the column holds true and false"),
        ({"price": {"ranges": [None, "2024-01-01"]}}, "facets.price: the column holds numbers, got '2024-01-01'"),
        ({"made": {"ranges": [5, None]}}, "facets.made: the column holds dates; write one like 2024-01-31, got 5"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_facet_that_does_not_fit_the_columns_is_refused(facets: Any, message: str) -> None:
    texts, numbers = pa.array(["red"]), pa.array([5.0])
    table = table_of(
        title=texts,
        colour=texts,
        price=numbers,
        stock=pa.array([True]),
        made=pa.array([date(2024, 1, 1)]),
        sizes=pa.array([["S"]]),
    )
    with pytest.raises(InvalidRequest) as caught:
        check_facets(parse_facets(facets), table)
    assert str(caught.value).startswith(message)


def test_facets_may_be_kept_in_a_cache_by_value() -> None:
    text = '{"colour": 20, "price": {"ranges": [0, 25, null]}}'
    assert parse_facets(text) == (Facet("colour", 20), Facet("price", 0, (0, 25, None)))
    assert hash(parse_facets(text)) == hash(parse_facets(json.loads(text)))
    assert parse_facets("{}") == ()


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({}, {}),
        ({"colour": "red"}, {}),
        ({"colour": "red", "price": {"lt": 5}}, {"price": {"lt": 5}}),
        ({"colour": {"ne": "red", "exists": True}}, {}),
        ({"or": [{"colour": "red"}, {"not": {"colour": "blue"}}], "brand": "Kesto"}, {"brand": "Kesto"}),
        ({"or": [{"colour": "red"}, {"brand": "Kesto"}]}, {"or": [{"colour": "red"}, {"brand": "Kesto"}]}),
        ({"and": [{"colour": "red"}, {"stock": True}]}, {"stock": True}),
        ({"not": {"colour": "red", "stock": True}}, {"not": {"colour": "red", "stock": True}}),
        ({"not": {"and": [{}]}, "colour": "red"}, {"not": {"and": [{}]}}),  # no product satisfies `not` of nothing
    ],
    ids=str,
)
def test_a_facet_leaves_out_only_what_speaks_of_its_column_alone(given: Any, left: Any) -> None:
    assert without_own(parse_filter(given), "colour") == parse_filter(left)
