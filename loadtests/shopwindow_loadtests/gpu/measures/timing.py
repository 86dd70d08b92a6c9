"""Measures how long a call takes, including the work of the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of repeated calls."""

    p50_ms: float
    p99_ms: float
    calls: int


def measure(
    call: Callable[[], Any], *, wait: Callable[[], None] = lambda: None, seconds: float = 1.0, least: int = 20
) -> Timing:
    """Time a call over and over.

    Args:
        call: The call to time.
        wait: Returns when the device has done all its work.
        seconds: How long to go on, after a warm-up of a tenth of that time and at least three calls.
        least: Fewest calls.
    """
    _repeat(call, wait, seconds / 10, 3)
    took = np.array(_repeat(call, wait, seconds, least)) * 1e3
    p50, p99 = np.percentile(took, [50, 99])
    return Timing(p50_ms=round(float(p50), 4), p99_ms=round(float(p99), 4), calls=len(took))


def _repeat(call: Callable[[], Any], wait: Callable[[], None], seconds: float, least: int) -> list[float]:
    took: list[float] = []
    end = time.perf_counter() + seconds
    while len(took) < least or time.perf_counter() < end:
        started = time.perf_counter()
        call()
        wait()
        took.append(time.perf_counter() - started)
    return took
