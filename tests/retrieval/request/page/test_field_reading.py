"""The parameter `fields`: what is read, and what is refused with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.request.page.field_reading import parse_fields


@pytest.mark.parametrize("given", [["price", "title"], ("price", "title"), '["price", "title"]'])
def test_names_keep_their_order_as_text_and_as_values(given: Any) -> None:
    assert parse_fields(given) == ("price", "title")


def test_fifty_columns_are_the_most() -> None:
    names = [f"column {number}" for number in range(51)]
    assert parse_fields(json.dumps(names[:50])) == tuple(names[:50])
    with pytest.raises(InvalidRequest, match=r"^fields: at most 50 columns, got 51$"):
        parse_fields(names)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("title", r"^fields: not valid JSON .*'title'"),
        ("[" * 10_000, r"^fields: not valid JSON"),
        ("[" * 20_000, r"^fields: at most 16384 bytes of JSON, got 20000"),
        ("[1" + "0" * 5_000 + "]", r"^fields: not valid JSON"),
        ('{"title": 1}', r"^fields: must be a JSON list of column names, .*got \{'title': 1\}"),
        ("[]", r"^fields: must be a JSON list .*got \[\]"),
        (7, r"^fields: must be a JSON list .*got 7"),
        (["title", 7], r"^fields\[1\]: must be the name of a column, got 7"),
        (["title", ""], r"^fields\[1\]: must be the name of a column, got ''"),
        (["title", ["title"]], r"^fields\[1\]: must be the name"),
        (["title", "price", "title"], r"^fields\[2\]: 'title' appears twice"),
    ],
)
def test_anything_else_is_refused_with_its_place(given: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        parse_fields(given)
