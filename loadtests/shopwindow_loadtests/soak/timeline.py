"""Judges the replies of the soak by the generations that could be served at the time, and by their products."""

from __future__ import annotations

import threading

import numpy as np


class Timeline:
    """The generations in the order of publishing, and the newest one that the server is known to serve.

    One thread publishes, many threads judge.
    """

    def __init__(self) -> None:
        self._products: dict[int, np.ndarray] = {}
        self._order: list[int] = []
        self._served = 0  # place in `_order` of the newest generation that all processes are known to serve
        self._lock = threading.Lock()

    def begin(self, generation: int, products: np.ndarray | None = None) -> None:
        """Note that from now on replies may come from a generation.

        Args:
            generation: The generation about to be published or rolled back to.
            products: The ids of its products, in rising order; None if the generation existed before.
        """
        with self._lock:
            if products is not None:
                self._products[generation] = products
            self._order.append(generation)

    def settle(self) -> None:
        """Note that from now on only the newest generation answers requests."""
        with self._lock:
            self._served = len(self._order) - 1

    @property
    def place(self) -> int:
        """The current place in the timeline. Note it when you send a request, and give it to `judge`."""
        return self._served

    @property
    def newest(self) -> np.ndarray:
        """The ids of the products in the newest generation."""
        return self._products[self._order[-1]]

    def judge(self, place: int, generation: int, ids: np.ndarray) -> tuple[bool, bool]:
        """Judge a reply.

        Args:
            place: `place` at the time when its request was sent.
            generation: The generation that it names.
            ids: (k,) int64: the products that it found.

        Returns:
            Whether it mixes generations (it has a product that its generation lacks, or it names a generation that
            should not be served any more), and whether it has a product that was removed before the request was sent.
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
