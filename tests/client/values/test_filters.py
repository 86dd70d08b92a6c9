"""Filters written in Python: what they say to the server, and what they must not be."""

from __future__ import annotations

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
        (colour == "red", {"colour": {"eq": "red"}}),
        (colour != "red", {"colour": {"ne": "red"}}),
        (maker.isin(["a", "b"]), {"brand": {"in": ["a", "b"]}}),
        (maker.not_in({"a"}), {"brand": {"not_in": ["a"]}}),
        (stock.exists(), {"stock": {"exists": True}}),
        (stock.exists(False), {"stock": {"exists": False}}),
        # What one flat object can say is said so, as every server reads that.
        ((price >= 10) & (price < 50), {"price": {"gte": 10, "lt": 50}}),
        ((price >= 10) & (colour == "red"), {"price": {"gte": 10}, "colour": {"eq": "red"}}),
        # The second test of the same kind would overwrite the first.
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
def test_what_is_written_is_what_is_sent(written: Filter, sent: dict[str, Any]) -> None:
    assert written.tree == sent


def test_combining_leaves_the_parts_as_they_were() -> None:
    cheap = price < 50
    assert (cheap & (price > 10)).tree == {"price": {"lt": 50, "gt": 10}}
    assert cheap.tree == {"price": {"lt": 50}}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: field(""), "field must be a column's name"),
        (lambda: field("not"), "other than and, or, not"),
        (lambda: colour == None, "use exists"),  # noqa: E711
        (lambda: colour == ["red"], "needs a text, a number or True/False"),
        (lambda: maker.isin("abc"), "isin needs a list of values, got 'abc'"),
        (lambda: maker.isin([]), "isin needs at least one value"),
    ],
)
def test_what_cannot_be_meant_is_named(wrong: Any, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        wrong()


def test_python_s_own_and_or_not_are_refused_and_not_half_heard() -> None:
    for wrong in (lambda: (price < 1) and (price > 2), lambda: not (price < 1), lambda: 1 < price < 2):
        with pytest.raises(TypeError, match="combine with &"):
            wrong()


def test_a_server_finds_exactly_what_a_filter_says(served: Any, shop: Any) -> None:
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
