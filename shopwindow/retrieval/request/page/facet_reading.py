"""Read which facets a page shows: the values, or the ranges, of an attribute and how many products have each.

{"colour": 20}                                        the 20 most frequent colours
{"price": {"ranges": [0, 25, 50, null]}}              0 <= price < 25, 25 <= price < 50, 50 <= price
{"made": {"ranges": [null, "2024-01-01", null]}}      before 2024, and since then
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.attribute_columns import (
    AttributeTable,
    Column,
    ListColumn,
    NumberColumn,
    TextColumn,
    TimeColumn,
)
from shopwindow.retrieval.request.filter_rows import known_column
from shopwindow.retrieval.request.json_text import read_json
from shopwindow.retrieval.request.moments import read_moment

MAX_FACETS = 20
MAX_VALUES = 1_000
MAX_EDGES = 100

Edge = int | float | str | None


@dataclass(frozen=True)
class Facet:
    """What to count in one column.

    Attributes:
        column: name of the column.
        values: how many values to list at most, 1 to MAX_VALUES; 0 for ranges.
        edges: where ranges begin and end, rising: numbers, or dates and timestamps as ISO texts. None at an end leaves
            it open. None instead of the tuple: the facet lists values.
    """

    column: str
    values: int = 0
    edges: tuple[Edge, ...] | None = None


def parse_facets(value: str | Mapping[str, Any]) -> tuple[Facet, ...]:
    """Read the parameter `facets`.

    Args:
        value: the JSON text, at most MAX_JSON_BYTES, or the object that it stands for.

    Returns:
        At most MAX_FACETS facets, in the order of the request.

    Raises:
        InvalidRequest: not JSON, not an object, a facet of the wrong form, or beyond a limit.
    """
    given = read_json("facets", value) if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise InvalidRequest("facets", f"must be a JSON object of column: number of values, got {show(given)}")
    if len(given) > MAX_FACETS:
        raise InvalidRequest("facets", f"at most {MAX_FACETS} facets, got {len(given)}")
    return tuple(_facet(column, form) for column, form in given.items())


def _facet(column: Any, form: Any) -> Facet:
    if not isinstance(column, str):
        raise InvalidRequest("facets", f"the name of a column must be a text, got {show(column)}")
    field = _field(column)
    if isinstance(form, Mapping):
        if list(form) != ["ranges"]:
            raise InvalidRequest(field, f'must be a number or {{"ranges": [...]}}, got {show(form)}')
        return Facet(column, edges=_edges(f"{field}.ranges", form["ranges"]))
    if isinstance(form, bool) or not isinstance(form, int) or not 1 <= form <= MAX_VALUES:
        raise InvalidRequest(
            field, f'must be an integer from 1 to {MAX_VALUES} or {{"ranges": [...]}}, got {show(form)}'
        )
    return Facet(column, values=form)


def _field(column: str) -> str:
    return f"facets.{column}"[:60]


def _edges(field: str, edges: Any) -> tuple[Edge, ...]:
    if not isinstance(edges, list | tuple) or not 2 <= len(edges) <= MAX_EDGES:
        count = f" {len(edges)}: " if isinstance(edges, list | tuple) else " "
        raise InvalidRequest(field, f"must be a list of 2 to {MAX_EDGES} edges, got{count}{show(edges)}")
    if None in edges[1:-1]:
        raise InvalidRequest(field, f"null may stand only first and last, got {show(edges)}")
    closed = [edge for edge in edges if edge is not None]
    if len({isinstance(edge, str) for edge in closed}) > 1:
        raise InvalidRequest(field, f"must be all numbers or all dates, got {show(edges)}")
    places = [_place(field, edge) for edge in closed]
    for number, (before, after) in enumerate(pairwise(places)):
        if not before < after:
            raise InvalidRequest(field, f"must rise, got {show(closed[number])} before {show(closed[number + 1])}")
    return tuple(edges)


def _place(field: str, edge: Any) -> int | float:
    """Return what to compare an edge by."""
    if isinstance(edge, str):
        try:
            return read_moment(edge).start
        except (ValueError, OverflowError):
            pass
    elif isinstance(edge, int | float) and not isinstance(edge, bool):
        if isinstance(edge, float) and not math.isfinite(edge):
            raise InvalidRequest(field, f"must be finite, got {edge}")
        if isinstance(edge, int) and not -(2**63) <= edge < 2**64:
            raise InvalidRequest(field, f"must fit 64 bits, got {show(edge)}")
        return edge
    raise InvalidRequest(field, f"an edge is a number, a date like 2024-01-31 or null, got {show(edge)}")


def check_facets(facets: tuple[Facet, ...], table: AttributeTable) -> None:
    """Raise InvalidRequest if a facet names an unknown column, or ranges that its column cannot have."""
    for facet in facets:
        field = _field(facet.column)
        column = known_column(field, facet.column, table)
        if facet.edges is not None:
            _check_edges(field, facet.edges, column)


def _check_edges(field: str, edges: tuple[Edge, ...], column: Column) -> None:
    single = column.values if isinstance(column, ListColumn) else column
    if isinstance(single, TextColumn) or (isinstance(single, NumberColumn) and single.boolean):
        kind = "text" if isinstance(single, TextColumn) else "true and false"
        raise InvalidRequest(field, f"ranges need numbers or dates; the column holds {kind}")
    for edge in edges:
        if edge is not None and isinstance(edge, str) != isinstance(single, TimeColumn):
            kind = "dates; write one like 2024-01-31" if isinstance(single, TimeColumn) else "numbers"
            raise InvalidRequest(field, f"the column holds {kind}, got {show(edge)}")
