"""Stored vectors by row number, in one or two arrays."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Vectors(Protocol):
    """(rows, dim) float32 vectors as exact scoring reads them. An array is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimensions."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray | slice, /) -> np.ndarray:
        """Return the vectors of some row numbers, or of a range of rows, (rows, dim) float32."""
        ...


class JoinedVectors:
    """The vectors of an updated index. Rows are numbered base first, then delta.

    Args:
        base: (base rows, dim) float32, possibly memory-mapped.
        delta: (delta rows, dim) float32.
    """

    def __init__(self, base: np.ndarray, delta: np.ndarray) -> None:
        self._base = base
        self._delta = delta
        self.shape = (len(base) + len(delta), base.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray | slice, /) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        found = np.empty((len(rows), self.shape[1]), np.float32)
        later = rows >= len(self._base)
        found[~later] = self._base[rows[~later]]
        found[later] = self._delta[rows[later] - len(self._base)]
        return found
