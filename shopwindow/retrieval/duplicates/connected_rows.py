"""Connected components of a graph whose links come in batches: a union-find over numpy arrays."""

from __future__ import annotations

import numpy as np


class ConnectedRows:
    """Rows, each at first alone; linked ones share a root, the lowest row of their component.

    Args:
        rows: how many.
    """

    def __init__(self, rows: int) -> None:
        self._parent = np.arange(rows)

    def roots(self, rows: np.ndarray) -> np.ndarray:
        """The root of each of some rows, in their shape, int64."""
        found: np.ndarray = self._parent[rows]
        while not np.array_equal(above := self._parent[found], found):
            found = above
        self._parent[rows] = found  # later look-ups are one step
        return found

    def link(self, some: np.ndarray, others: np.ndarray) -> None:
        """Put each of `some` into one component with the row at its place in `others`; both (links,) int64."""
        while len(some):
            some, others = self.roots(some), self.roots(others)
            apart = some != others
            some, others = np.minimum(some, others)[apart], np.maximum(some, others)[apart]
            # A root that gets several lower ones keeps the lowest; the links that lost are tried again.
            np.minimum.at(self._parent, others, some)
