"""Read single numbers, flags and texts of requests. Numbers may also come as decimal text."""

from __future__ import annotations

import math
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show


def read_integer(field: str, value: Any, low: int, high: int) -> int:
    """Read an integer from `low` to `high`.

    Raises:
        InvalidRequest: it is anything else.
    """
    number = value
    if isinstance(value, str):
        try:
            number = int(value)
        except ValueError:
            number = None
    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        raise InvalidRequest(field, f"must be an integer from {low} to {high}, got {show(value)}")
    return number


def read_flag(field: str, value: Any) -> bool:
    """Read true or false.

    Raises:
        InvalidRequest: it is anything else.
    """
    flag = {"true": True, "false": False}.get(value) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise InvalidRequest(field, f"must be true or false, got {show(value)}")
    return flag


def read_text(field: str, value: Any) -> str:
    """Read a text.

    Raises:
        InvalidRequest: it is anything else.
    """
    if not isinstance(value, str):
        raise InvalidRequest(field, f"must be a string, got {show(value)}")
    return value


def read_number(field: str, value: Any) -> float:
    """Read a finite number.

    Raises:
        InvalidRequest: it is anything else.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(field, f"must be a finite number, got {show(value)}")
    return number
