"""Random requests for pages over the shops of `shops`: every parameter of a page, in any mix."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.retrieval.page.shops import COLOURS, KINDS, NOW, SIZES, WORDS, grid

Values = st.SearchStrategy[Any]

DATES = st.sampled_from([0, 30, 60, -3, 10, 200]).map(lambda days: (NOW - timedelta(days=days)).isoformat())
OPERANDS: dict[str, Values] = {
    "colour": st.sampled_from([*COLOURS, "unheard of"]),
    "style": st.integers(0, 5).map(lambda number: f"style {number}"),
    "supplier": st.sampled_from([1, 2, 3, 2**40, -7, 4]),
    "price": st.sampled_from([0, 0.5, 7.25, 25, 49.75, 60.5]),
    "stock": st.sampled_from([0, 1, 2.5, 3, 8]),
    "in_stock": st.booleans(),
    "made": DATES,
    "seen": DATES | st.sampled_from(["2026-01-31T00:00:00Z", "2026-01-29T13:00:00+01:00"]),
    "sizes": st.sampled_from(SIZES),
    "widths": st.integers(36, 46),
}
LISTS, UNORDERED = ("sizes", "widths"), ("colour", "style", "sizes", "in_stock")
SINGLE = [name for name in OPERANDS if name not in LISTS]


def condition(column: str) -> Values:
    """Draw a bare value, or one or two operators."""
    one, several = OPERANDS[column], st.lists(OPERANDS[column], min_size=1, max_size=3)
    operators = {"eq": one, "ne": one, "in": several, "not_in": several, "exists": st.booleans()}
    if column not in UNORDERED:
        operators.update(lt=one, lte=one, gt=one, gte=one)
    if column in LISTS:
        operators["contains_all"] = several
    chosen = st.lists(st.sampled_from(sorted(operators)), unique=True, min_size=1, max_size=2)
    return one | chosen.flatmap(lambda names: st.fixed_dictionaries({name: operators[name] for name in names}))


def on_columns(most: int) -> Values:
    """Draw conditions on one to `most` columns."""
    chosen = st.lists(st.sampled_from(sorted(OPERANDS)), unique=True, min_size=1, max_size=most)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: condition(name) for name in names}))


def combined(inner: Values) -> Values:
    """Draw a combination of filters, sometimes beside a condition."""
    several = st.lists(inner, min_size=1, max_size=3)
    joins = {"and": several, "or": several, "not": inner, "stock": condition("stock")}
    return st.sampled_from([("and",), ("or",), ("not",), ("or", "stock"), ("not", "stock")]).flatmap(
        lambda names: st.fixed_dictionaries({name: joins[name] for name in names})
    )


FILTERS = on_columns(2) | st.recursive(on_columns(2), combined, max_leaves=4)

EDGES: dict[str, Values] = {
    "price": st.sampled_from([[0, 25, 50, None], [None, 7.25, 25], [0, 0.5], [None, 10, None]]),
    "stock": st.sampled_from([[0, 1, 3], [None, 2.5, None]]),
    "made": st.sampled_from([["2025-06-01", "2025-12-02", None], [None, "2026-01-31", "2026-02-03"]]),
    "widths": st.sampled_from([[36, 40, 41, None], [None, 39, 46]]),
}


def facet(column: str) -> Values:
    """Draw how to count a column: its most frequent values, or ranges."""
    most: Values = st.sampled_from([1, 2, 5, 1_000])
    return most | st.fixed_dictionaries({"ranges": EDGES[column]}) if column in EDGES else most


FACETS = st.lists(
    st.sampled_from([name for name in OPERANDS if name != "seen"]), unique=True, min_size=1, max_size=4
).flatmap(lambda names: st.fixed_dictionaries({name: facet(name) for name in names}))

# Most weights keep the scores exact. 0.1 and 1.1 do not.
WEIGHTS, FACTORS = st.sampled_from([0.25, -0.125, 0.5, 0.1]), st.sampled_from([0.5, 1.25, 2, 1.1])
TERMS = st.one_of(
    st.fixed_dictionaries({"if": on_columns(1), "add": WEIGHTS}),
    st.fixed_dictionaries({"if": on_columns(1), "multiply": FACTORS}),
    st.fixed_dictionaries({"column": st.sampled_from(["stock", "price"]), "add": st.sampled_from([0.125, -0.03125])}),
    st.fixed_dictionaries({"column": st.just("stock"), "multiply": st.sampled_from([0.25, 1])}),
    *(
        st.fixed_dictionaries(
            {
                "column": st.sampled_from(["made", "seen"]),
                "half_life_days": st.sampled_from([30, 10.5]),
                effect: st.sampled_from([0.25, 0.5]),
                "now": st.just(NOW.isoformat()),
            }
        )
        for effect in ("add", "multiply")
    ),
)

SHARES = ("best*0.5", "best*0.75", "best*1")
AMONG = st.sampled_from([1, 5, 60, 10_000])
PAGE: dict[str, Values] = {
    "filter": FILTERS,
    "top_k": st.sampled_from([1, 3, 10, 100, 500]),
    "offset": st.sampled_from([0, 1, 7, 40, 9_000]),
    "fields": st.lists(st.sampled_from(sorted(KINDS)), unique=True, min_size=1),
    "facets": FACETS,
    "boost": st.lists(TERMS, min_size=1, max_size=3),
    "collapse": st.sampled_from(SINGLE)
    | st.fixed_dictionaries({"by": st.sampled_from(SINGLE), "members": st.integers(0, 4)}),
}


@st.composite
def requests(draw: st.DrawFn, *, channels: tuple[str, ...] = ("embedding", "lexical", "both")) -> dict[str, Any]:
    """Draw the parameters of a request, as Python values."""
    named = draw(st.lists(st.sampled_from(sorted(PAGE)), unique=True, max_size=5))
    request = {name: draw(PAGE[name]) for name in named}
    channel = draw(st.sampled_from(channels))
    if channel == "lexical":
        request["channels"] = channel
    elif channel == "both":
        request["channels"] = "embedding,lexical"
        if draw(st.booleans()):
            request["fusion"] = draw(st.sampled_from(["rrf", "weighted:0.25", "weighted:1"]))
    if draw(st.sampled_from([False, False, True])):
        least = {"embedding": [-0.25, 0.0, 0.3], "lexical": [0.4, 1.1], "both": [0.017, 0.4]}[channel]
        request["min_score"] = draw(st.sampled_from([*least, *SHARES]))
    if "facets" in request and draw(st.booleans()):
        request["facet_over"] = draw(AMONG)
    order = draw(st.sampled_from(["ranking", "sort", "diversity"]))
    if order == "diversity":
        request["diversity"] = draw(st.sampled_from([0.25, 0.5, 1]))
    elif order == "sort":
        sort = {"by": draw(st.sampled_from(SINGLE))}
        if draw(st.booleans()):
            sort["order"] = draw(st.sampled_from(["asc", "desc"]))
        if "min_score" not in request or draw(st.booleans()):
            sort["among"] = draw(AMONG)
        request["sort"] = sort
    return request


def sent(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request as a caller sends it: objects and lists as JSON."""
    return {name: json.dumps(value) if isinstance(value, (dict, list)) else value for name, value in request.items()}


