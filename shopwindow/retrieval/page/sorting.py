"""The order of products by a column."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.request.attribute_columns import AttributeTable, ListColumn, TextColumn
from shopwindow.retrieval.request.page.sort_reading import Sort


def sort_order(sort: Sort, table: AttributeTable, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Order products by a column.

    Args:
        sort: checked with `check_sort` against the same table.
        table: the attribute columns of the index.
        rows: (n,) int64 row numbers, in ranking order.
        scores: (n,) their scores.

    Returns:
        (n,) int64: the places of `rows` in the new order. Values compare exactly: whole numbers also beyond 2^53, texts
        by Unicode code point, times by moment. Products without a value come last. Products with equal values, or
        without one, keep the order of falling scores, and then of places.
    """
    column = table.get(sort.by)
    assert column is not None and not isinstance(column, ListColumn), f"unchecked sort: {sort.by!r}"
    if isinstance(column, TextColumn):
        codes = column.codes[rows]
        missing, values = codes < 0, _ranks(codes, column.texts)
    else:
        missing, values = ~column.present[rows], column.numbers[rows]
    if sort.descending:
        # Not the negative of whole numbers: an unsigned one, and the least signed one, have none.
        values = -values if values.dtype.kind == "f" else ~values
    values[missing] = 0
    # `lexsort` is stable, so equal products keep their places.
    return np.asarray(np.lexsort((-scores, values, missing)))


def _ranks(codes: np.ndarray, texts: list[str]) -> np.ndarray:
    """Return the place of each code's text among these texts by code point; anything for the code of no value, -1."""
    distinct, places = np.unique(codes, return_inverse=True)
    held = [texts[code] if code >= 0 else "" for code in distinct.tolist()]
    ranks = np.empty(len(held), np.int64)
    ranks[sorted(range(len(held)), key=held.__getitem__)] = np.arange(len(held))
    return ranks[places]
