"""One progress bar for all long work."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(
    items: Iterable[Any] | None = None, *, total: int, desc: str, unit: str, initial: int = 0, enabled: bool = True
) -> Any:
    """A tqdm bar; where nobody watches a terminal it writes a line every half minute instead of many a second.

    Args:
        items: iterated over, when given; else the caller calls `update`.
        total: units of work.
        desc: what is being done.
        unit: name of a unit.
        initial: units that were done before.
        enabled: False gives a bar that shows nothing.
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
    )
