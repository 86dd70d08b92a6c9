"""Sets of product ids that take little memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from shopwindow.base.product_keys import second_numbers


class IdSet:
    """A growing set of 64-bit ids. It keeps sorted runs of falling length, and merges runs of similar length.

    An id takes 8 bytes, and up to 20 while the longest runs are merged. A Python set takes about 80.

    Args:
        ids: the first ids, (rows,) int64.
    """

    def __init__(self, ids: np.ndarray | None = None) -> None:
        self._runs: list[np.ndarray] = [] if ids is None or not len(ids) else [np.sort(ids)]

    def add(self, ids: np.ndarray) -> None:
        """Add ids, (rows,) int64."""
        run = np.sort(ids)
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort(kind="stable")  # a merge, as both halves are sorted
        if len(run):
            self._runs.append(run)

    def known(self, ids: np.ndarray) -> np.ndarray:
        """Return which of the ids, (rows,) int64, are in the set: (rows,) bool."""
        known = np.zeros(len(ids), dtype=bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, ids), len(run) - 1)
            known |= run[places] == ids
        return known


class ProductSet:
    """The products indexed so far, by the numbers of their ids, and by second numbers of text ids.

    Args:
        numbers: of the first products, (rows,) int64.
        keys: their text ids; none if ids are whole numbers.
    """

    def __init__(self, numbers: np.ndarray | None = None, keys: Iterable[str] = ()) -> None:
        self._numbers, self._second = IdSet(numbers), IdSet(second_numbers(keys))

    def add(self, numbers: np.ndarray, keys: Iterable[str]) -> None:
        """Add products."""
        self._numbers.add(numbers)
        self._second.add(second_numbers(keys))

    def known(self, numbers: np.ndarray) -> np.ndarray:
        """Return which of the numbers, (rows,) int64, are in the set: (rows,) bool."""
        return self._numbers.known(numbers)

    def knows(self, key: str) -> bool:
        """Return whether a text id is in the set. Ask only if its number is, which may be another text's."""
        return bool(self._second.known(second_numbers([key]))[0])
