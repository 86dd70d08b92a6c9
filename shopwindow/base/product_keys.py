"""Product ids that are texts, such as SKUs and UUIDs.

Inside, every product has a whole number. That of a text id follows from the text alone: it is the top 63 bits of XXH3
(64 bits) of its UTF-8 bytes. So it is the same in every generation, and judgements, clicks and removals need no map.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import numpy as np
import xxhash

LONGEST = 512  # bytes of a text id
RULE = f"1 to {LONGEST} bytes of text, not blank and without control characters"


def key_number(key: str) -> int:
    """Return the number of a text id, 0 to 2^63 - 1."""
    return xxhash.xxh3_64_intdigest(key.encode()) >> 1


class KeyNumber(int):
    """The number of a text id, which shows the text where it is written.

    What compares products by their numbers takes it as it is, and messages name products as the shop does.

    Args:
        key: the text id.
    """

    key: str

    def __new__(cls, key: str) -> KeyNumber:
        made = super().__new__(cls, key_number(key))
        made.key = key
        return made

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]  # what a copy is made from
        return (self.key,)

    def __repr__(self) -> str:
        return repr(self.key)

    __str__ = __repr__


def key_numbers(keys: Iterable[str]) -> np.ndarray:
    """Return the numbers of text ids, (keys,) int64."""
    return np.fromiter(map(key_number, keys), np.int64)


def second_numbers(keys: Iterable[str]) -> np.ndarray:
    """Return other numbers of text ids, (keys,) int64. Two texts with one `key_number` differ in these."""
    return np.fromiter((xxhash.xxh3_64_intdigest(key.encode(), seed=1) >> 1 for key in keys), np.int64)


def is_key(key: str) -> bool:
    """Return whether a text can be an id, see `RULE`."""
    if key.isascii():  # most are, and this is faster
        return len(key) <= LONGEST and key.isprintable() and not key.isspace() and key != ""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:  # half of a character
        return False
    return size <= LONGEST and not key.isspace() and not any(unicodedata.category(letter) == "Cc" for letter in key)


def number_of(value: Any) -> Any:
    """Return the number of a product from a cell of a table: that of a text id or UUID, else the value itself."""
    text = str(value) if isinstance(value, UUID) else value
    return key_number(text) if isinstance(text, str) and is_key(text) else value
