"""The request parameters that make a result page: what else to return, which places, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.page.boost_reading import BoostTerm, check_boost, parse_boost
from shopwindow.retrieval.request.page.collapse_reading import Collapse, check_collapse, parse_collapse
from shopwindow.retrieval.request.page.facet_reading import Facet, check_facets, parse_facets
from shopwindow.retrieval.request.page.field_reading import parse_fields
from shopwindow.retrieval.request.page.sort_reading import Sort, check_sort, parse_sort
from shopwindow.retrieval.request.scalars import read_integer, read_number

PLACES = 10_000  # the last place of a ranking that a page can show
_MAX_GENERATION = 2**53  # the largest integer that JSON readers keep exact

PAGE_PARAMETERS = (
    "boost",
    "collapse",
    "diversity",
    "facet_over",
    "facets",
    "fields",
    "generation",
    "offset",
    "sort",
)
PAGE_OUTPUTS = frozenset({"attributes", "total", "facets", "group_sizes", "group_members"})


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """What a request asks for beside the ids of its best products.

    Attributes:
        fields: attribute columns to return with each product, in the output `attributes`.
        offset: places of the ranking to skip. Give it on every page, 0 on the first one.
        generation: the generation of the index that must answer, so that all pages are of one ranking. Another one
            answers NOT_FOUND.
        facets: columns of which the output `facets` counts the values, with the number of values to list, or ranges.
            Each facet leaves out the conditions of `filter` on its own column.
        facet_over: facets count over so many first places of the ranking, not over all products that qualify.
        collapse: the column of which each value is shown once, with its best product. A product without a value
            stands alone.
        boost: terms that change scores before the cut: condition or column, and what it adds to the score or
            multiplies it by.
        sort: the column to order by, among so many first places, or among all products that reach `min_score`.
        diversity: strength of maximal marginal relevance over the first 200 places.
    """

    fields: tuple[str, ...] = ()
    offset: int | None = None
    generation: int | None = None
    facets: tuple[Facet, ...] = ()
    facet_over: int | None = None
    collapse: Collapse | None = None
    boost: tuple[BoostTerm, ...] = ()
    sort: Sort | None = None
    diversity: float | None = None

    @property
    def ranks(self) -> bool:
        """Whether the page needs more than the top_k products of the best scores."""
        changes = (self.offset, self.collapse, self.sort, self.diversity)
        return bool(self.boost) or any(change is not None for change in changes)

    def check(self, table: AttributeTable, *, min_score_given: bool) -> None:
        """Check the columns that a page names.

        Args:
            table: the attribute columns of the index.
            min_score_given: whether the request has a `min_score`.

        Raises:
            InvalidRequest: a column is unknown, or has the wrong type.
        """
        check_facets(self.facets, table)
        check_boost(self.boost, table)
        if self.collapse is not None:
            check_collapse(self.collapse, table)
        if self.sort is not None:
            check_sort(self.sort, table, min_score_given=min_score_given)


def parse_page(values: Mapping[str, Any], top_k: int) -> PageRequest | None:
    """Read the parameters of a page.

    Args:
        values: name -> value; names of other parameters are ignored, and so are values of None.
        top_k: the request's `top_k`.

    Returns:
        The page, or None if the request has none of its parameters.

    Raises:
        InvalidRequest: a value is outside its limits, or two parameters contradict each other.
    """
    given = {name: values[name] for name in PAGE_PARAMETERS if values.get(name) is not None}
    if not given:
        return None
    page = PageRequest(**{name: _READ[name](value) for name, value in given.items()})
    if page.offset is not None and page.offset + top_k > PLACES:
        raise InvalidRequest(
            "offset", f"offset + top_k must be at most {PLACES}, got {page.offset} + {top_k}; narrow the search instead"
        )
    if page.facet_over is not None and not page.facets:
        raise InvalidRequest("facet_over", f"needs facets to count, got {page.facet_over} and none")
    if page.diversity is not None and page.sort is not None:
        raise InvalidRequest("diversity", "cannot be combined with sort, which decides the whole order; leave one out")
    return page


def _diversity(value: Any) -> float:
    strength = read_number("diversity", value)
    if not 0 < strength <= 1:
        raise InvalidRequest("diversity", f"must be above 0 and at most 1, got {strength:g}")
    return strength


_READ: dict[str, Callable[[Any], Any]] = {
    "boost": parse_boost,
    "collapse": parse_collapse,
    "diversity": _diversity,
    "facet_over": lambda value: read_integer("facet_over", value, 1, PLACES),
    "facets": parse_facets,
    "fields": parse_fields,
    "generation": lambda value: read_integer("generation", value, 0, _MAX_GENERATION),
    "offset": lambda value: read_integer("offset", value, 0, PLACES),
    "sort": parse_sort,
}
