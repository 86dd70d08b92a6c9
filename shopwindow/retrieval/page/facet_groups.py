"""The groups of each value of a facet, in a form that counts under a row mask quickly."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.page.facet_values import FacetValues


class FacetGroups:
    """The rows of each pair of a value and a group, grouped by value.

    Args:
        found: the values of all rows.
        groups: (rows,) of integers, the group of each row.

    Attributes:
        values: as in FacetValues.
        groups: the argument.
        totals: (size,) int64, how many groups have each value.
    """

    def __init__(self, found: FacetValues, groups: np.ndarray) -> None:
        self.values = found.values
        self.groups = groups
        of_place = groups.take(found.places)
        order = np.lexsort((of_place, found.codes))
        codes, numbers = found.codes[order], of_place[order]
        last = np.ones(len(order), bool)  # whether the next row belongs to another pair
        last[:-1] = (codes[1:] != codes[:-1]) | (numbers[1:] != numbers[:-1])
        self.totals = np.bincount(codes[last], minlength=found.size).astype(np.int64)
        self._rows = found.places[order]
        lasts = np.flatnonzero(last)
        self._lasts = lasts.astype(np.min_scalar_type(-len(order) - 1))
        self._held = np.flatnonzero(self.totals)
        self._starts = (np.cumsum(self.totals) - self.totals)[self._held]

    @property
    def nbytes(self) -> int:
        """How much memory it takes, without the texts and the groups, which others hold too."""
        kept = (self.totals, self._rows, self._lasts, self._held, self._starts, self.values)
        return sum(one.nbytes for one in kept if one is not None)

    def counts(self, mask: np.ndarray) -> np.ndarray:
        """Return how many groups have each value in a row of a mask, (rows,) bool: (size,) int64."""
        counts = np.zeros_like(self.totals)
        if len(self._held):
            # How many rows of the mask there are up to the end of each pair: where it grows, the pair has one.
            upto = np.cumsum(mask.take(self._rows), dtype=self._lasts.dtype).take(self._lasts)
            some = np.empty(len(upto), bool)
            some[0] = upto[0] > 0
            np.not_equal(upto[1:], upto[:-1], out=some[1:])
            counts[self._held] = np.add.reduceat(some.view(np.uint8), self._starts, dtype=np.int64)
        return counts
