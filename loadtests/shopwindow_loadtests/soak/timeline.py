"""What replies of the soak are judged by: which generation was to be served when, and which products it has."""

from __future__ import annotations

import threading

import numpy as np


class Timeline:
    """The generations in the order in which they were published, and how far the server is known to have come.

    One thread publishes, many judge.
    """

    def __init__(self) -> None:
        self._products: dict[int, np.ndarray] = {}
        self._order: list[int] = []
        self._served = 0  # place in `_order` of the newest one that is known to be served everywhere
        self._lock = threading.Lock()

    def begin(self, generation: int, products: np.ndarray | None = None) -> None:
        """From now on replies may be of a generation.

        Args:
            generation: it is about to be published, or to be gone back to.
            products: the ids that can be found in it, in rising order; None where it was there before.
        """
        with self._lock:
            if products is not None:
                self._products[generation] = products
            self._order.append(generation)

    def settle(self) -> None:
        """From now on no request is answered by a generation before the newest one."""
        with self._lock:
            self._served = len(self._order) - 1

    @property
    def place(self) -> int:
        """To be noted when a request is sent, for `judge`."""
        return self._served

    @property
    def newest(self) -> np.ndarray:
        """The ids that can be found in the newest generation."""
        return self._products[self._order[-1]]

    def judge(self, place: int, generation: int, ids: np.ndarray) -> tuple[bool, bool]:
        """Judge a reply.

        Args:
            place: of the moment when its request was sent.
            generation: that it names.
            ids: (k,) int64, what it found.

        Returns:
            Whether it mixes generations (it has a product that the one it names doesn't have, or is of one that was
            not to be served any more), and whether it has a product that was gone when the request was sent.
        """
        with self._lock:
            possible = set(self._order[place:])
        there = {each: _are_among(ids, self._products[each]) for each in possible}
        mixed = generation not in there or not there[generation].all()
        return bool(mixed), not np.any(list(there.values()), axis=0).all()


def _are_among(ids: np.ndarray, products: np.ndarray) -> np.ndarray:
    places = np.searchsorted(products, ids).clip(max=len(products) - 1)
    found: np.ndarray = products[places] == ids
    return found
