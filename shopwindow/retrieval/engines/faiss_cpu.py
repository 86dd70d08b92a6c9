"""FAISS on the CPU behind the engine interface: flat (exact), HNSW and IVF, with whole or compressed vectors."""

from __future__ import annotations

import math
from pathlib import Path

import faiss
import numpy as np

from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.engines.row_mask import RowMask

# Each instance of the server has one thread, so FAISS gets no further ones. With several instances on the same cores,
# FAISS's spinning OpenMP threads would halve the throughput.
SEARCH_THREADS = 1
_BLOCK = 262_144  # vectors added at a time


class FaissCpuEngine:
    """One FAISS index held in memory.

    Args:
        index: a trained and filled FAISS index with the inner-product metric.
        recipe: how the index was built. Its `search_breadth` is nprobe (IVF) or efSearch (HNSW) at effort 5.
    """

    def __init__(self, index: faiss.Index, recipe: Recipe) -> None:
        self._index = index
        self.recipe = recipe

    @classmethod
    def build(cls, vectors: np.ndarray, recipe: Recipe) -> FaissCpuEngine:
        """Train and fill an index.

        Args:
            vectors: (rows, dim) float32, L2-normalised; may be memory-mapped.
            recipe: what to build.

        Raises:
            ValueError: the recipe cannot hold vectors of this length.
        """
        if recipe.kind == "ivf-pq32" and vectors.shape[1] % 32:
            raise ValueError(
                f"recipe: ivf-pq32 needs a dimension that is a multiple of 32, got {vectors.shape[1]}; use ivf-sq8"
            )
        index = faiss.index_factory(vectors.shape[1], recipe.factory, faiss.METRIC_INNER_PRODUCT)
        if recipe.kind == "hnsw":
            index.hnsw.efConstruction = recipe.construction
        if not index.is_trained:
            sample = vectors
            if recipe.training_rows and recipe.training_rows < len(vectors):
                chosen = np.random.default_rng(0).choice(len(vectors), recipe.training_rows, replace=False)
                sample = vectors[np.sort(chosen)]
            index.train(np.ascontiguousarray(sample, dtype=np.float32))
        for start in range(0, len(vectors), _BLOCK):  # memory-mapped vectors need not fit into memory
            index.add(np.ascontiguousarray(vectors[start : start + _BLOCK], dtype=np.float32))
        return cls(index, recipe)

    @classmethod
    def read(cls, file: Path, recipe: Recipe) -> FaissCpuEngine:
        """Load an index written by `write`."""
        return cls(faiss.read_index(str(file)), recipe)

    def write(self, file: Path) -> None:
        """Write the FAISS index to `file`."""
        faiss.write_index(self._index, str(file))

    @property
    def rows(self) -> int:
        """Number of indexed vectors."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Length of an indexed vector."""
        return int(self._index.d)

    @property
    def largest_k(self) -> int:
        """See `SearchEngine.largest_k`."""
        return self.rows

    @property
    def description(self) -> str:
        """See `SearchEngine.description`."""
        return f"FAISS on the CPU, {self.recipe.factory}, {self.rows} vectors of {self.dim} dimensions"

    def spare(self, k: int) -> int:
        """See `SearchEngine.spare`."""
        return self.recipe.spare(k)

    def search(self, queries: np.ndarray, k: int, effort: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        """See `SearchEngine.search`."""
        faiss.omp_set_num_threads(SEARCH_THREADS)
        selector = None if mask is None else faiss.IDSelectorBitmap(mask.bits)
        # A filter leaves fewer rows in each list or neighbourhood. If it leaves a tenth of them, search ten times as
        # widely. Otherwise recall would fall with the share of rows that the filter leaves.
        share = 1.0 if mask is None else mask.share
        breadth = min(math.ceil(self.recipe.breadth_at(effort) / share), max(self.rows, 1))
        if self.recipe.inverted:
            # Search enough lists to hold 2 k rows. Otherwise a large top_k would return too few rows.
            lists_for_k = math.ceil(2 * k * self._index.nlist / max(self.rows, 1) / share)
            parameters = faiss.SearchParametersIVF(
                sel=selector, nprobe=min(self._index.nlist, max(breadth, lists_for_k))
            )
        elif self.recipe.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(breadth, 2 * k))
        else:
            parameters = faiss.SearchParameters(sel=selector)
        scores, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        return scores, rows
