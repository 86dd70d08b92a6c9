"""A set of product ids that takes little memory."""

from __future__ import annotations

import numpy as np


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
