"""Choose the engine for an index folder, by the options, the recipe of the index and the GPUs of this machine."""

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
    """Load an index into the engine that will search it.

    `Where.AUTO` falls back to the CPU if FAISS sees no GPU, has no kernels for the GPU, or the recipe has no form on
    GPUs. It does not fall back if the index does not fit, because the search would silently be a hundred times slower.

    Args:
        vectors: (rows, dim) float32; may be memory-mapped.
        file: the FAISS index; not read for the flat recipe.
        recipe: how the index was built.
        options: where to search.
        gpus: the GPUs of the machine; None takes the real ones.

    Raises:
        EngineUnfit: the GPU was requested or chosen and cannot take the index, or Milvus was requested.
        OSError, RuntimeError: `file` cannot be read.
    """
    if options.where is Where.MILVUS:
        raise EngineUnfit(
            f"SHOPWINDOW_ENGINE=milvus: the vectors of {file.parent} are not in Milvus; put them into Milvus with "
            "'shopwindow milvus', and serve the index folder that this command writes"
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
        # Ask before trying: without a kernel for the GPU, FAISS ends the process, and there is no error to catch.
        capability = gpus.capability(device) if device < gpus.count else None
        if capability is not None and not OLDEST_GPU <= capability < BEYOND_GPUS:
            return False
    try:
        form_of(recipe, cuvs=gpus.cuvs)
    except EngineUnfit:
        return False
    return True
