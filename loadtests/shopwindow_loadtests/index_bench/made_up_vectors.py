"""Made-up vectors that are as crowded as a catalogue, and what exact search finds among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shopwindow.retrieval.search.product_index import exact_search

BLOCK = 500_000
LATENT = 24
ROWS_A_CENTRE = 1_000
NOISE = np.float32(0.3)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Vectors, queries near them, and the exact answer.

    Attributes:
        vectors: (rows, dim) float32, L2-normalised, around centres.
        queries: (batch, dim) float32, L2-normalised.
        best: (batch, k) float32, the k best scores of each query, falling.
    """

    vectors: np.ndarray
    queries: np.ndarray
    best: np.ndarray


def make_corpus(rows: int, dim: int, *, queries: int = 256, k: int = 100, seed: int = 0) -> Corpus:
    """Draw a corpus: points around centres in a space of LATENT dimensions, turned into one of `dim` with some noise.

    Learned embeddings fill few of their dimensions; vectors drawn in all of them are all equally far from each other,
    and vectors that only sit around centres are found by looking at one list.

    Args:
        rows: vectors.
        dim: their length.
        queries: queries.
        k: places of the exact answer.
        seed: the same seed draws the same corpus.
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, rows // ROWS_A_CENTRE), LATENT), dtype=np.float32)
    turned = rng.standard_normal((LATENT, dim), dtype=np.float32) / np.float32(np.sqrt(LATENT))
    vectors = np.empty((rows, dim), np.float32)
    for start in range(0, rows, BLOCK):
        vectors[start : start + BLOCK] = _draw(centres, turned, min(BLOCK, rows - start), rng)
    asked = _draw(centres, turned, queries, rng)
    best, _ = exact_search(asked, vectors, np.arange(rows), min(k, rows))
    return Corpus(vectors=vectors, queries=asked, best=best)


def recall(scores: np.ndarray, best: np.ndarray) -> float:
    """Share of the exact answer that was found, judged by true score, so that ties count."""
    return round(float(np.mean(scores[:, : best.shape[1]] >= best[:, -1:] - 1e-5)), 4)


def _draw(centres: np.ndarray, turned: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    points = centres[rng.integers(len(centres), size=rows)]
    points = points + rng.standard_normal(points.shape, dtype=np.float32)
    drawn = points @ turned
    drawn += NOISE * rng.standard_normal(drawn.shape, dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return np.asarray(drawn, np.float32)
