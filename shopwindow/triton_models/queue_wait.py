"""How long requests can have waited, and when to ask whether their callers gave up.

Asking takes a message to the server and back for each request, some 100 us. That is more than all other work around a
search, while nobody gives up a request that has hardly waited.
"""

from __future__ import annotations

_FEW_REQUESTS = 2  # of so few it is asked always
_PATIENCE_S = 0.05


class QueueWait:
    """How long the requests of a batch can have waited with Triton, of one instance.

    A batch takes all requests that wait, unless there are too many for one. So those of a batch came when the one
    before was under way, if it follows at once, and else just now.

    Attributes:
        longest_s: how long at most the requests of the batch that was begun last can have waited, in seconds; infinite
            when that can't be said.
    """

    def __init__(self) -> None:
        self.longest_s = float("inf")
        self._rested = True
        self._began = self._ended = float("-inf")
        self._full = False

    def begin(self, now: float) -> None:
        """Take note that a batch is taken up; `now` in seconds."""
        self._rested = now - self._ended > _PATIENCE_S
        if self._full:
            self.longest_s = float("inf")
        else:
            self.longest_s = 0.0 if self._rested else now - self._began
        self._began = now

    def may_be_long(self, requests: int) -> bool:
        """Whether it is worth asking each of the batch's so many requests if it was cancelled."""
        # After a rest as well: it may be the server that rested, stopped by someone.
        return requests <= _FEW_REQUESTS or self._rested or self.longest_s > _PATIENCE_S

    def end(self, now: float, *, full: bool) -> None:
        """Take note that a batch was answered, and whether it was full: more may have been waiting than it took."""
        self._ended = now
        self._full = full
