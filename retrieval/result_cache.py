"""What was found for the embeddings that came last: until the index changes, the same is found again."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

VARIABLE = "SHOPWINDOW_RESULT_CACHE_MIB"
DEFAULT_MIB = 64
_ENTRY_BYTES = 600  # of an entry, beside its two arrays' content

Found = tuple[np.ndarray, np.ndarray]
"""Scores and row numbers (or product ids)."""


def bytes_from_environment() -> int:
    """How many bytes a serving process keeps, from SHOPWINDOW_RESULT_CACHE_MIB; 0 keeps nothing.

    Raises:
        ValueError: it is not a whole number, or below 0.
    """
    given = os.environ.get(VARIABLE, str(DEFAULT_MIB))
    if not given.isdecimal():
        raise ValueError(f"{VARIABLE}: must be a whole number of MiB, 0 switches the cache off, got {given!r}")
    return int(given) * 2**20


class ResultCache:
    """The results used last, as many as there is room for. Threads may share it. It belongs to one index.

    Args:
        most_bytes: how much it holds; the result that was not used for longest makes room.

    Attributes:
        hits: rows that needed no search.
        misses: rows that were searched for.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, Found] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def search(self, keys: Sequence[Hashable], search: Callable[[list[int]], Found]) -> Found:
        """Results of a batch.

        Args:
            keys: (batch), at least one; rows of equal keys have equal results, as long as those of this batch.
            search: finds those of the rows (missing) that are not kept: two arrays (missing, k). Not called for none.

        Returns:
            Two arrays (batch, k), copies.
        """
        with self._lock:
            found = [self._kept.get(key) for key in keys]
            for key, one in zip(keys, found, strict=True):
                if one is not None:
                    self._kept.move_to_end(key)
            missing = [row for row, one in enumerate(found) if one is None]
            self.hits += len(keys) - len(missing)
            self.misses += len(missing)
        if missing:
            searched = search(missing)
            for place, row in enumerate(missing):
                found[row] = searched[0][place].copy(), searched[1][place].copy()
            with self._lock:
                for row in missing:
                    self._keep(keys[row], found[row])
        scores, rows = zip(*(one for one in found if one is not None), strict=True)
        return np.stack(scores), np.stack(rows)

    def _keep(self, key: Hashable, found: Found | None) -> None:
        if found is None or key in self._kept:  # another thread, or another row of the batch, may have brought it
            return
        self._kept[key] = found
        self._bytes += _size(found)
        while self._bytes > self.most_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(found: Found) -> int:
    return found[0].nbytes + found[1].nbytes + _ENTRY_BYTES
