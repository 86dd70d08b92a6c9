"""When to ask whether callers gave up: it takes a message to the server and back for each request, some 100 us.

That is more than all other work around a search, while nobody gives up a request that has hardly waited.
"""

from __future__ import annotations

from collections import deque

_FEW_REQUESTS = 2  # of so few it is asked always
_PATIENCE_S = 0.05
_MANY_ROWS = 32  # the smallest max_batch_size: more may have been waiting than a batch with so many took


class Waiting:
    """How long the requests of a batch can have waited, of one instance.

    A batch takes all requests that wait with Triton, unless there are too many for one. So those of a batch came when
    the one before was under way, which was after the end of the one before that.
    """

    def __init__(self) -> None:
        self._ends: deque[float] = deque([float("-inf")] * 2, maxlen=2)
        self._rows = 0

    def may_be_long(self, requests: int, now: float, waited: float = 0.0) -> bool:
        """Whether it is worth asking each of a batch's requests if it was cancelled.

        Args:
            requests: how many they are.
            now: in seconds.
            waited: seconds that one of them waited after Triton had handed it over, see `Backlog`.
        """
        return (
            waited > _PATIENCE_S
            or requests <= _FEW_REQUESTS
            or self._rows >= _MANY_ROWS
            or now - self._ends[0] > _PATIENCE_S
        )

    def end(self, rows: int, now: float) -> None:
        """Take note that a batch of so many rows was answered."""
        self._ends.append(now)
        self._rows = rows
