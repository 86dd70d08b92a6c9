"""Index recipes: which FAISS index suits how many products, and what a higher search effort means for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

# Up to this many rows, exact search over 128 dimensions takes about 1 ms on one core. Its time grows with the rows.
FLAT_ROWS = 20_000
KINDS = ("flat", "hnsw", "ivf", "ivf-sq8", "ivf-pq32")

# What each recipe costs compared with exact search, for people who choose one.
LOSSES = {
    "flat": "nothing, it is exact; its time grows with the number of products",
    "hnsw": "memory, and the longest build time; recall as calibrated",
    "ivf": "recall as calibrated",
    "ivf-sq8": "recall as calibrated; reads twice top_k whole vectors from disk to score them",
    "ivf-pq32": "recall as calibrated; reads six times top_k whole vectors from disk to score them",
}
# Inverted lists grow by doubling, so while they are filled they take up to twice the memory, 1.5 times on average.
_BUILD_FACTOR = 1.5
_GIB = 2**30

# How an inverted list keeps a vector, as FAISS's index_factory calls it: whole, one byte per dimension, or 32 bytes.
# "np" leaves out polysemous codes, which take a minute to train and which our searches do not use.
_STORAGE = {"ivf": "Flat", "ivf-sq8": "SQ8", "ivf-pq32": "PQ32np"}
# A product quantiser learns 256 values per byte, and FAISS asks for 39 training rows per value. More do not help.
_PQ_TRAINING_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an index is built and searched.

    Attributes:
        kind: "flat" (exact), "hnsw", "ivf", or an IVF with compressed vectors: "ivf-sq8" (one byte per dimension) or
            "ivf-pq32" (32 bytes per vector; the dimension must be a multiple of 32).
        factory: text for FAISS's index_factory.
        search_breadth: nprobe (ivf) or efSearch (hnsw) at effort 5; 0 for flat.
        max_breadth: largest useful breadth; 0 for flat.
        construction: efConstruction (hnsw), else 0.
        training_rows: rows sampled to train the coarse quantiser (ivf), else 0.
    """

    kind: str
    factory: str
    search_breadth: int = 0
    max_breadth: int = 0
    construction: int = 0
    training_rows: int = 0

    @property
    def inverted(self) -> bool:
        """Whether the index is an IVF. Its breadth is a number of lists."""
        return self.kind in _STORAGE

    def spare(self, k: int) -> int:
        """Return how many candidates to fetch beside k rows; 0 for whole vectors.

        Compressed vectors rank only roughly, so more candidates are scored with whole vectors.
        """
        return {"ivf-sq8": k, "ivf-pq32": 5 * k}.get(self.kind, 0)

    def bytes_per_vector(self, dim: int) -> float:
        """Return the memory of one vector in the FAISS index, in bytes. The list centres of an IVF are not included.

        `vectors.npy` is not included either. It is on disk, 4 bytes per dimension, and only takes page cache for the
        parts that are read.

        Args:
            dim: vector length.
        """
        # HNSW32: 64 links of 4 bytes at the lowest level; 32 more at each level above, which every 32nd vector reaches;
        # an offset of 8 bytes and a level number of 4. IVF: an id of 8 bytes.
        return {
            "flat": 4 * dim,
            "hnsw": 4 * dim + 64 * 4 + 32 * 4 / 31 + 12,
            "ivf": 4 * dim + 8,
            "ivf-sq8": dim + 8,
            "ivf-pq32": 32 + 8,
        }[self.kind]

    def share_scored(self, rows: int) -> float:
        """Return the share of `rows` vectors that a search scores at effort 5, 0 to 1. List centres count too.

        For HNSW this is an estimate: two neighbourhoods of 64 links for every place of its queue.
        """
        if self.inverted:
            return min(1.0, self.search_breadth / self.max_breadth + self.max_breadth / rows)
        return min(1.0, 128 * self.search_breadth / rows) if self.kind == "hnsw" else 1.0

    def breadth_at(self, effort: int) -> int:
        """Return the search breadth at an effort of 1 to 10: `search_breadth` times 2 to the power of (effort - 5)."""
        return max(1, min(self.max_breadth, round(self.search_breadth * 2.0 ** (effort - 5))))

    def with_breadth(self, breadth: int) -> Recipe:
        """Return the same recipe with another breadth at effort 5."""
        return replace(self, search_breadth=min(breadth, self.max_breadth))


def choose_recipe(rows: int, kind: str | None = None, *, dim: int = 128, memory: int | None = None) -> Recipe:
    """Return the recipe for a catalogue of `rows` products.

    Args:
        rows: number of vectors.
        kind: one of KINDS, even if it does not fit into `memory`. None picks flat up to FLAT_ROWS, and above it the
            first of ivf, ivf-sq8 and ivf-pq32 that fits.
        dim: vector length.
        memory: bytes that the index may take while it is built; None for no limit.

    Raises:
        ValueError: the kind is unknown, or no recipe fits; says how much memory is needed.
    """
    if kind is None:
        kinds = ["flat"] if rows <= FLAT_ROWS else ["ivf", "ivf-sq8", *(["ivf-pq32"] if dim % 32 == 0 else [])]
        for candidate in kinds:
            recipe = _recipe(rows, candidate)
            needed = int(_BUILD_FACTOR * rows * recipe.bytes_per_vector(dim)) + 4 * dim * recipe.max_breadth
            if memory is None or needed <= memory:
                return recipe
        assert memory is not None  # without a limit the first one fits
        raise ValueError(
            f"memory: to index {rows} products of {dim} dimensions as {candidate}, the smallest recipe, takes "
            f"{needed / _GIB:.3g} GiB, but only {memory / _GIB:.3g} GiB may be used: allow more with --memory if the "
            "machine has more, or see docs/scaling.md for several machines"
        )
    return _recipe(rows, kind)


def _recipe(rows: int, kind: str) -> Recipe:
    if kind == "flat":
        return Recipe(kind="flat", factory="Flat")
    if kind == "hnsw":
        return Recipe(kind="hnsw", factory="HNSW32,Flat", search_breadth=64, max_breadth=4_096, construction=200)
    if kind in _STORAGE:
        # FAISS asks for at least 39 training rows per list, and recommends 4 * sqrt(rows) lists.
        lists = max(1, min(int(4 * math.sqrt(rows)), rows // 39))
        return Recipe(
            kind=kind,
            factory=f"IVF{lists},{_STORAGE[kind]}",
            search_breadth=min(lists, 16),
            max_breadth=lists,
            training_rows=min(rows, max(64 * lists, _PQ_TRAINING_ROWS if kind == "ivf-pq32" else 0)),
        )
    raise ValueError(f"recipe: must be one of {', '.join(KINDS)}, got {kind!r}")
