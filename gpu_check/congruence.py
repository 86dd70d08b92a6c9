"""FAISS on the GPU against FAISS on the CPU, and the selector that classic GPU indexes ignore."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from gpu_check.steps import Step
from gpu_check.vectors import Corpus, make_corpus, recall
from retrieval.engines import EngineOptions, FaissCpuEngine, FaissGpuEngine, Where
from retrieval.engines.gpu_plan import make_plan
from retrieval.engines.gpus import FaissGpus, Gpus, fill
from retrieval.engines.selectors import honours_selectors, selector
from retrieval.parameters import DEFAULT_EFFORT
from retrieval.recipes import choose_recipe
from retrieval.rescoring import search_rescored
from retrieval.row_mask import RowMask

ROWS, DIM, K = 200_000, 128, 100
KINDS = ("flat", "ivf", "ivf-sq8", "ivf-pq32")
NEEDS = ("gpu", "faiss-gpu")
GPU = EngineOptions(where=Where.GPU)
TOLERANCE = 1e-5


def steps(folder: Path, gpus: Gpus | None = None, *, rows: int = ROWS) -> list[Step]:
    """A step a recipe, and one for the selector trap.

    Args:
        folder: for index files.
        gpus: the machine; None takes the real one.
        rows: vectors.
    """
    gpus = gpus or FaissGpus()
    corpus = cache(lambda: make_corpus(rows, DIM))
    return [
        *(
            Step(
                name=f"congruence/{kind}",
                needs=NEEDS,
                run=partial(lambda kind: compare(corpus(), kind, folder, gpus), kind),
            )
            for kind in KINDS
        ),
        Step(name="congruence/selector", needs=NEEDS, run=lambda: spring_the_trap(corpus(), gpus)),
    ]


def compare(corpus: Corpus, kind: str, folder: Path, gpus: Gpus) -> dict[str, Any]:
    """The same folder on both processors, with and without a filter.

    Raises:
        AssertionError: flat search differs, a forbidden row came back, or the GPU finds clearly less than the CPU.
    """
    rows = len(corpus.vectors)
    recipe = choose_recipe(rows, kind)
    cpu = FaissCpuEngine.build(corpus.vectors, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{kind}.faiss"
    if recipe.inverted:
        cpu.write(file)
    gpu = FaissGpuEngine.open(corpus.vectors, file, recipe, GPU, gpus)
    half = RowMask(np.random.default_rng(1).random(rows) < 0.5)
    found: dict[str, Any] = {"engine": gpu.description}
    for name, mask in (("all", None), ("half", half)):
        its, ours = (
            search_rescored(engine, corpus.vectors, corpus.queries, K, DEFAULT_EFFORT, mask) for engine in (cpu, gpu)
        )
        if mask is not None and not mask.rows[ours[1][ours[1] >= 0]].all():
            raise AssertionError("a row that the filter forbids came back")
        found[f"{name}: same rows"] = round(_shared(its[1], ours[1]), 5)
        found[f"{name}: largest difference of scores"] = float(np.abs(its[0] - ours[0])[np.isfinite(its[0])].max())
        found[f"{name}: short of k"] = int((ours[1] < 0).any(axis=1).sum())
        if kind == "flat" and not np.allclose(its[0], ours[0], rtol=0, atol=TOLERANCE):
            raise AssertionError(f"flat: scores differ by {np.abs(its[0] - ours[0]).max():.2e}, more than {TOLERANCE}")
        if mask is None:
            found["recall@100 CPU"], found["recall@100 GPU"] = recall(its[0], corpus.best), recall(ours[0], corpus.best)
            if found["recall@100 GPU"] < found["recall@100 CPU"] - 0.01:
                raise AssertionError(f"the GPU finds less than the CPU: {found}")
    return found


def spring_the_trap(corpus: Corpus, gpus: Gpus) -> dict[str, Any]:
    """Ask a plain GPU index with a selector, and see what comes back.

    Raises:
        AssertionError: the probe and the real index disagree.
    """
    rows, dim = corpus.vectors.shape
    plan = make_plan(choose_recipe(rows, "flat"), rows, dim, GPU, cuvs=gpus.cuvs)
    naive = fill(gpus, faiss.IndexFlatIP(dim), corpus.vectors, plan, GPU)
    mask = np.random.default_rng(2).random(rows) < 0.5
    _, found = naive.search(corpus.queries, K, params=gpus.parameters(plan.form, K, selector(RowMask(mask))))
    forbidden = float((~mask[found]).mean())
    obeys = honours_selectors(gpus, plan, GPU)
    if obeys != (forbidden == 0):
        raise AssertionError(f"the probe says {obeys}, and {forbidden:.0%} of the rows found are forbidden")
    return {"forbidden rows returned": round(forbidden, 4), "probe: obeys selectors": obeys}


def _shared(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(left, right, strict=True)]))
