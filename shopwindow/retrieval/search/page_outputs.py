"""The outputs of a result page beside its products: attributes, counts and groups."""

from __future__ import annotations

import json
from collections.abc import Callable, Set
from dataclasses import replace
from typing import Any

import numpy as np

from shopwindow.base.recently_used import short_key
from shopwindow.retrieval.page.facet_counts import count_facet
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.filter_conditions import Filter, without_own
from shopwindow.retrieval.request.page.facet_reading import Facet
from shopwindow.retrieval.request.page.page_request import PageRequest
from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.retrieval.search.exact import SearchResult
from shopwindow.retrieval.search.product_index import ProductIndex
from shopwindow.retrieval.search.ranking import Ranking


def page_outputs(
    index: ProductIndex, result: SearchResult, parameters: RequestParameters, names: Set[str]
) -> dict[str, np.ndarray]:
    """Return the outputs of a page.

    Args:
        index: the index that was searched.
        result: what `search_channels` found for a request that has a page.
        parameters: the request's parameters.
        names: the outputs to make; others than those of a page are ignored.

    Returns:
        `attributes` (batch, top_k) bytes objects, JSON; (batch, 0) if the request names no fields. `total` (batch, 1)
        int64; -1 if it cannot be counted. `facets` (batch, 1) bytes objects, JSON; empty if the request has none.
        `group_sizes` (batch, top_k) int64, 0 for padding; (batch, 0) without collapse. `group_members` (batch, top_k)
        bytes objects, JSON; (batch, 0) if none are asked for.
    """
    page = parameters.page or PageRequest()
    batch = len(result.rows)
    outputs: dict[str, np.ndarray] = {}
    if "attributes" in names:
        outputs["attributes"] = index.attribute_rows(result.rows, page.fields)
    if "total" in names:
        outputs["total"] = np.array([[_total(ranking)] for ranking in result.rankings], np.int64).reshape(batch, 1)
    if "facets" in names:
        outputs["facets"] = np.full((batch, 1), b"", np.object_)
        for place, ranking in enumerate(result.rankings if page.facets else ()):
            outputs["facets"][place, 0] = _facets(ranking)
    if "group_sizes" in names:
        sizes = np.zeros(result.rows.shape if page.collapse else (batch, 0), np.int64)
        for ranking, rows, of_row in zip(result.rankings, result.rows, sizes, strict=True) if page.collapse else ():
            of_row[:] = _group_sizes(ranking, rows)
        outputs["group_sizes"] = sizes
    if "group_members" in names:
        asked = page.collapse is not None and page.collapse.members > 0
        members = np.full(result.rows.shape if asked else (batch, 0), b"", np.object_)
        for ranking, rows, of_row in zip(result.rankings, result.rows, members, strict=True) if asked else ():
            of_row[:] = _group_members(ranking, rows)
        outputs["group_members"] = members
    return outputs


def _qualifying(ranking: Ranking, conditions: Filter) -> np.ndarray | None:
    """Return the products that qualify under a filter: a mask (rows,) bool, or row numbers int64; None for all."""
    parameters = ranking.parameters
    if parameters.cuts_off:
        return _with(ranking, conditions).all_good().rows
    mask = ranking.index.mask(conditions)
    rows = None if mask is None else mask.rows
    if parameters.channels == Channel.LEXICAL:
        rows = ranking.word_scores(rows) > 0
    if not len(ranking.excluded):
        return rows
    rows = np.ones(len(ranking.index.product_ids), bool) if rows is None else rows.copy()
    rows[ranking.excluded] = False
    return rows


def _with(ranking: Ranking, conditions: Filter) -> Ranking:
    """Return the ranking of the same query under another filter."""
    if conditions == ranking.parameters.filter:
        return ranking
    # With the least score of the request itself, also where its best product is not the best under the other filter.
    return ranking.filtered(replace(ranking.parameters.uncut(), filter=conditions, min_score=ranking.least))


def _same_for_all_queries(ranking: Ranking) -> bool:
    """Return whether which products qualify depends on the filter alone."""
    parameters = ranking.parameters
    return not parameters.cuts_off and parameters.channels != Channel.LEXICAL and not len(ranking.excluded)


def _counted(ranking: Ranking, key: tuple[Any, ...], count: Callable[[], Any]) -> Any:
    """Return what `count` returns, kept for later queries if it is the same for all of them."""
    return ranking.index.counts.get(short_key(key), count) if _same_for_all_queries(ranking) else count()


