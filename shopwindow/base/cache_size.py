"""How much a cache of a serving process holds, as its environment says."""

from __future__ import annotations

import os


def cache_size(variable: str, default: int, unit: str) -> int:
    """A whole number of units; 0 switches the cache off.

    Args:
        variable: of the environment.
        default: where it is not set.
        unit: what is counted, for the error.

    Raises:
        ValueError: it is not a whole number, or below 0.
    """
    given = os.environ.get(variable, str(default))
    if not given.isdecimal():
        raise ValueError(f"{variable}: must be a whole number of {unit}, 0 switches the cache off, got {given!r}")
    return int(given)
