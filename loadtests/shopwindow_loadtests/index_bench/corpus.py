"""Made-up vectors, saved on the disk, on which an index works as it does on learned ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shopwindow.retrieval.search.exact import exact_search
from shopwindow_loadtests.index_bench.made_up_vectors import Corpus

BLOCK = 500_000
# Kinds of products. The number is the same at every size, because a catalogue grows by more products of its kinds.
CLUSTERS = 20_000
LATENT = 24
# Spread of the products around the centre of their kind, and noise in all dimensions. Centres have a spread of 1.
SPREAD, NOISE = np.float32(0.7), np.float32(0.1)


def kept_corpus(folder: Path, rows: int, dim: int, *, queries: int, k: int) -> Corpus:
    """Draw a corpus, or read it if it was drawn before. Its vectors stay on the disk.

    Learned embeddings fill few of their dimensions, and form clusters in these. Vectors drawn evenly in all dimensions
    are equally far from each other, so no index helps. Vectors in clusters that keep apart are all found in one list.

    Args:
        folder: Folder for the corpus.
        rows: Number of vectors.
        dim: Their length.
        queries: Number of queries. They are drawn like the vectors.
        k: Length of the exact answers.
    """
    place = folder / f"corpus-{rows}"
    if not place.is_dir():
        new = folder / f"corpus-{rows}.new"
        new.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((CLUSTERS, LATENT), dtype=np.float32)
        turned = rng.standard_normal((LATENT, dim), dtype=np.float32) / np.float32(np.sqrt(LATENT))
        vectors: np.ndarray = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
            new / "vectors.npy", "w+", np.float32, (rows, dim)
        )
        for start in range(0, rows, BLOCK):
            vectors[start : start + BLOCK] = _draw(centres, turned, min(BLOCK, rows - start), rng)
        asked = _draw(centres, turned, queries, rng)
        best, _ = exact_search(asked, vectors, np.arange(rows), min(k, rows))
        np.save(new / "queries.npy", asked)
        np.save(new / "best.npy", best)
        new.replace(place)
    return Corpus(
        vectors=np.load(place / "vectors.npy", mmap_mode="r"),
        queries=np.load(place / "queries.npy"),
        best=np.load(place / "best.npy"),
    )


def _draw(centres: np.ndarray, turned: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    points = centres[rng.integers(len(centres), size=rows)]
    points += SPREAD * rng.standard_normal(points.shape, dtype=np.float32)
    drawn = points @ turned + NOISE * rng.standard_normal((rows, turned.shape[1]), dtype=np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)
