"""BM25 over titles: the floor that towers have to beat. Words lose their endings and stop words go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shopwindow.retrieval.index.lexical import LexicalIndex


def rank_bm25(titles: Sequence[str], ids: np.ndarray, queries: Sequence[str], k: int) -> np.ndarray:
    """The titles that score best for every query.

    Args:
        titles: (products) texts, empty where absent.
        ids: (products,) int64.
        queries: texts.
        k: places.

    Returns:
        (queries, k) int64 ids, -1 where too few titles share a word with the query.
    """
    ranked = np.full((len(queries), k), -1, dtype=np.int64)
    index = LexicalIndex.build(titles)
    if index is not None:
        for row, query in enumerate(queries):
            _, found = index.search(query, k)
            ranked[row, : len(found)] = ids[found]
    return ranked