def _total(ranking: Ranking) -> int:
    index, parameters = ranking.index, ranking.parameters
    if index.folder is None and parameters.cuts_off:
        return -1
    collapse = parameters.page.collapse if parameters.page is not None else None
    by = None if collapse is None else collapse.by

    if by is not None:
        sizes = _sizes(ranking, by)
        return int(sizes[0] + np.count_nonzero(sizes[1:]))

    def count() -> int:
        if _same_for_all_queries(ranking):
            return index.count_satisfying(parameters.filter)
        rows = _qualifying(ranking, parameters.filter)
        if rows is None:
            return index.manifest.count
        return int(np.count_nonzero(rows)) if rows.dtype == np.bool_ else len(rows)

    found: int = _counted(ranking, ("total", parameters.filter), count)
    return found


def _sizes(ranking: Ranking, by: str) -> np.ndarray:
    """Return how many qualifying products are in no group, and then how many in each: (1 + groups,) int64."""
    conditions = ranking.parameters.filter

    def count() -> np.ndarray:
        found = _qualifying(ranking, conditions)
        numbers = np.maximum(ranking.index.groups.numbers(by), -1).astype(np.int64) + 1
        if found is None:
            return np.bincount(numbers, minlength=1)
        if found.dtype != np.bool_:
            return np.bincount(numbers[found], minlength=1)
        # Faster than picking those in the mask.
        return np.bincount(numbers, weights=found, minlength=1).astype(np.int64)

    sizes: np.ndarray = _counted(ranking, ("sizes", conditions, by), count)
    return sizes


def _facets(ranking: Ranking) -> bytes:
    page = ranking.parameters.page
    assert page is not None
    parts = [_json(facet.column) + b":" + _facet(ranking, page, facet) for facet in page.facets]
    return b"{" + b",".join(parts) + b"}"


def _facet(ranking: Ranking, page: PageRequest, facet: Facet) -> bytes:
    """Return the counts of one facet as JSON."""
    index, by = ranking.index, None if page.collapse is None else page.collapse.by
    conditions = without_own(ranking.parameters.filter, facet.column)
    groups = None if by is None else index.groups.numbers(by)
    if page.facet_over is not None:
        first = _with(ranking, conditions).good(page.facet_over).rows[: page.facet_over]
        return _json(count_facet(facet, index.columns, first, groups))
    found: bytes = _counted(
        ranking,
        (facet, conditions, by),
        lambda: _json(count_facet(facet, index.columns, _qualifying(ranking, conditions), groups)),
    )
    return found


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _group_sizes(ranking: Ranking, rows: np.ndarray) -> np.ndarray:
    """Return how many qualifying products each hit stands for, (top_k,) int64; 0 for padding."""
    index, parameters = ranking.index, ranking.parameters
    assert parameters.page is not None and parameters.page.collapse is not None
    by = parameters.page.collapse.by
    sizes, own = _sizes(ranking, by), index.groups.numbers(by)[rows].astype(np.int64)
    # A product without a value stands alone. The group of a hit always has a size.
    found = np.where(own < 0, 1, sizes[np.clip(own + 1, 0, len(sizes) - 1)])
    return np.where(rows >= 0, found, 0)


def _group_members(ranking: Ranking, rows: np.ndarray) -> list[bytes]:
    """Return the ids of the first members of each hit's group, as JSON; empty for padding."""
    index, parameters = ranking.index, ranking.parameters
    assert parameters.page is not None and parameters.page.collapse is not None
    by, most = parameters.page.collapse.by, parameters.page.collapse.members
    qualify = _qualifying(ranking, parameters.filter)
    if qualify is not None and qualify.dtype != np.bool_:
        mask = np.zeros(len(index.product_ids), bool)
        mask[qualify] = True
        qualify = mask
    groups = [index.groups.rows_like(by, row) for row in rows[rows >= 0].tolist()]
    if qualify is not None:
        groups = [members[qualify[members]] for members in groups]
    found = [b""] * len(rows)  # padding comes last
    if not groups:
        return found
    whole, ends = np.concatenate(groups), np.cumsum([len(members) for members in groups])[:-1]
    # All at once, because the words of a query are scored in the whole index.
    scores, places = np.split(ranking.final_scores(whole), ends), np.split(ranking.places_of(whole), ends)
    for at, members in enumerate(groups):
        # Those with a place in their order. In a merged ranking, the scores of the others do not compare with theirs.
        order = np.lexsort((members, -scores[at], places[at]))[:most]
        found[at] = _json(index.shop_ids(members[order]))
    return found
