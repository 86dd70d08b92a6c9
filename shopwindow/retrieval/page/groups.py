"""Which products share a value of a column."""

from __future__ import annotations

import numpy as np

from shopwindow.base.recently_used import RecentlyUsed
from shopwindow.retrieval.request.attribute_columns import AttributeTable, Column, ListColumn, TextColumn

GROUP_BYTES = 128 * 2**20  # all kept groups together, in each serving process: up to 16 bytes a product for each column


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


class Groups:
    """Keeps the groups of the columns that were used last. Threads may share it.

    Args:
        table: the attribute columns of the index.
    """

    def __init__(self, table: AttributeTable) -> None:
        self._table = table
        self._numbers: RecentlyUsed[str, np.ndarray] = RecentlyUsed(GROUP_BYTES // 2, lambda numbers: numbers.nbytes)
        self._ordered: RecentlyUsed[str, tuple[np.ndarray, np.ndarray]] = RecentlyUsed(
            GROUP_BYTES // 2, lambda arrays: arrays[0].nbytes + arrays[1].nbytes
        )

    def numbers(self, name: str) -> np.ndarray:
        """Return `group_numbers` of a column."""

        def numbered() -> np.ndarray:
            column = self._table.get(name)
            assert column is not None, f"unchecked collapse: no column {name!r}"
            return group_numbers(column)

        return self._numbers.get(name, numbered)

    def rows_like(self, name: str, row: int) -> np.ndarray:
        """Return all rows of the group of a row, int64 in rising order."""
        numbers = self.numbers(name)

        def ordered() -> tuple[np.ndarray, np.ndarray]:
            order = np.argsort(numbers, kind="stable")
            return order, numbers[order]

        rows, sorted_numbers = self._ordered.get(name, ordered)
        first, end = (np.searchsorted(sorted_numbers, numbers[row], side) for side in ("left", "right"))
        return rows[first:end]
