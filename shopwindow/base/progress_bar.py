"""The progress bar that all long work uses."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(
    items: Iterable[Any] | None = None,
    *,
    total: int,
    desc: str,
    unit: str,
    initial: int = 0,
    enabled: bool = True,
    delay: float = 0.0,
) -> Any:
    """Return a tqdm bar. Outside a terminal it writes one line every 30 seconds instead of ten a second.

    Args:
        items: the bar iterates over them; None if the caller calls `update` instead.
        total: number of units of work.
        desc: name of the work.
        unit: name of a unit.
        initial: number of units that are already done.
        enabled: False returns a bar that shows nothing.
        delay: seconds after which it begins to show; shorter work shows nothing.
    """
    interval = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(
        items,
        total=total,
        initial=initial,
        desc=desc,
        unit=unit,
        disable=not enabled,
        mininterval=interval,
        maxinterval=interval,
        delay=delay,
    )