@dataclass(frozen=True)
class Asked:
    """A request with its inputs.

    Attributes:
        vectors: (batch, dim) float32.
        texts: (batch) words to search for.
        request: its parameters.
        likes: (batch) products to search with in place of the vectors, and their weights: number n stands for the n-th
            product that can be found, counted on from the start again after the last. Empty if there are none.
    """

    vectors: np.ndarray
    texts: list[str]
    request: dict[str, Any]
    likes: list[dict[int, float]] = field(default_factory=list)

    @property
    def bare(self) -> bool:
        """Whether it asks for nothing that ranks. Then equal scores come in the order of the engine."""
        return not self.likes and self.request.keys().isdisjoint({"offset", "boost", "collapse", "sort", "diversity"})


@st.composite
def batches(draw: st.DrawFn, *, channels: tuple[str, ...]) -> list[Asked]:
    """Draw one to three requests. Some agree in much of what they ask for."""
    asked = [draw(requests(channels=channels))]
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            asked.append(draw(requests(channels=channels)))
        else:
            changed = draw(st.sampled_from(["top_k", "offset", "collapse", "fields", "boost"]))
            asked.append({**draw(st.sampled_from(asked)), changed: draw(PAGE[changed])})
    return [draw(queries(request)) for request in asked]


@st.composite
def queries(draw: st.DrawFn, request: dict[str, Any]) -> Asked:
    """Draw one or two queries for a request."""
    batch, pool = draw(st.integers(1, 2)), grid(64)
    rows = draw(st.lists(st.integers(0, len(pool) - 1), min_size=batch, max_size=batch))
    texts = st.lists(st.sampled_from([*WORDS, "sofa"]), min_size=1, max_size=3).map(" ".join)
    likes: list[dict[int, float]] = []
    if "channels" not in request and draw(st.sampled_from([False, False, True])):
        like = st.dictionaries(st.integers(0, 20), st.sampled_from([1, 0.5, -0.25]), min_size=1, max_size=3)
        likes = draw(st.lists(like, min_size=batch, max_size=batch))
    return Asked(pool[rows], draw(st.lists(texts, min_size=batch, max_size=batch)), request, likes)
