"""How `boost`, `sort` and `collapse` are read, and what is refused, word for word."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.filter_reading import parse_filter
from shopwindow.retrieval.request.page.boost_reading import BoostTerm, check_boost, parse_boost
from shopwindow.retrieval.request.page.collapse_reading import Collapse, check_collapse, parse_collapse
from shopwindow.retrieval.request.page.sort_reading import Sort, check_sort, parse_sort

TABLE = AttributeTable(
    pa.table(
        {
            "colour": ["red", None],
            "price": [-7.0, 4.0],
            "huge": [1e300, 0.0],
            "odd": [math.inf, 0.0],
            "sizes": [["S"], []],
            "made": [date(2026, 1, 31), None],
        }
    )
)
KNOWN = "this index has: colour, huge, made, odd, price, sizes"
KEYS = "known: if, column, half_life_days, now, add, multiply"
MADE = {"column": "made", "half_life_days": 30}


def refused(read: Any, *arguments: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        read(*arguments)
    return str(caught.value)


def test_terms_are_read_from_text_and_from_values_alike() -> None:
    boost = [
        {"if": {"colour": "red"}, "multiply": 1.2},
        {"column": "price", "add": 1},
        {"column": "made", "half_life_days": 30, "now": "2026-01-31", "add": -0.5},
    ]
    terms = parse_boost(json.dumps(boost))
    assert terms == parse_boost(boost) == parse_boost(tuple(boost))
    assert len({terms, parse_boost(boost)}) == 1
    assert terms == (
        BoostTerm(condition=parse_filter({"colour": "red"}), multiply=1.2),
        BoostTerm(column="price", add=1.0),
        BoostTerm(column="made", half_life_days=30.0, now=date(2026, 1, 31), add=-0.5),
    )
    check_boost(terms, TABLE)


@pytest.mark.parametrize(
    ("boost", "message"),
    [
        ("[", "boost: not valid JSON (Expecting value: line 1 column 2 (char 1)): '['"),
        (f'["{"x" * 16_384}"]', "boost: at most 16384 bytes of JSON, got 16388"),
        ('[{"add": 1, "add": 2}]', "boost: 'add' appears twice"),
        ({"add": 1}, "boost: must be a JSON list of 1 to 10 terms, got {'add': 1}"),
        ("[]", "boost: must be a JSON list of 1 to 10 terms, got 0 terms"),
        ([{}] * 11, "boost: must be a JSON list of 1 to 10 terms, got 11 terms"),
        ([MADE | {"add": 1}, 5], "boost[1]: must be an object, got 5"),
        ([{"multiple": 1}], f"boost[0]: unknown key 'multiple' (did you mean 'multiply'?); {KEYS}"),
        ([{5: 1}], f"boost[0]: unknown key 5; {KEYS}"),
        ([{"add": 1}], "boost[0]: must have if or column, and not both, got {'add': 1}"),
        (
            [{"if": {}, "column": "price", "add": 1}],
            "boost[0]: must have if or column, and not both, got {'if': {}, 'column': 'price', 'add': 1}",
        ),
        ([{"if": {}}], "boost[0]: must have add or multiply, and not both, got {'if': {}}"),
        (
            [{"if": {}, "add": 1, "multiply": 1}],
            "boost[0]: must have add or multiply, and not both, got {'if': {}, 'add': 1, 'multiply': 1}",
        ),
        ('[{"if": {}, "add": NaN}]', "boost[0].add: must be a finite number, got nan"),
        ([{"if": {}, "add": "1"}], "boost[0].add: must be a finite number, got '1'"),
        ([{"if": {}, "add": True}], "boost[0].add: must be a finite number, got True"),
        ([{"column": "price", "multiply": None}], "boost[0].multiply: must be a finite number, got None"),
        ([{"if": {}, "multiply": 10**400}], f"boost[0].multiply: must be a finite number, got 1{'0' * 58}…"),
        ([{"if": {}, "multiply": 0}], "boost[0].multiply: must be > 0, got 0"),
        ([{"if": "red", "add": 1}], "boost[0].if: must be an object of column: condition, got 'red'"),
        (
            [{"if": {}, "add": 1}, {"if": {"price": {"in": 5}}, "add": 1}],
            "boost[1].if.price.in: must be a list of 1 to 1000 values, got 5",
        ),
        ([{"column": 5, "add": 1}], "boost[0].column: must be the name of a column, got 5"),
        ([MADE | {"half_life_days": 0, "add": 1}], "boost[0].half_life_days: must be > 0, got 0"),
        ([MADE | {"half_life_days": "9", "add": 1}], "boost[0].half_life_days: must be a finite number, got '9'"),
        (
            [{"if": {}, "half_life_days": 3, "add": 1}],
            "boost[0].half_life_days: belongs to a column of dates; this term has if",
        ),
        (
            [{"column": "price", "now": "2026-01-31", "add": 1}],
            "boost[0].now: is the day from which ages count; this term has no half_life_days",
        ),
        ([MADE | {"now": "yesterday", "add": 1}], "boost[0].now: must be a date like 2026-01-31, got 'yesterday'"),
        ([MADE | {"now": 2026, "add": 1}], "boost[0].now: must be a date like 2026-01-31, got 2026"),
    ],
)
def test_a_malformed_boost_is_refused(boost: Any, message: str) -> None:
    assert refused(parse_boost, boost) == message


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            {"column": "prise", "add": 1},
            f"boost[1].column: no such attribute (did you mean 'price'?); {KNOWN}; got 'prise'",
        ),
        (
            {"if": {"color": "red"}, "add": 1},
            f"boost[1].if.color: no such attribute (did you mean 'colour'?); {KNOWN}; got 'color'",
        ),
        ({"if": {"price": "red"}, "add": 1}, "boost[1].if.price: the column holds numbers, got 'red'"),
        ({"column": "colour", "add": 1}, "boost[1].column: must be a column of numbers or dates; 'colour' holds text"),
        ({"column": "sizes", "add": 1}, "boost[1].column: must be a column of numbers or dates; 'sizes' holds lists"),
        ({"column": "odd", "add": 0}, "boost[1].column: must be a column of finite numbers; 'odd' holds infinity"),
        (
            {"column": "price", "half_life_days": 3, "add": 1},
            "boost[1].half_life_days: belongs to a column of dates; 'price' holds numbers",
        ),
        ({"column": "made", "add": 1}, "boost[1]: half_life_days is needed, because 'made' holds dates"),
        (
            {"column": "price", "multiply": 0.5},
            "boost[1].multiply: the factor 1 + 0.5 * 'price' must be > 0 for every product; the column's minimum is "
            "-7, which makes -2.5",
        ),
        (
            {"column": "price", "multiply": -0.25},
            "boost[1].multiply: the factor 1 + -0.25 * 'price' must be > 0 for every product; the column's maximum is "
            "4, which makes 0",
        ),
        (MADE | {"multiply": -1}, "boost[1].multiply: must be > -1 with half_life_days, got -1"),
        (
            {"column": "huge", "multiply": 1},
            "boost: the factors of all terms must stay from 1e-30 to 1e+30, got 1 to 1e+300",
        ),
        (
            {"if": {}, "multiply": 1e-31},
            "boost: the factors of all terms must stay from 1e-30 to 1e+30, got 1e-31 to 1",
        ),
        ({"column": "huge", "add": -2}, "boost: all terms together may add at most 1e+30, got 2e+300"),
    ],
)
def test_a_boost_that_does_not_fit_the_index_is_refused(term: dict[str, Any], message: str) -> None:
    assert refused(check_boost, parse_boost([{"if": {"colour": "red"}, "multiply": 1}, term]), TABLE) == message


def test_a_product_without_a_value_does_not_count_for_the_smallest_factor() -> None:
    table = AttributeTable(pa.table({"sales": pa.array([3, None], pa.int64())}))
    check_boost(parse_boost([{"column": "sales", "multiply": -0.3}]), table)
    check_boost(
        parse_boost([{"column": "sales", "multiply": -9}]),
        AttributeTable(pa.table({"sales": pa.array([None], pa.int64())})),
    )


def test_sorts_are_read_from_text_and_from_values_alike() -> None:
    assert parse_sort('{"by": "price"}') == parse_sort({"by": "price", "order": "asc"}) == Sort("price", False, None)
    assert parse_sort('{"by": "made", "order": "desc", "among": 10000}') == Sort("made", True, 10_000)
    check_sort(Sort("price", among=1), TABLE, min_score_given=False)
    check_sort(Sort("colour"), TABLE, min_score_given=True)


@pytest.mark.parametrize(
    ("sort", "message"),
    [
        ("price", "sort: not valid JSON (Expecting value: line 1 column 1 (char 0)): 'price'"),
        ('["price"]', 'sort: must be a JSON object like {"by": "price", "among": 500}, got [\'price\']'),
        ({"by": "price", "oder": "asc"}, "sort: unknown key 'oder' (did you mean 'order'?); known: by, order, among"),
        ({"among": 5}, "sort.by: must be the name of a column, got None"),
        ({"by": "price", "order": "down"}, "sort.order: must be asc or desc, got 'down'"),
        ({"by": "price", "order": ["asc"]}, "sort.order: must be asc or desc, got ['asc']"),
        ({"by": "price", "among": 0}, "sort.among: must be an integer from 1 to 10000, got 0"),
        ({"by": "price", "among": 10_001}, "sort.among: must be an integer from 1 to 10000, got 10001"),
        ({"by": "price", "among": True}, "sort.among: must be an integer from 1 to 10000, got True"),
        ({"by": "price", "among": None}, "sort.among: must be an integer from 1 to 10000, got None"),
        (
            {"by": "price"},
            "sort: needs among (1 to 10000 places of the ranking) or the parameter min_score, got neither",
        ),
        ({"by": "sizes", "among": 9}, "sort.by: must be a column of single values; 'sizes' holds lists"),
        ({"by": "Made"}, f"sort.by: no such attribute (did you mean 'made'?); {KNOWN}; got 'Made'"),
    ],
)
def test_a_sort_that_is_malformed_or_does_not_fit_is_refused(sort: Any, message: str) -> None:
    assert refused(lambda: check_sort(parse_sort(sort), TABLE, min_score_given=False)) == message


def test_collapses_are_read_from_names_text_and_values_alike() -> None:
    assert parse_collapse("colour") == parse_collapse(' {"by": "colour"}') == parse_collapse({"by": "colour"})
    assert parse_collapse('{"by": "colour", "members": 100}') == Collapse("colour", 100)
    for column in ("colour", "price", "made"):
        check_collapse(Collapse(column), TABLE)


@pytest.mark.parametrize(
    ("collapse", "message"),
    [
        (
            '{"by": "colour"',
            "collapse: not valid JSON (Expecting ',' delimiter: line 1 column 16 (char 15)): '{\"by\": \"colour\"'",
        ),
        (
            ["colour"],
            'collapse: must be the name of a column, or an object like {"by": "style", "members": 5}, got [\'colour\']',
        ),
        ({"by": "colour", "member": 5}, "collapse: unknown key 'member' (did you mean 'members'?); known: by, members"),
        ({"members": 5}, "collapse.by: must be the name of a column, got None"),
        ({"by": "colour", "members": -1}, "collapse.members: must be an integer from 0 to 100, got -1"),
        ({"by": "colour", "members": 101}, "collapse.members: must be an integer from 0 to 100, got 101"),
        ({"by": "colour", "members": 5.0}, "collapse.members: must be an integer from 0 to 100, got 5.0"),
        ("sizes", "collapse: must be a column of single values; 'sizes' holds lists"),
        ("", f"collapse: no such attribute; {KNOWN}; got ''"),
    ],
)
def test_a_collapse_that_is_malformed_or_does_not_fit_is_refused(collapse: Any, message: str) -> None:
    assert refused(lambda: check_collapse(parse_collapse(collapse), TABLE)) == message
