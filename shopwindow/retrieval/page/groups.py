"""Which products share a value of a column."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.request.attribute_columns import Column, ListColumn, TextColumn


def group_numbers(column: Column) -> np.ndarray:
    """Number the products so that those with equal values, and only they, have equal numbers.

    Numbers and times are sorted for it, which takes long for many products: keep the result.

    Args:
        column: a column of single values, (rows,).

    Returns:
        (rows,) int64 or a smaller signed type. Numbers of values are 0 or more. A product without a value has the
        number -1 - row, which is its own.
    """
    assert not isinstance(column, ListColumn), "unchecked collapse: a column of lists"
    if isinstance(column, TextColumn):
        present, numbers = column.codes >= 0, column.codes
    else:
        present, numbers = column.present, np.unique(column.numbers, return_inverse=True)[1]
    alone = np.flatnonzero(~present)
    largest = max(len(numbers), int(numbers.max(initial=0)))
    numbers = numbers.astype(np.min_scalar_type(-1 - largest))
    numbers[alone] = -1 - alone
    return numbers
