"""Which numbers callers may give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def is_finite(value: Any) -> bool:
    """Return whether `value` is a real number that a finite float can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def is_whole(value: Any) -> bool:
    """Return whether `value` is a whole number."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
