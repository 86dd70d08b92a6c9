"""Measures FAISS on the GPU at catalogue size: time by batch and effort, with recall and memory."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import faiss

from shopwindow.base.machine import usable_cores
from shopwindow.retrieval.engines import EngineOptions, FaissCpuEngine, FaissGpuEngine, Where
from shopwindow.retrieval.engines.gpu_devices import FaissGpus, Gpus
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.engines.rescoring import search_rescored
from shopwindow_loadtests.gpu.measures.timing import measure
from shopwindow_loadtests.gpu.steps import Step
from shopwindow_loadtests.index_bench.made_up_vectors import Corpus, make_corpus, recall

SIZES = {"1M": 1_000_000, "10M": 10_000_000}
KINDS = ("flat", "ivf-sq8", "ivf-pq32")
BATCHES = (1, 8, 64, 256)
EFFORTS = (3, 5, 7)
DIM, K = 128, 100


def steps(folder: Path, gpus: Gpus | None = None) -> list[Step]:
    """Return a step for each size and recipe, small sizes first. The vectors of one size are made once."""
    corpus = lru_cache(maxsize=1)(lambda rows: make_corpus(rows, DIM, k=K))
    return [
        Step(
            name=f"search/{size}/{kind}",
            needs=("gpu", "faiss-gpu"),
            # A separate machine object each, which takes and frees its own scratch memory.
            run=partial(lambda rows, kind: measure_search(corpus(rows), kind, folder, gpus or FaissGpus()), rows, kind),
        )
        for size, rows in SIZES.items()
        for kind in KINDS
    ]


def measure_search(corpus: Corpus, kind: str, folder: Path, gpus: Gpus, *, seconds: float = 0.5) -> dict[str, Any]:
    """Time a search as a server does it: candidates from the GPU, rescored with the full vectors.

    Args:
        corpus: The vectors and queries.
        kind: Kind of the recipe.
        folder: Folder for the index file. A second run reuses it.
        gpus: The machine.
        seconds: Time for each figure.

    Returns:
        `engine`; `used_mib`: memory of the index without scratch memory; `efforts`: recall and times by effort.
    """
    recipe = choose_recipe(len(corpus.vectors), kind)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{kind}-{len(corpus.vectors)}.faiss"
    if recipe.inverted and not file.exists():
        faiss.omp_set_num_threads(usable_cores())  # a search on the CPU has set this to one
        FaissCpuEngine.build(corpus.vectors, recipe).write(file)
    options = EngineOptions(where=Where.GPU)
    before = gpus.free_bytes(0)
    engine = FaissGpuEngine.open(corpus.vectors, file, recipe, options, gpus)
    after = gpus.free_bytes(0)
    found: dict[str, Any] = {"engine": engine.description, "efforts": {}}
    if before is not None and after is not None:
        found["used_mib"] = round((before - after - options.temp_bytes) / 2**20)
    for effort in EFFORTS if recipe.inverted else EFFORTS[1:2]:
        scores, _ = search_rescored(engine, corpus.vectors, corpus.queries, K, effort, None)
        found["efforts"][str(effort)] = {
            "recall": recall(scores, corpus.best),
            "batches": {
                str(batch): asdict(
                    measure(
                        partial(search_rescored, engine, corpus.vectors, corpus.queries[:batch], K, effort, None),
                        seconds=seconds,
                        least=10,
                    )
                )
                for batch in BATCHES
            },
        }
    return found
