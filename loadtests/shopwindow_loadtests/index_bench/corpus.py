"""Made-up vectors that an index finds its way among as among learned ones, kept on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shopwindow.retrieval.search.product_index import exact_search
from shopwindow_loadtests.index_bench.made_up_vectors import Corpus

BLOCK = 500_000
# Kinds of products: a catalogue grows by more of the kinds that it has. The same at every size.
CLUSTERS = 20_000
LATENT = 24
# Of a kind's products around its centre, and of all dimensions around the LATENT ones; centres have a spread of 1.
SPREAD, NOISE = np.float32(0.7), np.float32(0.1)


def kept_corpus(folder: Path, rows: int, dim: int, *, queries: int, k: int, clusters: int = CLUSTERS) -> Corpus:
    """Draw a corpus, or find it where it was drawn before; its vectors stay on the disk.

    Learned embeddings fill few of their dimensions, and fill these in clusters. Vectors drawn evenly in all dimensions
    are all equally far from each other, and no index helps; ones in clusters that keep apart are found in one list.

    Args:
        folder: keeps it.
        rows: vectors.
        dim: their length.
        queries: queries, drawn as the vectors are.
        k: places of the exact answer.
        clusters: centres of the mixture.
    """
    place = folder / f"corpus-{rows}"
    if not place.is_dir():
        new = folder / f"corpus-{rows}.new"
        new.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((clusters, LATENT), dtype=np.float32)
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
