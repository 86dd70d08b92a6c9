"""Connected components of a graph whose links come in batches: a union-find over numpy arrays."""

from __future__ import annotations

import numpy as np


class ConnectedRows:
    """Rows that are alone at first. Linked rows share a root, the lowest row of their component.

    Args:
        rows: number of rows.
    """

    def __init__(self, rows: int) -> None:
        self._parent = np.arange(rows)

    def roots(self, rows: np.ndarray) -> np.ndarray:
        """Return the root of each of some rows, int64, in the shape of `rows`."""
        found: np.ndarray = self._parent[rows]
        while not np.array_equal(above := self._parent[found], found):
            found = above
        self._parent[rows] = found  # makes later look-ups one step long
        return found

    def link(self, some: np.ndarray, others: np.ndarray) -> None:
        """Link each row of `some` with the row at the same place in `others`; both (links,) int64."""
        while len(some):
            some, others = self.roots(some), self.roots(others)
            apart = some != others
            some, others = np.minimum(some, others)[apart], np.maximum(some, others)[apart]
            # If a root is linked to several lower roots, it keeps the lowest. The loop tries the other links again.
            np.minimum.at(self._parent, others, some)
