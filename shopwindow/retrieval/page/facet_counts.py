"""Count how many products have each value of a facet."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from shopwindow.retrieval.page.facet_groups import FacetGroups
from shopwindow.retrieval.page.facet_rows import FacetRows
from shopwindow.retrieval.page.facet_values import facet_values, shown
from shopwindow.retrieval.page.kept_facets import kept_facets
from shopwindow.retrieval.request.attribute_columns import AttributeTable, Column
from shopwindow.retrieval.request.page.facet_reading import Facet

# If at most one row in so many is counted, reading the values of these rows is faster than counting under a mask.
_FEW = 128

_LARGEST_GROUP = 2**31  # so that group number times number of values fits 64 bits


def count_facet(
    facet: Facet, table: AttributeTable, rows: np.ndarray | None, groups: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Count a facet.

    Args:
        facet: a facet that `check_facets` passed.
        table: the attribute columns of the index.
        rows: what to count: (rows,) bool, or (chosen,) int64 row numbers without repetitions; None for all rows.
        groups: (rows,) int64, the group of each row. A group counts for a value once if one of its counted rows has
            it. None counts rows.

    Returns:
        `{"value": ..., "count": ...}` of the most frequent values that occur, by falling count, then by rising value
        (texts by code point); or `{"from": ..., "to": ..., "count": ...}` of each range, in order. A missing value, and
        an infinite number, which JSON has not, counts for no value. All can be written as JSON.
    """
    column = table.get(facet.column)
    assert column is not None, f"unchecked facet: no column {facet.column!r}"
    few = None if rows is None else _few(rows, table.rows)
    if few is not None:
        found = facet_values(facet, column, few)
        if groups is None:
            counts = np.bincount(found.codes, minlength=found.size)
        else:
            counts = _distinct(found.codes, groups.take(few[found.places]), found.size)
        return _listed(facet, column, found.values, counts)
    by_value: FacetRows | FacetGroups
    kept, named = kept_facets(table), replace(facet, values=0)  # it is the same for any number of values to list
    if groups is None:
        by_value = kept.get((FacetRows, named), lambda: FacetRows(facet_values(facet, column), table.rows))
    else:
        numbers = groups
        # What is kept holds the groups, so no other array has the same `id`.
        by_value = kept.get((FacetGroups, named, id(groups)), lambda: FacetGroups(facet_values(facet, column), numbers))
    counts = by_value.totals if rows is None else by_value.counts(_mask(rows, table.rows))
    return _listed(facet, column, by_value.values, counts)


def _few(rows: np.ndarray, count: int) -> np.ndarray | None:
    """Return the row numbers if they are few, else None."""
    if rows.dtype != bool:
        return rows if len(rows) * _FEW <= count else None
    return np.flatnonzero(rows) if np.count_nonzero(rows) * _FEW <= count else None


def _mask(rows: np.ndarray, count: int) -> np.ndarray:
    if rows.dtype == bool:
        return rows
    mask = np.zeros(count, bool)
    mask[rows] = True
    return mask


def _distinct(codes: np.ndarray, groups: np.ndarray, size: int) -> np.ndarray:
    """Return how many different groups come with each code.

    Args:
        codes: (pairs,) of an integer type, 0 to size - 1.
        groups: (pairs,) int64.
        size: how many codes there are.

    Returns:
        (size,) int64.
    """
    if len(groups) and not 0 <= groups.min() <= groups.max() < _LARGEST_GROUP:
        groups = np.unique(groups, return_inverse=True)[1]
    count = int(groups.max(initial=0)) + 1
    pairs = codes.astype(np.int64) * count + groups
    return np.bincount(np.unique(pairs) // count, minlength=size)


def _listed(facet: Facet, column: Column, values: np.ndarray | None, counts: np.ndarray) -> list[dict[str, Any]]:
    if values is None:
        assert facet.edges is not None
        ranges = zip(pairwise(facet.edges), counts.tolist(), strict=True)
        return [{"from": low, "to": high, "count": count} for (low, high), count in ranges]
    least = 1
    if len(counts) > facet.values:
        least = max(1, int(np.partition(counts, -facet.values)[-facet.values]))
    listed = np.flatnonzero(counts >= least)  # rising values, so a stable sort by count leaves equals in order
    listed = listed[np.argsort(-counts[listed], kind="stable")[: facet.values]]
    texts = shown(column, values[listed])
    return [{"value": value, "count": count} for value, count in zip(texts, counts[listed].tolist(), strict=True)]
