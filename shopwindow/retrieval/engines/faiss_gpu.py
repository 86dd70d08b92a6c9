"""FAISS on GPUs behind the engine interface: flat fp16, IVF (whole, SQ8, PQ32) and CAGRA.

It ranks as the CPU engine of the same folder does. Where the GPU keeps vectors in fewer bits, it only finds candidates,
and the caller scores them again with the whole vectors. A GPU can select a limited number of rows per search. A CPU
engine of the same index, kept beside the GPU's, answers searches that need more: a large k, a high effort, or a narrow
filter if this build of FAISS ignores selectors. Searches of one index wait for each other, and each process has its own
copy of the index. So run exactly one retriever instance per GPU.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from shopwindow.retrieval.engines.equal_rows import EqualRows
from shopwindow.retrieval.engines.faiss_cpu import FaissCpuEngine
from shopwindow.retrieval.engines.gpu_devices import FaissGpus, Gpus, fill
from shopwindow.retrieval.engines.gpu_filters import honours_selectors, keep_allowed, selector
from shopwindow.retrieval.engines.gpu_index_forms import Form, GpuPlan, check_memory, make_plan
from shopwindow.retrieval.engines.options import EngineOptions
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.errors import EngineUnfit

# If selectors are ignored, the search is unfiltered. It fetches twice as many rows as would hold k allowed ones if the
# filter were spread evenly.
OVERFETCH = 2.0
# In fp16 a cosine is wrong by some 3e-5, so the true best k are among k and a few more. This many places of the largest
# selection are reserved for them.
LEAST_SPARE = 64


class FaissGpuEngine:
    """One FAISS index on one or several GPUs; see `FaissGpuEngine.open`.

    Args:
        index: the filled index on the GPUs.
        plan: what each GPU holds.
        recipe: recipe of the index folder.
        options: which GPUs.
        gpus: the GPUs of the machine.
        obeys_selectors: whether this index obeys FAISS's selectors. Classic GPU indexes ignore them silently.
        cpu_engine: answers searches that need more rows than a GPU can select. It holds the same vectors as `index`.
            None for flat indexes: then the caller searches exactly.
        equal: the rows of each vector, if the index holds equal vectors once; None if it holds a vector for each row.
    """

    def __init__(
        self,
        index: Any,
        plan: GpuPlan,
        recipe: Recipe,
        options: EngineOptions,
        gpus: Gpus,
        *,
        obeys_selectors: bool,
        cpu_engine: FaissCpuEngine | None = None,
        equal: EqualRows | None = None,
    ) -> None:
        self._index = index
        self._equal = equal
        self._cpu_engine = cpu_engine
        self._plan = plan
        self._options = options
        self._gpus = gpus
        self.recipe = recipe
        self.obeys_selectors = obeys_selectors
        self._lock = threading.Lock()  # FAISS's GPU indexes serve one thread at a time

    @classmethod
    def open(
        cls, vectors: np.ndarray, file: Path, recipe: Recipe, options: EngineOptions, gpus: Gpus | None = None
    ) -> FaissGpuEngine:
        """Put an index folder's vectors on the GPUs.

        Args:
            vectors: (rows, dim) float32, L2-normalised; may be memory-mapped.
            file: the FAISS index that was built from them. It stays in main memory too, except for flat recipes.
            recipe: how the index was built.
            options: which GPUs, and how they share the index.
            gpus: the GPUs of the machine; None takes the real ones.

        Raises:
            EngineUnfit: there is no such GPU, it has too little memory, or the recipe has no form on GPUs.
            OSError, RuntimeError: `file` cannot be read.
        """
        gpus = gpus or FaissGpus()
        absent = [device for device in options.devices if device >= gpus.count]
        if absent:
            raise EngineUnfit(
                f"GPU {absent[0]}: FAISS sees {gpus.count} GPUs; install faiss-gpu instead of faiss-cpu (never both), "
                "check nvidia-smi and SHOPWINDOW_GPUS, or search on the CPU (SHOPWINDOW_ENGINE=cpu)"
            )
        built = None if recipe.kind == "flat" else faiss.read_index(str(file))
        equal = None if built is None else EqualRows.read(file, built.ntotal)
        if equal is not None:
            vectors = vectors[equal.distinct]
        rows, dim = vectors.shape
        plan = make_plan(recipe, rows, dim, options, cuvs=gpus.cuvs)
        for device in options.devices:
            check_memory(plan, device, gpus.free_bytes(device))
        source = built if recipe.inverted else faiss.IndexFlatIP(vectors.shape[1])
        try:
            obeys_selectors = honours_selectors(gpus, plan, options)
            index = fill(gpus, source, vectors, plan, options)
        except (RuntimeError, MemoryError) as error:
            raise EngineUnfit(f"GPU {options.devices}: FAISS could not put the index there: {error}") from error
        cpu_engine = None if built is None else FaissCpuEngine(built, recipe)
        return cls(
            index, plan, recipe, options, gpus, obeys_selectors=obeys_selectors, cpu_engine=cpu_engine, equal=equal
        )

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
        """See `SearchEngine.largest_k`. Without a CPU engine, the selection limit of the GPU kernels decides."""
        return self._plan.largest_selection - LEAST_SPARE if self._cpu_engine is None else self.rows

    @property
    def description(self) -> str:
        """See `SearchEngine.description`."""
        devices = ", ".join(map(str, self._options.devices))
        share = f" in {self._options.spread}" if len(self._options.devices) > 1 else ""
        filters = "FAISS's own selector" if self.obeys_selectors else "fetching more (this build ignores selectors)"
        return (
            f"FAISS on GPU {devices}{share}, {self._plan.form}, {self.rows} vectors of {self.dim} dimensions, "
            f"{self._plan.index_bytes / 2**20:.0f} MiB on each, filters by {filters}"
        )

    def spare(self, k: int) -> int:
        """See `SearchEngine.spare`."""
        return LEAST_SPARE if self._plan.form is Form.FLAT16 else self.recipe.spare(k)

    def search(self, queries: np.ndarray, k: int, effort: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        """See `SearchEngine.search`."""
        if self._equal is None:
            return self._search(queries, k, effort, mask)
        return self._equal.search(self._search, queries, k, effort, mask)

    def _search(self, queries: np.ndarray, k: int, effort: int, mask: RowMask | None) -> tuple[np.ndarray, np.ndarray]:
        """Search the index on the GPUs. Rows and the mask's rows are numbers of its vectors."""
        held = int(self._index.ntotal)
        share = 1.0 if mask is None else mask.share
        ignored = mask is not None and not self.obeys_selectors
        # If the index ignores the filter, only a share of the fetched rows is allowed, so fetch more.
        fetch = min(math.ceil(OVERFETCH * k / share), held, self._plan.largest_selection) if ignored else k
        # A graph search also visits rows that the filter forbids.
        reach = k / share if ignored or self._plan.form is Form.CAGRA else k
        breadth = self._breadth(effort, fetch, share)
        if max(reach, breadth) > self._plan.largest_selection:
            return self._search_without_gpu(queries, k, effort, mask)
        with self._lock:
            scores, rows = self._ask(np.ascontiguousarray(queries, np.float32), fetch, breadth, mask)
        rows = np.where(rows < held, rows, -1)  # cuVS marks places without a row by the largest number
        return (scores, rows) if mask is None else keep_allowed(scores, rows, mask, k)

    def _search_without_gpu(
        self, queries: np.ndarray, k: int, effort: int, mask: RowMask | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._cpu_engine is not None:
            return self._cpu_engine.search(queries, k, effort, mask)
        if k > self._plan.largest_selection:
            raise ValueError(
                f"k: a GPU selects at most {self._plan.largest_selection} rows a search, got {k}; search exactly"
            )
        # Find nothing, so that the caller searches the allowed rows exactly.
        return np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)

    def _ask(
        self, queries: np.ndarray, fetch: int, breadth: int, mask: RowMask | None
    ) -> tuple[np.ndarray, np.ndarray]:
        chosen = selector(mask) if mask is not None and self.obeys_selectors else None
        if chosen is not None or self._plan.form is Form.CAGRA:
            parameters = self._gpus.parameters(self._plan.form, breadth, chosen)
            scores, rows = self._index.search(queries, fetch, params=parameters)
        else:
            if self.recipe.inverted:  # not by search parameters, because replicas refuse them
                self._gpus.set_lists(self._index, breadth)
            scores, rows = self._index.search(queries, fetch)
        return scores, rows

    def _breadth(self, effort: int, fetch: int, share: float) -> int:
        """Return how many lists to visit, or candidates to keep: the same as in the CPU engine."""
        breadth = math.ceil(self.recipe.breadth_at(effort) / share)
        if self.recipe.inverted:
            kept = share if self.obeys_selectors else 1.0  # the share of the visited rows that counts
            lists_for_fetch = math.ceil(2 * fetch * self._plan.lists / max(int(self._index.ntotal), 1) / kept)
            return min(max(breadth, lists_for_fetch), self._plan.lists)
        return max(min(breadth, self._plan.largest_selection), fetch)
