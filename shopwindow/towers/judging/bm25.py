"""BM25 over titles, the baseline that the towers must beat. Words are stemmed and stop words removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shopwindow.retrieval.embedding.folding import fold
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.index.lexical_words import WordSplitter


def rank_bm25(
    titles: Sequence[str], ids: np.ndarray, queries: Sequence[str], k: int, splitter: WordSplitter | None = None
) -> np.ndarray:
    """Return the products whose titles score best for each query.

    Args:
        titles: (products) texts, empty where absent.
        ids: (products,) int64.
        queries: texts.
        k: number of places.
        splitter: splits the texts into words; None takes the usual one.

    Returns:
        (queries, k) int64 ids. Places stay -1 if too few titles share a word with the query.
    """
    ranked = np.full((len(queries), k), -1, dtype=np.int64)
    index = LexicalIndex.build(titles, splitter)
    if index is not None:
        for row, query in enumerate(queries):
            _, found = index.search(fold(query), k)
            ranked[row, : len(found)] = ids[found]
    return ranked
