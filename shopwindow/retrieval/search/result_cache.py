"""What was found for the embeddings that came last: until the index changes, the same is found again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from shopwindow.base.cache_size import cache_size

VARIABLE = "SHOPWINDOW_RESULT_CACHE_MIB"
DEFAULT_MIB = 64
_ENTRY_BYTES = 600  # of an entry, beside its two arrays' content

Found = tuple[np.ndarray, np.ndarray]
"""Scores and row numbers (or product ids)."""


def bytes_from_environment() -> int:
    """How many bytes a serving process keeps, from SHOPWINDOW_RESULT_CACHE_MIB; see `cache_size`."""
    return cache_size(VARIABLE, DEFAULT_MIB, "MiB") * 2**20


class ResultCache:
    """The results used last, as many as there is room for. Threads may share it. It belongs to one index.

    Args:
        most_bytes: how much it holds; the result that was not used for longest makes room.

    Attributes:
        hits: rows that needed no search, as their result was kept or they came twice in a batch.
        misses: rows that were searched for.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[bytes, Found] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def search(self, keys: Sequence[bytes], search: Callable[[list[int]], Found]) -> Found:
        """Results of a batch.

        Args:
            keys: (batch), at least one; rows of equal keys have equal results, as long as those of this batch.
            search: finds those of the rows (missing) that are not kept: two arrays (missing, k). Not called for none.

        Returns:
            Two arrays (batch, k), copies.
        """
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
            missing: dict[bytes, int] = {}
            for row, key in enumerate(keys):
                if key not in found:
                    missing.setdefault(key, row)
            self.hits += len(keys) - len(missing)
            self.misses += len(missing)
        if missing:
            scores, rows = search(list(missing.values()))
            new = {key: (scores[place].copy(), rows[place].copy()) for place, key in enumerate(missing)}
            found |= new
            with self._lock:
                for key, one in new.items():
                    self._keep(key, one)
        return np.stack([found[key][0] for key in keys]), np.stack([found[key][1] for key in keys])

    def _keep(self, key: bytes, found: Found) -> None:
        if key in self._kept:  # another thread brought it meanwhile
            return
        self._kept[key] = found
        self._bytes += _size(found)
        while self._bytes > self.most_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(found: Found) -> int:
    return found[0].nbytes + found[1].nbytes + _ENTRY_BYTES
