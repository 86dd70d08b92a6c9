"""Filters written in Python: what they send to the server, and which mistakes they report."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow_client import Filter, InvalidRequest, RetrievalClient, field

price, colour, maker, stock = map(field, ("price", "colour", "brand", "stock"))


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (price < 50, {"price": {"lt": 50}}),
        (price <= 50, {"price": {"lte": 50}}),
        (price > np.float32(0.5), {"price": {"gt": 0.5}}),
        (np.float32(0.5) < price, {"price": {"gt": 0.5}}),
        (colour == "red", {"colour": {"eq": "red"}}),
        (colour != "red", {"colour": {"ne": "red"}}),
        (maker.isin(["a", "b"]), {"brand": {"in": ["a", "b"]}}),
        (maker.not_in({"a"}), {"brand": {"not_in": ["a"]}}),
        (stock.exists(), {"stock": {"exists": True}}),
        (stock.exists(False), {"stock": {"exists": False}}),
        # One flat object if possible, because every server reads that.
        ((price >= 10) & (price < 50), {"price": {"gte": 10, "lt": 50}}),
        ((price >= 10) & (colour == "red"), {"price": {"gte": 10}, "colour": {"eq": "red"}}),
        # In one flat object the second test would overwrite the first.
        ((price < 10) & (price < 50), {"and": [{"price": {"lt": 10}}, {"price": {"lt": 50}}]}),
        (
            (price < 1) | (price > 2) | (price == 1.5),
            {"or": [{"price": {op: v}} for op, v in (("lt", 1), ("gt", 2), ("eq", 1.5))]},
        ),
        (~(colour == "red"), {"not": {"colour": {"eq": "red"}}}),
        (
            ((price < 50) | (stock > 0)) & ~maker.isin(["a"]),
            {"and": [{"or": [{"price": {"lt": 50}}, {"stock": {"gt": 0}}]}, {"not": {"brand": {"in": ["a"]}}}]},
        ),
    ],
)
def test_a_filter_becomes_the_object_that_the_server_reads(written: Filter, sent: dict[str, Any]) -> None:
    assert written.tree == sent


def test_combining_filters_does_not_change_them() -> None:
    cheap = price < 50
    assert (cheap & (price > 10)).tree == {"price": {"lt": 50, "gt": 10}}
    assert cheap.tree == {"price": {"lt": 50}}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: field(""), "field must be a column's name"),
        (lambda: field("not"), "other than and, or, not"),
        (lambda: colour == None, "use exists"),  # noqa: E711
        (lambda: colour == ["red"], "needs a text, a number, a date or True/False"),
        (lambda: maker.isin("abc"), "isin needs a list of values, got 'abc'"),
        (lambda: maker.isin([]), "isin needs at least one value"),
    ],
)
def test_a_wrong_name_or_value_is_refused(wrong: Any, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        wrong()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: (price < 1) and (price > 2),
        lambda: (price < 1) or (price > 2),
        lambda: not (price < 1),
        lambda: 1 < price < 2,
        lambda: colour and (price < 1),
        lambda: not colour,
        lambda: colour in ["red", "blue"],
    ],
)
def test_python_s_own_words_are_an_error_that_names_the_operators_to_write(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"Write & instead of and.*\.isin.*\(field\(\"price\"\) >= 10\) & "):
        wrong()


@pytest.mark.parametrize(
    ("wrong", "read"),
    [
        (lambda: price < 50 & (colour == "red"), "50 & Filter({'colour': {'eq': 'red'}})"),
        (lambda: colour == "red" & (price < 50), "'red' & Filter({'price': {'lt': 50}})"),
        (lambda: (price < 50) & colour == "red", "Filter({'price': {'lt': 50}}) & field('colour')"),
        (lambda: price == 1 & stock == 2, "1 & field('stock')"),
        (lambda: price < 50 | stock.exists(), "50 | Filter({'stock': {'exists': True}})"),
        (lambda: stock & (price < 50), "field('stock') & Filter({'price': {'lt': 50}})"),
        (lambda: stock | price, "field('stock') | field('price')"),
        (lambda: (price < 50) & {"stock": 1}, "Filter({'price': {'lt': 50}}) & {'stock': 1}"),
        (lambda: (price < 50) | True, "Filter({'price': {'lt': 50}}) | True"),
        (lambda: np.int64(50) & (price < 50), "50 & Filter({'price': {'lt': 50}})"),
    ],
)
def test_missing_parentheses_are_an_error_that_shows_where_they_belong(wrong: Any, read: str) -> None:
    operator = "&" if " & " in read else "|"
    advice = f'(field("price") < 50) {operator} (field("colour") == "red")'
    said = f"this is {read}. Python reads {operator} before "
    with pytest.raises(TypeError, match=f"{re.escape(said)}.*{re.escape(advice)}$"):
        wrong()


def test_a_negation_without_parentheses_shows_where_they_belong() -> None:
    with pytest.raises(TypeError, match=re.escape("in parentheses: ~(field('colour') == ...)")):
        ~colour == "red"  # noqa: B015


def test_a_server_finds_exactly_the_products_that_meet_a_filter(served: Any, shop: Any) -> None:
    products = pq.read_table(shop / "products.parquet").to_pylist()
    brand, other = sorted({product["brand"] for product in products})[:2]
    written = ((price < 40) | (colour == "red")) & ~maker.isin([brand, other]) & (colour != "blue")
    expected = {
        product["product_id"]
        for product in products
        if (product["price"] < 40 or product["colour"] == "red")
        and product["brand"] not in (brand, other)
        and product["colour"] != "blue"
    }
    assert 0 < len(expected) < len(products)
    with RetrievalClient(served.grpc_url, timeout_s=30.0) as client:
        found = client.retrieve("a gift", top_k=len(products), filter=written)
    assert set(found[0].ids.tolist()) == expected
