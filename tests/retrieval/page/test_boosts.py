"""Boosts change scores as plain arithmetic does, and their bounds hold."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shopwindow.base.recently_used import ENTRY_BYTES
from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.page.boosts import BoostCache, Boosts
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.page.boost_reading import check_boost, parse_boost

TODAY = date(2026, 1, 31)
HALVES = st.integers(-4, 4).map(lambda n: n / 2)
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy]] = {
    "colour": (pa.string(), st.sampled_from(["red", "blue"])),
    "price": (pa.float64(), HALVES | st.just(math.nan)),
    "weight": (pa.float32(), HALVES | st.just(math.nan)),
    "half": (pa.float16(), HALVES.map(np.float16)),
    "stock": (pa.int16(), st.integers(-2, 2)),
    "views": (pa.uint64(), st.sampled_from([0, 2**53 + 1, 2**64 - 1])),
    "on_sale": (pa.bool_(), st.booleans()),
    "made": (pa.date32(), st.dates(date(2025, 12, 1), date(2026, 2, 20))),
    "listed": (pa.timestamp("us", "UTC"), st.datetimes(datetime(2025, 12, 1), datetime(2026, 2, 20))),
}
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | of for name, (_, of) in COLUMNS.items()}), max_size=8)
CONDITIONS: list[tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = [
    ({"colour": "red"}, lambda row: row["colour"] == "red"),
    ({"stock": {"gt": 0}, "on_sale": True}, lambda row: (row["stock"] or 0) > 0 and row["on_sale"] is True),
    ({"or": [{"colour": "blue"}, {"not": {"stock": 1}}]}, lambda row: row["colour"] == "blue" or row["stock"] != 1),
    ({}, lambda row: True),
]
WEIGHTS = st.floats(-3, 3, width=32).map(float)
NUMBERS, TIMES = ["price", "weight", "half", "stock", "on_sale"], ["made", "listed"]


@st.composite
def terms(draw: st.DrawFn) -> dict[str, Any]:
    """Draw one term of a boost. Its factor may be 0 or less."""
    act = draw(st.sampled_from(["add", "multiply"]))
    kind = draw(st.sampled_from(["if", "number", "age"]))
    if kind == "if":
        weight = draw(WEIGHTS if act == "add" else st.floats(0.01, 3))
        return {"if": draw(st.sampled_from(CONDITIONS))[0], act: weight}
    if kind == "number":
        return {"column": draw(st.sampled_from([*NUMBERS, *(["views"] if act == "add" else [])])), act: draw(WEIGHTS)}
    aged = {"column": draw(st.sampled_from(TIMES)), "half_life_days": draw(st.sampled_from([0.5, 30, 1e-300, 1e300]))}
    now = draw(st.sampled_from([{}, {"now": "2026-01-02"}]))
    return {**aged, **now, act: draw(WEIGHTS)}


def value(term: dict[str, Any], row: dict[str, Any]) -> float:
    """Return the value of a product that a term with a column multiplies, from a plain reading of the contract."""
    held = row[term["column"]]
    if held is None or held != held:
        return 0.0
    if "half_life_days" not in term:
        return float(held)
    midnight = datetime.combine(date.fromisoformat(term.get("now", TODAY.isoformat())), datetime.min.time())
    moment = held if isinstance(held, datetime) else datetime.combine(held, datetime.min.time())
    age = max((midnight - moment) / timedelta(days=1), 0.0)
    return float(2.0 ** (-age / term["half_life_days"]))


def effect(term: dict[str, Any], row: dict[str, Any]) -> float:
    """Return the factor or the addend of a product."""
    weight = term.get("add", term.get("multiply"))
    if "if" in term:
        holds = next(holds for condition, holds in CONDITIONS if condition is term["if"])
        return weight if holds(row) else 1.0 if "multiply" in term else 0.0
    return weight * value(term, row) + (1.0 if "multiply" in term else 0.0)


def table_of(rows: list[dict[str, Any]]) -> AttributeTable:
    return AttributeTable(
        pa.table({name: pa.array([row[name] for row in rows], kind) for name, (kind, _) in COLUMNS.items()})
    )


@settings(max_examples=200)
@given(rows=ROWS, boost=st.lists(terms(), min_size=1, max_size=4), data=st.data())
def test_scores_change_as_in_plain_arithmetic(
    rows: list[dict[str, Any]], boost: list[dict[str, Any]], data: st.DataObject
) -> None:
    table, parsed = table_of(rows), parse_boost(json.dumps(boost))
    factors = [math.prod(effect(term, row) for term in boost if "multiply" in term) for row in rows]
    addends = [math.fsum(effect(term, row) for term in boost if "add" in term) for row in rows]
    ages = [term["multiply"] for term in boost if "multiply" in term and "half_life_days" in term]
    each = [effect(term, row) for term in boost if "multiply" in term for row in rows]
    if min([*each, *(1 + weight for weight in ages), 1]) <= 0:
        with pytest.raises(InvalidRequest, match=r"^boost\[\d\]\.multiply: "):
            check_boost(parsed, table)
        return
    check_boost(parsed, table)
    boosts = Boosts.of(parsed, table, TODAY)
    assert (boosts.factors is None, boosts.addends is None) == (
        not any("multiply" in t for t in boost),
        "add" not in {key for term in boost for key in term},
    )
    scores = np.array(
        data.draw(st.lists(st.floats(-2, 40, width=32), min_size=len(rows), max_size=len(rows))), np.float32
    )
    wanted = [float(score) * factor + addend for score, factor, addend in zip(scores, factors, addends, strict=True)]
    final = boosts.apply(scores, slice(None))
    assert final.dtype == np.float32
    # Factor, addend, product and sum are each rounded to float32 once.
    parts = [
        abs(float(score) * factor) + math.fsum(abs(effect(term, row)) for term in boost if "add" in term)
        for score, factor, row in zip(scores, factors, rows, strict=True)
    ]
    for one, other, size in zip(final.tolist(), wanted, parts, strict=True):
        assert abs(one - other) <= 4 * 2.0**-24 * size + 1e-37
    if rows:
        some = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5)), np.int64)
        np.testing.assert_array_equal(boosts.apply(scores[some], some), final[some])
        two = np.stack([scores, scores])
        np.testing.assert_array_equal(boosts.apply(two, slice(None)), [final, final])


def test_more_rows_than_are_computed_at_once() -> None:
    count = 40_000
    sales = np.arange(count) / count
    made = np.arange(count, dtype=np.int32) % 1_000 + 19_000
    table = AttributeTable(pa.table({"sales": sales, "made": pa.array(made).cast(pa.date32())}))
    boost = [
        {"column": "sales", "multiply": 0.5},
        {"column": "made", "half_life_days": 10, "now": "2024-01-01", "add": 2},
    ]
    boosts = Boosts.of(parse_boost(boost), table, TODAY)
    now = (date(2024, 1, 1) - date(1970, 1, 1)).days
    wanted = 3 * (1 + 0.5 * sales) + 2 * 2.0 ** (-np.maximum(now - made, 0) / 10)
    np.testing.assert_allclose(boosts.apply(np.full(count, 3), slice(None)), wanted, rtol=1e-6)


FACTORS = st.floats(2.0**-100, 2.0**100, width=32)
ADDENDS = st.floats(-(2.0**100), 2.0**100, width=32)
SCORES = st.floats(-1e6, 1e6) | st.floats(-2, 2)


@settings(max_examples=200)
@given(
    factors=st.none() | arrays.arrays(np.float32, 4, elements=FACTORS | st.floats(0.5, 2, width=32)),
    addends=st.none() | arrays.arrays(np.float32, 4, elements=ADDENDS | st.floats(-1, 1, width=32)),
    scores=st.lists(SCORES, min_size=1, max_size=8),
)
def test_no_product_comes_above_the_bound_of_its_score(
    factors: np.ndarray | None, addends: np.ndarray | None, scores: list[float]
) -> None:
    boosts = Boosts(factors, addends)
    for limit in scores:
        highest = max(float(boosts.apply(np.float64([score]), slice(None)).max()) for score in scores if score <= limit)
        assert boosts.bound(limit) >= highest
        if factors is None or addends is None:  # then it is the score of a product
            assert boosts.bound(limit) == boosts.apply(np.float64([limit]), slice(None)).max()


def test_padding_stays_and_an_empty_index_has_boosts() -> None:
    boosts = Boosts(np.float32([2.0, 0.5]), np.float32([1.0, -1.0]))
    assert boosts.apply(np.array([1.0, -np.inf]), np.array([0, -1])).tolist() == [3.0, -np.inf]
    assert boosts.bound(-np.inf) == -np.inf
    empty = Boosts.of(parse_boost([{"column": "price", "multiply": 1}]), table_of([]), TODAY)
    assert empty.apply(np.empty(0), slice(None)).tolist() == []


def test_the_cache_keeps_boosts_and_makes_those_that_depend_on_the_day_anew() -> None:
    tomorrow = TODAY + timedelta(days=1)
    rows: list[dict[str, Any]] = [dict.fromkeys(COLUMNS) | {"made": TODAY, "listed": datetime(2026, 1, 1, tzinfo=UTC)}]
    cache = BoostCache(table_of(rows), most_bytes=2 * (ENTRY_BYTES + 4))  # two boosts of one product with one array
    fixed = parse_boost([{"column": "made", "half_life_days": 1, "now": "2026-02-02", "add": 1}])
    moving = parse_boost([{"column": "made", "half_life_days": 1, "add": 1}])
    first = cache.get(fixed, TODAY)
    assert first.addends == [0.25]
    assert (
        cache.get(parse_boost('[{"add": 1.0, "column": "made", "now": "2026-02-02", "half_life_days": 1}]'), TODAY)
        is first
    )
    assert cache.get(fixed, tomorrow) is first
    assert [cache.get(moving, day).addends for day in (TODAY, tomorrow)] == [[1.0], [0.5]]
    assert len(cache) == 2
    assert cache.get(fixed, TODAY) is not first
