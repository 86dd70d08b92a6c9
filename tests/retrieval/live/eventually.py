"""Wait for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_S = 30


def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether the condition becomes true within WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
