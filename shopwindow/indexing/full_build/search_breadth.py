"""Find how widely an approximate index must search at effort 5 to return nearly what exact search would."""

from __future__ import annotations

import numpy as np

from shopwindow.indexing.errors import RecallTooLow
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.engines.rescoring import search_rescored
from shopwindow.retrieval.request.parameters import DEFAULT_EFFORT
from shopwindow.retrieval.search.exact import exact_search

RECALL_AT = 100
RECALL_QUERIES = 500
# An index with a lower recall is not published, unless it is forced.
PROMISED_RECALL = 0.97
# Calibration widens the search until the sample's recall reaches this. It is above the promised recall, because other
# queries do a little worse than the sample.
RECALL_TARGET = 0.98
_SAME_SCORE = 1e-6  # scores that differ by less are equal but for rounding


def calibrate(engine: FaissCpuEngine, vectors: np.ndarray, queries: np.ndarray) -> tuple[FaissCpuEngine, float]:
    """Widen the search at effort 5 until recall@100 reaches RECALL_TARGET, or the search is exhaustive.

    Args:
        engine: a built engine.
        vectors: (rows, dim) float32, the vectors that it holds.
        queries: (batch, dim) float32, a sample. No two should be equal.

    Returns:
        The engine with its calibrated recipe, and the recall@100 reached, 0 to 1.
    """
    k = min(RECALL_AT, len(vectors))
    expected, _ = exact_search(queries, vectors, np.arange(len(vectors)), k)
    while True:
        scores, rows = search_rescored(engine, vectors, queries, k, DEFAULT_EFFORT, None)
        recall = recall_of(scores, rows, expected)
        recipe: Recipe = engine.recipe
        if recall >= RECALL_TARGET or recipe.search_breadth >= recipe.max_breadth:
            return engine, recall
        engine.recipe = recipe.with_breadth(2 * recipe.search_breadth)


def recall_of(scores: np.ndarray, found: np.ndarray, expected: np.ndarray) -> float:
    """Return the mean recall, 0 to 1.

    Products are compared by score, because many may have equal vectors. Of those that share the last place of exact
    search, any may be found. They do not make up for products with higher scores that were not found.

    Args:
        scores: (batch, k) float32, true scores of what was found.
        found: (batch, k) int64, what was found, -1 for nothing.
        expected: (batch, k) float32, the scores that exact search finds, in falling order.
    """
    last = expected[:, -1:]
    wanted = (expected > last + 2 * _SAME_SCORE).sum(axis=1)
    hits = ((scores >= last - _SAME_SCORE) & (found >= 0)).sum(axis=1)
    above = np.minimum(((scores > last + _SAME_SCORE) & (found >= 0)).sum(axis=1), wanted)
    level = np.minimum(hits - above, expected.shape[1] - wanted)
    return float(np.mean(above + level) / expected.shape[1])


def check_recall(recall: float, recipe: Recipe, *, force: bool) -> None:
    """Refuse an index that finds too little.

    Args:
        recall: recall@100 against exact search, 0 to 1.
        recipe: the calibrated recipe.
        force: whether to accept any recall.

    Raises:
        RecallTooLow: the recall is below PROMISED_RECALL.
    """
    if recall < PROMISED_RECALL and not force:
        raise RecallTooLow(
            f"recall: with recipe {recipe.kind} even the widest search ({recipe.search_breadth}) finds only "
            f"{recall:.4f} of what exact search finds, and {PROMISED_RECALL} is the least, so this index was not "
            "published: build it with another --recipe (flat is exact), or publish it anyway with --force"
        )
