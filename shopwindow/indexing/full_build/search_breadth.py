"""Find how widely an approximate index must search at effort 5 to return nearly what exact search would."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.engines.rescoring import search_rescored
from shopwindow.retrieval.request.parameters import DEFAULT_EFFORT
from shopwindow.retrieval.search.exact import exact_search

RECALL_AT = 100
RECALL_QUERIES = 500
PROMISED_RECALL = 0.97
# Calibration widens the search until the sample's recall reaches this. It is above the promised recall, because other
# queries do a little worse than the sample.
RECALL_TARGET = 0.98


def calibrate(engine: FaissCpuEngine, vectors: np.ndarray, queries: np.ndarray) -> tuple[FaissCpuEngine, float]:
    """Widen the search at effort 5 until recall@100 reaches RECALL_TARGET, or the search is exhaustive.

    Args:
        engine: a built engine.
        vectors: (rows, dim) float32, the vectors that it holds.
        queries: (batch, dim) float32, a sample.

    Returns:
        The engine with its calibrated recipe, and the recall@100 reached, 0 to 1.
    """
    k = min(RECALL_AT, len(vectors))
    expected, _ = exact_search(queries, vectors, np.arange(len(vectors)), k)
    # Compared by score: real catalogues have many products with equal vectors, and any of those may be found.
    worst = expected[:, -1:] - 1e-6
    while True:
        scores, rows = search_rescored(engine, vectors, queries, k, DEFAULT_EFFORT, None)
        recall = float(np.mean((scores >= worst) & (rows >= 0)))
        recipe: Recipe = engine.recipe
        if recall >= RECALL_TARGET or recipe.search_breadth >= recipe.max_breadth:
            return engine, recall
        engine.recipe = recipe.with_breadth(2 * recipe.search_breadth)
