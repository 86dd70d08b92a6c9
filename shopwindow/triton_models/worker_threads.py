"""Threads that work on parts of one batch at the same time.

This helps because the heavy computing releases Python's interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TypeVar

import numpy as np

Part = TypeVar("Part")
Done = TypeVar("Done")


class WorkerThreads:
    """The caller's thread and helper threads. Helpers do not use the CPU while they wait.

    Args:
        size: number of threads, including the caller's.

    Raises:
        ValueError: `size` is below 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size: must be 1 or more, got {size}")
        self.size = size
        self._helpers = ThreadPoolExecutor(size - 1, thread_name_prefix="worker") if size > 1 else None

    def map(self, work: Callable[[Part], Done], parts: Sequence[Part]) -> list[Done]:
        """Call `work` for each part, each in its own thread, and return the results in order.

        Args:
            work: the function. Several threads call it at once.
            parts: at most as many parts as there are threads.

        Raises:
            Exception: the exception of the first part that failed, in the order of `parts`. It is raised after all
                threads have finished.
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
        """End the helper threads."""
        if self._helpers is not None:
            self._helpers.shutdown()


def cut(sizes: Sequence[float], count: int) -> list[slice]:
    """Cut a sequence into at most `count` consecutive parts of about the same total size, none of them empty.

    Args:
        sizes: size of each element, above 0.
        count: largest number of parts, 1 or more.
    """
    if len(sizes) < 2 or count < 2:
        return [slice(0, len(sizes))]
    ends = np.cumsum(sizes)
    middles = ends - np.asarray(sizes) / 2
    cuts = np.searchsorted(middles, ends[-1] * np.arange(1, count) / count)
    return [slice(start, end) for start, end in pairwise((0, *cuts.tolist(), len(sizes))) if start < end]
