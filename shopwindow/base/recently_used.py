"""Keep what was used last, within a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

ENTRY_BYTES = 200  # about what an entry takes beside its value, if its key is short


def short_key(key: object) -> bytes:
    """Return a digest of a key that may be long, because a cache counts only the bytes of its values.

    Equal keys with different `repr` get different digests.
    """
    return blake2b(repr(key).encode(), digest_size=16).digest()


class RecentlyUsed(Generic[Key, Value]):
    """A cache of values that take long to make. Threads may share it.

    Args:
        most_bytes: how many bytes it holds. A new value replaces those least recently used. The newest one stays even
            if it is larger than that, so that it is not made for each request.
        size: returns the bytes of a value. Add ENTRY_BYTES if values may be small, and shorten keys that may be long.
    """

    def __init__(self, most_bytes: int, size: Callable[[Value], int]) -> None:
        self._most_bytes = most_bytes
        self._size = size
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key. `make` makes it if it is not kept.

        Other threads go on meanwhile. Two that need the same value at once both make it, and the first one is kept.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += self._size(made)
                while self._bytes > self._most_bytes and len(self._kept) > 1:
                    self._bytes -= self._size(self._kept.popitem(last=False)[1])
            return self._kept[key]
