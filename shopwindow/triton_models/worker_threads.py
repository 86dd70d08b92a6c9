"""Threads of one process that work on parts of one batch, while what the others compute lets go of the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TypeVar

import numpy as np

Part = TypeVar("Part")
Done = TypeVar("Done")


class WorkerThreads:
    """The caller's thread and helpers, which don't spin while they wait.

    Args:
        size: threads, the caller's among them.

    Raises:
        ValueError: there would be none.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size: must be 1 or more, got {size}")
        self.size = size
        self._helpers = ThreadPoolExecutor(size - 1, thread_name_prefix="worker") if size > 1 else None

    def map(self, work: Callable[[Part], Done], parts: Sequence[Part]) -> list[Done]:
        """What `work` makes of each part, in order.

        Args:
            work: called by several threads at once.
            parts: at most as many as there are threads.

        Raises:
            Exception: the first one that `work` raised, once no thread works any more.
        """
        if self._helpers is None or len(parts) < 2:
            return [work(part) for part in parts]
        helped = [self._helpers.submit(work, part) for part in parts[1:]]
        try:
            own = work(parts[0])
        finally:
            wait(helped)
        return [own, *(done.result() for done in helped)]

    def close(self) -> None:
        """End the helpers."""
        if self._helpers is not None:
            self._helpers.shutdown()


def cut(sizes: Sequence[float], count: int) -> list[slice]:
    """Consecutive parts of about the same size together, at most so many and none of them empty.

    Args:
        sizes: of what is cut, each above 0.
        count: 1 or more.
    """
    if len(sizes) < 2 or count < 2:
        return [slice(0, len(sizes))]
    ends = np.cumsum(sizes)
    middles = ends - np.asarray(sizes) / 2
    cuts = np.searchsorted(middles, ends[-1] * np.arange(1, count) / count)
    return [slice(start, end) for start, end in pairwise((0, *cuts.tolist(), len(sizes))) if start < end]
