"""Keep the embeddings of recent queries, because shoppers often ask for the same things."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from shopwindow.base.cache_size import cache_size

VARIABLE = "SHOPWINDOW_EMBEDDING_CACHE"
DEFAULT_ENTRIES = 50_000


def entries_from_environment() -> int:
    """Read from SHOPWINDOW_EMBEDDING_CACHE how many embeddings a serving process keeps; see `cache_size`."""
    return cache_size(VARIABLE, DEFAULT_ENTRIES, "entries")


class EmbeddingCache:
    """A cache of the embeddings that were used last. Threads may share it.

    When full, it takes `entries` times `dim` times 4 bytes, plus the keys.

    Args:
        entries: how many embeddings it holds, 1 or more. A new one replaces the least recently used.
        dim: length of an embedding.

    Attributes:
        hits: rows that were not computed, because they were in the cache or came twice in a batch.
        misses: rows that were computed.
    """

    def __init__(self, entries: int, dim: int) -> None:
        self._entries = entries
        self._vectors = np.empty((entries, dim), dtype=np.float32)  # a row takes memory once it is written
        self._slots: OrderedDict[Hashable, int] = OrderedDict()
        self._lock = threading.Lock()  # a process's threads share the cache, and so does a new pipeline that warms up
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._slots

    def embed(self, keys: Sequence[Hashable], compute: Callable[[list[int]], np.ndarray]) -> np.ndarray:
        """Return the embeddings of a batch, computing only those that are not in the cache.

        Args:
            keys: (batch); rows with equal keys must have equal embeddings.
            compute: takes the row numbers (missing) that are not in the cache and returns their embeddings, (missing,
                dim) float32. It is not called if none are missing.

        Returns:
            (batch, dim) float32, a copy.
        """
        embeddings = np.empty((len(keys), self._vectors.shape[1]), dtype=np.float32)
        with self._lock:
            slots = [self._slots.get(key) for key in keys]
            known = [row for row, slot in enumerate(slots) if slot is not None]
            for row in known:
                self._slots.move_to_end(keys[row])
            embeddings[known] = self._vectors[[slot for slot in slots if slot is not None]]
            unknown = [row for row, slot in enumerate(slots) if slot is None]
            firsts: dict[Hashable, int] = {}
            for row in unknown:
                firsts.setdefault(keys[row], row)
            self.misses += len(firsts)
            self.hits += len(keys) - len(firsts)
        if firsts:
            computed = compute(list(firsts.values()))
            places = {key: place for place, key in enumerate(firsts)}
            embeddings[unknown] = computed[[places[keys[row]] for row in unknown]]
            with self._lock:
                for key, vector in zip(firsts, computed, strict=True):
                    self._keep(key, vector)
        return embeddings

    def _keep(self, key: Hashable, vector: np.ndarray) -> None:
        slot = self._slots.pop(key, None)  # another thread may have added it meanwhile
        if slot is None:
            slot = len(self._slots) if len(self._slots) < self._entries else self._slots.popitem(last=False)[1]
        self._vectors[slot] = vector
        self._slots[key] = slot
