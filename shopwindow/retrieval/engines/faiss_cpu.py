"""FAISS on the CPU behind the engine interface: flat (exact), HNSW and IVF, with whole or compressed vectors."""

from __future__ import annotations

import math
from pathlib import Path

import faiss
import numpy as np

from shopwindow.retrieval.engines.equal_rows import EqualRows, remove_beside
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
        equal: the rows of each vector, if the index holds equal vectors once; None if it holds a vector for each row.
    """

    def __init__(self, index: faiss.Index, recipe: Recipe, equal: EqualRows | None = None) -> None:
        self._index = index
        self._equal = equal
        self.recipe = recipe

    @classmethod
    def build(cls, vectors: np.ndarray, recipe: Recipe) -> FaissCpuEngine:
        """Train and fill an index. A graph holds equal vectors once.

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
        equal = EqualRows.of(vectors) if recipe.kind == "hnsw" else None
        count = len(vectors) if equal is None else len(equal.distinct)
        for start in range(0, count, _BLOCK):  # memory-mapped vectors need not fit into memory
            block = slice(start, start + _BLOCK)
            index.add(np.ascontiguousarray(vectors[block if equal is None else equal.distinct[block]], np.float32))
        return cls(index, recipe, equal)

    @classmethod
    def read(cls, file: Path, recipe: Recipe) -> FaissCpuEngine:
        """Load an index written by `write`.

        Raises:
            OSError, EOFError, RuntimeError: a file cannot be read.
            ValueError: the file of equal rows does not belong to the index.
        """
        index = faiss.read_index(str(file))
        return cls(index, recipe, EqualRows.read(file, index.ntotal))

    def write(self, file: Path) -> None:
        """Write the FAISS index to `file`, and which rows are equal beside it."""
        faiss.write_index(self._index, str(file))
        remove_beside(file)
        if self._equal is not None:
            self._equal.write(file)

    @property
    def rows(self) -> int:
        """See `SearchEngine.rows`."""
        return int(self._index.ntotal) if self._equal is None else len(self._equal.first)

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
        different = "" if self._equal is None else f" ({self._index.ntotal} different ones)"
        return f"FAISS on the CPU, {self.recipe.factory}, {self.rows} vectors{different} of {self.dim} dimensions"

    def spare(self, k: int) -> int:
        """See `SearchEngine.spare`."""
        return self.recipe.spare(k)

    def search(self, queries: np.ndarray, k: int, effort: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        """See `SearchEngine.search`."""
        if self._equal is None:
            return self._search(queries, k, effort, mask)
        return self._equal.search(self._search, queries, k, effort, mask)

    def _search(self, queries: np.ndarray, k: int, effort: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        """Search the FAISS index. Rows and the mask's rows are numbers of its vectors."""
        held = int(self._index.ntotal)
        faiss.omp_set_num_threads(SEARCH_THREADS)
        selector = None if mask is None else faiss.IDSelectorBitmap(mask.bits)
        # A filter leaves fewer rows in each list or neighbourhood. If it leaves a tenth of them, search ten times as
        # widely. Otherwise recall would fall with the share of rows that the filter leaves.
        share = 1.0 if mask is None else mask.share
        breadth = min(math.ceil(self.recipe.breadth_at(effort) / share), max(held, 1))
        if self.recipe.inverted:
            # Search enough lists to hold 2 k rows. Otherwise a large top_k would return too few rows.
            lists_for_k = math.ceil(2 * k * self._index.nlist / max(held, 1) / share)
            parameters = faiss.SearchParametersIVF(
                sel=selector, nprobe=min(self._index.nlist, max(breadth, lists_for_k))
            )
        elif self.recipe.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=max(breadth, 2 * k))
        else:
            parameters = faiss.SearchParameters(sel=selector)
        scores, rows = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        return scores, rows
