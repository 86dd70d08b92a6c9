"""Pairs of queries that differ in one word, to train searches such as "this photo, but red".

"blue mug" and "red mug" differ in one word. So a photo of a product clicked for "blue mug", together with the word
"red", should find the products clicked for "red mug". This gives a composed query and its answer from clicks alone.
A Chinese character counts as a word: 红色马克杯 and 蓝色马克杯 differ in one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from shopwindow.towers.data.words import split_words

_Frame = tuple[tuple[str, ...], tuple[str, ...]]


class QueryEdits:
    """Pairs of queries that differ in exactly one word, at the same position.

    Args:
        queries: distinct query texts.
    """

    def __init__(self, queries: Sequence[str]) -> None:
        frames: defaultdict[_Frame, list[tuple[int, str]]] = defaultdict(list)
        for number, query in enumerate(queries):
            words = split_words(query.lower())
            for place, word in enumerate(words if len(words) > 1 else []):
                frames[tuple(words[:place]), tuple(words[place + 1 :])].append((number, word))
        self._frames: list[list[tuple[list[tuple[int, str]], str]]] = [[] for _ in queries]
        for members in frames.values():
            if len({word for _, word in members}) > 1:
                for number, word in members:
                    self._frames[number].append((members, word))

    def draw(self, query: int, rng: np.random.Generator) -> tuple[int, str] | None:
        """Draw a random edit that turns another query into this one.

        Args:
            query: number of the query after the edit.
            rng: source of the random choice.

        Returns:
            The number of the query before the edit, and the word of `query` that it lacks. None if no other query
            differs in one word.
        """
        frames = self._frames[query]
        if not frames:
            return None
        members, word = frames[rng.integers(len(frames))]
        others = [number for number, other in members if other != word]
        return others[rng.integers(len(others))], word
