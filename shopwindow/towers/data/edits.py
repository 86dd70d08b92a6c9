"""Edits that shoppers make between queries, as training for "this photo, but ..." searches.

"blue mug" and "red mug" differ in one word. So a photo of what was clicked for "blue mug" together with the word
"red" should find what was clicked for "red mug": a composed query and its answer, with no label but the clicks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

_Frame = tuple[tuple[str, ...], tuple[str, ...]]


class QueryEdits:
    """Pairs of queries that differ in exactly one word, at the same place.

    Args:
        queries: distinct query texts.
    """

    def __init__(self, queries: Sequence[str]) -> None:
        frames: defaultdict[_Frame, list[tuple[int, str]]] = defaultdict(list)
        for number, query in enumerate(queries):
            words = query.lower().split()
            for place, word in enumerate(words if len(words) > 1 else []):
                frames[tuple(words[:place]), tuple(words[place + 1 :])].append((number, word))
        self._frames: list[list[tuple[list[tuple[int, str]], str]]] = [[] for _ in queries]
        for members in frames.values():
            if len({word for _, word in members}) > 1:
                for number, word in members:
                    self._frames[number].append((members, word))

    def draw(self, query: int, rng: np.random.Generator) -> tuple[int, str] | None:
        """A random edit that leads to a query.

        Args:
            query: number of the query arrived at.
            rng: decides which.

        Returns:
            The number of the query started from and the word of `query` that it lacks, or None when no other query
            is one word away.
        """
        frames = self._frames[query]
        if not frames:
            return None
        members, word = frames[rng.integers(len(frames))]
        others = [number for number, other in members if other != word]
        return others[rng.integers(len(others))], word
