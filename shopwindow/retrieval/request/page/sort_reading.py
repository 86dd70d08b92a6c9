"""The request parameter `sort`: order the best products by a column.

{"by": "price", "among": 500}                   the 500 best products, the cheapest first
{"by": "made", "order": "desc"}                 with min_score: all products that reach it, the newest first
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.attribute_columns import AttributeTable, ListColumn
from shopwindow.retrieval.request.filter_rows import known_column
from shopwindow.retrieval.request.json_text import read_json, refuse_unknown_keys

MAX_AMONG = 10_000
_KNOWN = ("by", "order", "among")
_ORDERS = {"asc": False, "desc": True}


@dataclass(frozen=True)
class Sort:
    """An order by a column.

    Attributes:
        by: name of the column.
        descending: whether the largest value comes first. Products without a value come last in any case.
        among: how many of the first places of the ranking are ordered, 1 to MAX_AMONG; None for all products that reach
            `min_score`.
    """

    by: str
    descending: bool = False
    among: int | None = None


def parse_sort(value: str | Mapping[str, Any]) -> Sort:
    """Read the parameter `sort`.

    Args:
        value: the JSON text, or the object that it stands for.

    Raises:
        InvalidRequest: not JSON, not an object, an unknown key, or a value of the wrong form or outside its limits.
    """
    read = read_json("sort", value) if isinstance(value, str) else value
    if not isinstance(read, Mapping):
        raise InvalidRequest("sort", f'must be a JSON object like {{"by": "price", "among": 500}}, got {show(read)}')
    refuse_unknown_keys("sort", read, _KNOWN)
    by, order, among = read.get("by"), read.get("order", "asc"), read.get("among")
    if not isinstance(by, str):
        raise InvalidRequest("sort.by", f"must be the name of a column, got {show(by)}")
    if not isinstance(order, str) or order not in _ORDERS:
        raise InvalidRequest("sort.order", f"must be asc or desc, got {show(order)}")
    if "among" in read and (type(among) is not int or not 1 <= among <= MAX_AMONG):
        raise InvalidRequest("sort.among", f"must be an integer from 1 to {MAX_AMONG}, got {show(among)}")
    return Sort(by, _ORDERS[order], among)


def check_sort(sort: Sort, table: AttributeTable, min_score_given: bool) -> None:
    """Check that an index, and a request with or without `min_score`, can be sorted.

    Raises:
        InvalidRequest: an unknown column, a column of lists, or neither `among` nor `min_score` is given.
    """
    if isinstance(known_column("sort.by", sort.by, table), ListColumn):
        raise InvalidRequest("sort.by", f"must be a column of single values; {show(sort.by)} holds lists")
    if sort.among is None and not min_score_given:
        raise InvalidRequest(
            "sort", f"needs among (1 to {MAX_AMONG} places of the ranking) or the parameter min_score, got neither"
        )
