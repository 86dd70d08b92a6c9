"""The requests that are compared: bare ids, and the same query with one part of a result page, or with all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shopwindow_loadtests.peers.bench_columns import LAST_DAY

TOP_K = 48
PAGES = 5, 20  # the pages that are compared with all products up to them
BARE, FILTERED, LIKE = "bare ids", "filter", "like, one product"
ALL = "all together"
CPU, P50 = "cpu_ms", "p50_ms"
FACETS = {
    "colour": 12,
    "brand": 50,
    "in_stock": 2,
    "sizes": 50,
    "price": {"ranges": [0, 25, 50, 100, None]},
}
FIELDS = ["title", "price", "brand"]
BOOST = [{"if": {"in_stock": True}, "add": 0.03}, {"column": "margin", "add": 0.05}]
DATED_BOOST = [{"column": "made", "half_life_days": 90, "now": LAST_DAY.isoformat(), "multiply": 0.2}]
# A server keeps the masks and counts of recent filters. So each filtered query has a price limit of its own.
_FIRST_PRICE, _PRICES, _CENT = 30.0, 5_000, 0.01


def price_limit(number: int) -> float:
    """Return the price below which the products of query `number` must cost: for each of 5,000 another one."""
    return round(_FIRST_PRICE + _CENT * (number % _PRICES), 2)


def some_products(number: int) -> Mapping[str, Any]:
    """Return the filter of query `number`; a third to two thirds of the products satisfy it."""
    return {"in_stock": True, "price": {"lt": price_limit(number)}}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One kind of request.

    Attributes:
        name: Its name in the results.
        parameters: Returns its parameters for the number of a query, beside `top_k`.
        outputs: Its outputs beside product_ids and scores.
        top_k: Products of a page.
        like: Whether it goes to `product_index` with a product in place of words.
        beside: The variant that it is compared with.
        figure: What of both is compared: CPU or P50.
        limit: The largest ratio wanted; None if there is no target.
    """

    name: str
    parameters: Callable[[int], Mapping[str, Any]] = lambda number: {}
    outputs: tuple[str, ...] = ()
    top_k: int = TOP_K
    like: bool = False
    beside: str = BARE
    figure: str = CPU
    limit: float | None = None

    def texts(self, number: int) -> dict[str, str | int]:
        """Return all parameters as they are sent: whole numbers, and JSON for the rest."""
        given = {"top_k": self.top_k, **self.parameters(number)}
        return {name: value if isinstance(value, str | int) else json.dumps(value) for name, value in given.items()}


def _fixed(**parameters: Any) -> Callable[[int], Mapping[str, Any]]:
    return lambda number: parameters


def _up_to(page: int) -> str:
    return f"bare ids, top {TOP_K * page}"


def _filtered(**parameters: Any) -> Callable[[int], Mapping[str, Any]]:
    return lambda number: {"filter": some_products(number), **parameters}


_WHOLE: dict[str, Any] = {"fields": FIELDS, "facets": FACETS, "collapse": "style", "boost": BOOST, "offset": 0}
_WHOLE_OUTPUTS = ("attributes", "facets", "total", "group_sizes")
VARIANTS = (
    Variant(name=BARE),
    *(Variant(name=_up_to(page), top_k=TOP_K * page) for page in PAGES),
    Variant(name=FILTERED, parameters=_filtered()),
    Variant(name="fields", parameters=_fixed(fields=FIELDS), outputs=("attributes",), limit=1.1),
    Variant(name="facets", parameters=_fixed(facets=FACETS), outputs=("facets", "total"), limit=1.5),
    Variant(
        name="facets of a new filter",
        parameters=_filtered(facets=FACETS),
        outputs=("facets", "total"),
        beside=FILTERED,
        limit=1.5,
    ),
    Variant(name="collapse", parameters=_fixed(collapse="style"), outputs=("group_sizes",), limit=1.3),
    Variant(name="boost", parameters=_fixed(boost=BOOST), limit=1.3),
    Variant(name="boost by date", parameters=_fixed(boost=DATED_BOOST)),
    Variant(name="sort", parameters=_fixed(sort={"by": "price", "among": 500})),
    Variant(name="diversity", parameters=_fixed(diversity=0.3)),
    Variant(name="page 1", parameters=_fixed(offset=0)),
    *(
        Variant(name=f"page {page}", parameters=_fixed(offset=TOP_K * (page - 1)), beside=_up_to(page), limit=1.0)
        for page in PAGES
    ),
    Variant(name=LIKE, like=True, limit=0.6),
    Variant(name=ALL, parameters=_fixed(**_WHOLE), outputs=_WHOLE_OUTPUTS, figure=P50, limit=2.5),
    Variant(
        name="all together, new filter",
        parameters=_filtered(**_WHOLE),
        outputs=_WHOLE_OUTPUTS,
        figure=P50,
        limit=2.5,
    ),
)
