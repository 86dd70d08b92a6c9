"""Which engine searches an index folder: what was asked for, what the index can be, and what this machine has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shopwindow.retrieval.engines.faiss_cpu import FaissCpuEngine
from shopwindow.retrieval.engines.faiss_gpu import FaissGpuEngine
from shopwindow.retrieval.engines.gpu_devices import FaissGpus, Gpus
from shopwindow.retrieval.engines.gpu_index_forms import BEYOND_GPUS, OLDEST_GPU, form_of
from shopwindow.retrieval.engines.interface import SearchEngine
from shopwindow.retrieval.engines.options import EngineOptions, Where
from shopwindow.retrieval.engines.recipes import Recipe
from shopwindow.retrieval.errors import EngineUnfit


def open_engine(
    vectors: np.ndarray, file: Path, recipe: Recipe, options: EngineOptions, gpus: Gpus | None = None
) -> SearchEngine:
    """Load an index where it is to be searched.

    `Where.AUTO` falls back to the CPU when FAISS sees no GPU, has no kernels for it, or the recipe has no form there;
    never because the index does not fit, since a search that is silently a hundred times slower helps nobody.

    Args:
        vectors: (rows, dim) float32; may be memory-mapped.
        file: the FAISS index; not read for the flat recipe.
        recipe: how it was built.
        options: where to search.
        gpus: the machine; None takes the real one.

    Raises:
        EngineUnfit: the GPU was asked for, or is there, and can't take the index; or Milvus was asked for.
        OSError, RuntimeError: `file` can't be read.
    """
    if options.where is Where.MILVUS:
        raise EngineUnfit(
            f"SHOPWINDOW_ENGINE=milvus: {file.parent} holds its vectors itself; put them into Milvus with 'shopwindow "
            "milvus' and serve the index folder that it writes"
        )
    gpus = gpus or FaissGpus()
    if options.where is Where.GPU or (options.where is Where.AUTO and _suits(recipe, options, gpus)):
        return FaissGpuEngine.open(vectors, file, recipe, options, gpus)
    if recipe.kind == "flat":
        return FaissCpuEngine.build(vectors, recipe)
    return FaissCpuEngine.read(file, recipe)


def _suits(recipe: Recipe, options: EngineOptions, gpus: Gpus) -> bool:
    if gpus.count == 0:
        return False
    for device in options.devices if not gpus.cuvs else ():
        # Without a kernel for its GPU, FAISS ends the process that asks: nothing to catch.
        found = gpus.capability(device) if device < gpus.count else None
        if found is not None and not OLDEST_GPU <= found < BEYOND_GPUS:
            return False
    try:
        form_of(recipe, cuvs=gpus.cuvs)
    except EngineUnfit:
        return False
    return True
