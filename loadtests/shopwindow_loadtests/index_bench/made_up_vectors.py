"""Made-up vectors, as crowded as those of a catalogue, with the results of an exact search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shopwindow.retrieval.search.exact import exact_search

BLOCK = 500_000
_SEED = 0
LATENT = 24
ROWS_A_CENTRE = 1_000
NOISE = np.float32(0.3)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Vectors, queries near them, and the exact answers.

    Attributes:
        vectors: (rows, dim) float32, L2-normalised, around centres.
        queries: (batch, dim) float32, L2-normalised.
        best: (batch, k) float32: the k best scores of each query, best first.
    """

    vectors: np.ndarray
    queries: np.ndarray
    best: np.ndarray


def make_corpus(rows: int, dim: int, *, queries: int = 256, k: int = 100) -> Corpus:
    """Draw a corpus: points around centres in LATENT dimensions, mapped into `dim` dimensions with some noise.

    Learned embeddings fill few of their dimensions. Vectors drawn in all dimensions are equally far from each other.
    Vectors that only lie around centres are all found in one list.

    Args:
        rows: Number of vectors.
        dim: Their length.
        queries: Number of queries.
        k: Length of the exact answers.
    """
    rng = np.random.default_rng(_SEED)
    centres = rng.standard_normal((max(1, rows // ROWS_A_CENTRE), LATENT), dtype=np.float32)
    turned = rng.standard_normal((LATENT, dim), dtype=np.float32) / np.float32(np.sqrt(LATENT))
    vectors = np.empty((rows, dim), np.float32)
    for start in range(0, rows, BLOCK):
        vectors[start : start + BLOCK] = _draw(centres, turned, min(BLOCK, rows - start), rng)
    asked = _draw(centres, turned, queries, rng)
    best, _ = exact_search(asked, vectors, np.arange(rows), min(k, rows))
    return Corpus(vectors=vectors, queries=asked, best=best)


def recall(scores: np.ndarray, best: np.ndarray) -> float:
    """Return the share of the exact answers that was found, judged by true scores so that ties count."""
    return round(float(np.mean(scores[:, : best.shape[1]] >= best[:, -1:] - 1e-5)), 4)


def _draw(centres: np.ndarray, turned: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    points = centres[rng.integers(len(centres), size=rows)]
    points = points + rng.standard_normal(points.shape, dtype=np.float32)
    drawn = points @ turned
    drawn += NOISE * rng.standard_normal(drawn.shape, dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return np.asarray(drawn, np.float32)
