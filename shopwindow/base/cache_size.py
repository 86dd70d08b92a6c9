"""Read the size of a cache from an environment variable."""

from __future__ import annotations

import os


def cache_size(variable: str, default: int, unit: str) -> int:
    """Return the size of a cache in units; 0 switches the cache off.

    Args:
        variable: name of the environment variable.
        default: the size if the variable is not set.
        unit: name of the unit, for the error.

    Raises:
        ValueError: the variable does not hold a whole number, or the number is below 0.
    """
    text = os.environ.get(variable, str(default))
    if not text.isdecimal():
        raise ValueError(f"{variable}: must be a whole number of {unit}, 0 switches the cache off, got {text!r}")
    return int(text)
