"""Keep recent search results. They stay valid until the index changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from shopwindow.base.cache_size import cache_size

VARIABLE = "SHOPWINDOW_RESULT_CACHE_MIB"
DEFAULT_MIB = 64
_ENTRY_BYTES = 600  # overhead of an entry beside the content of its two arrays

Found = tuple[np.ndarray, np.ndarray]
"""Scores and row numbers (or product ids)."""


def bytes_from_environment() -> int:
    """Read from SHOPWINDOW_RESULT_CACHE_MIB how many bytes of results a serving process keeps; see `cache_size`."""
    return cache_size(VARIABLE, DEFAULT_MIB, "MiB") * 2**20


class ResultCache:
    """A cache of the results that were used last. Threads may share it. It belongs to one index.

    Args:
        most_bytes: how many bytes it holds. New results replace the least recently used.

    Attributes:
        hits: rows that were not searched for, because their result was in the cache or they came twice in a batch.
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
        """Return the results of a batch, searching only for those that are not in the cache.

        Args:
            keys: (batch), at least one. Rows with equal keys must have equal results. The key must cover k, so that
                all results of a batch have the same length.
            search: takes the row numbers (missing) that are not in the cache and returns two arrays (missing, k). It is
                not called if none are missing.

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
        if key in self._kept:  # another thread added it meanwhile
            return
        self._kept[key] = found
        self._bytes += _size(found)
        while self._bytes > self.most_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(found: Found) -> int:
    return found[0].nbytes + found[1].nbytes + _ENTRY_BYTES
