"""Embeddings of the queries that came last: shoppers ask for the same few things again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from shopwindow.base.cache_size import cache_size

VARIABLE = "SHOPWINDOW_EMBEDDING_CACHE"
DEFAULT_ENTRIES = 50_000


def entries_from_environment() -> int:
    """How many embeddings a serving process keeps, from SHOPWINDOW_EMBEDDING_CACHE; see `cache_size`."""
    return cache_size(VARIABLE, DEFAULT_ENTRIES, "entries")


class EmbeddingCache:
    """The embeddings used last, as many as it has room for. Threads may share it.

    It takes `entries` times `dim` times 4 bytes once it is full, and the keys.

    Args:
        entries: how many it holds, 1 or more; the one that was not used for longest makes room.
        dim: length of an embedding.

    Attributes:
        hits: rows that needed no computing, as they were kept or came twice in a batch.
        misses: rows that were computed.
    """

    def __init__(self, entries: int, dim: int) -> None:
        self._entries = entries
        self._vectors = np.empty((entries, dim), dtype=np.float32)  # the system gives memory to rows once written
        self._slots: OrderedDict[Hashable, int] = OrderedDict()
        self._lock = threading.Lock()  # shared by the threads of a process, and by a pipeline that warms up
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._slots

    def embed(self, keys: Sequence[Hashable], compute: Callable[[list[int]], np.ndarray]) -> np.ndarray:
        """Embeddings of a batch.

        Args:
            keys: (batch); rows of equal keys have equal embeddings.
            compute: embeds the rows (missing) that are not kept: (missing, dim) float32. It is not called for none.

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
        slot = self._slots.pop(key, None)  # another thread may have brought it meanwhile
        if slot is None:
            slot = len(self._slots) if len(self._slots) < self._entries else self._slots.popitem(last=False)[1]
        self._vectors[slot] = vector
        self._slots[key] = slot
