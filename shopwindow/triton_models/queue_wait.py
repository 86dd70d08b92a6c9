"""How long requests can have waited, and when to ask whether their callers cancelled them.

Asking takes a message to the server and back for each request, about 100 us. That is more than all other work around a
search, and nobody cancels a request that has hardly waited.
"""

from __future__ import annotations

_FEW_REQUESTS = 2  # for this many requests or fewer, always ask: that costs next to nothing
_PATIENCE_S = 0.05


class QueueWait:
    """The time that the requests of a batch can have waited in Triton's queue, for one model instance.

    A batch takes all waiting requests, unless there are too many for one batch. So if a batch follows the previous one
    at once, its requests came while that one was running. Otherwise they came just now.

    Attributes:
        longest_s: the longest time that requests of the current batch can have waited, in seconds; infinite if unknown.
    """

    def __init__(self) -> None:
        self.longest_s = float("inf")
        self._rested = True
        self._began = self._ended = float("-inf")
        self._full = False

    def begin(self, now: float) -> None:
        """Note that a batch begins.

        Args:
            now: the present time in seconds.
        """
        self._rested = now - self._ended > _PATIENCE_S
        if self._full:
            self.longest_s = float("inf")
        else:
            self.longest_s = 0.0 if self._rested else now - self._began
        self._began = now

    def may_be_long(self, requests: int) -> bool:
        """Return whether to ask Triton, for each request of the batch, if its caller cancelled it.

        Args:
            requests: number of requests in the batch.
        """
        # Ask after a rest as well. Perhaps the server was stopped (SIGSTOP) and requests waited meanwhile.
        return requests <= _FEW_REQUESTS or self._rested or self.longest_s > _PATIENCE_S

    def end(self, now: float, *, full: bool) -> None:
        """Note that the batch was answered.

        Args:
            now: the present time in seconds.
            full: whether the batch was full, so that more requests may have been waiting.
        """
        self._ended = now
        self._full = full
