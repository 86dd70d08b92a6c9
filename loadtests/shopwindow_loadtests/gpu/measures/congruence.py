"""Compares FAISS on the GPU with FAISS on the CPU, and checks the selector that classic GPU indexes ignore."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa

from shopwindow.retrieval import ProductIndex, parse_parameters
from shopwindow.retrieval.engines import EngineOptions, FaissCpuEngine, FaissGpuEngine, SearchEngine, Where
from shopwindow.retrieval.engines.gpu_devices import FaissGpus, Gpus, fill
from shopwindow.retrieval.engines.gpu_filters import honours_selectors, selector
from shopwindow.retrieval.engines.gpu_index_forms import make_plan
from shopwindow.retrieval.engines.recipes import Recipe, choose_recipe
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.index.folder import IndexFolder, Manifest
from shopwindow.retrieval.search.exact import exact_search
from shopwindow_loadtests.gpu.steps import Step
from shopwindow_loadtests.index_bench.made_up_vectors import Corpus, make_corpus, recall

ROWS, DIM, K = 200_000, 128, 100
KINDS = ("flat", "ivf", "ivf-sq8", "ivf-pq32")
NEEDS = ("gpu", "faiss-gpu")
GPU = EngineOptions(where=Where.GPU)
TOLERANCE = 1e-5
RECALL_LOSS = 0.01


def steps(folder: Path, gpus: Gpus | None = None) -> list[Step]:
    """Return a step for each recipe and one for the selector trap.

    Args:
        folder: Folder for index files.
        gpus: The machine; None takes the real one.
    """
    gpus = gpus or FaissGpus()
    corpus = cache(lambda: make_corpus(ROWS, DIM))
    return [
        *(
            Step(
                name=f"congruence/{kind}",
                needs=NEEDS,
                run=partial(lambda kind: compare(corpus(), kind, folder, gpus), kind),
            )
            for kind in KINDS
        ),
        Step(name="congruence/selector", needs=NEEDS, run=lambda: check_selector_probe(corpus(), gpus)),
    ]


def compare(corpus: Corpus, kind: str, folder: Path, gpus: Gpus) -> dict[str, Any]:
    """Search the same vectors on both processors, with and without a filter, in the way of a server.

    Raises:
        AssertionError: Flat search differs, a forbidden row came back, fewer than K rows came back, or the GPU finds
            clearly less than the CPU.
    """
    rows = len(corpus.vectors)
    recipe = choose_recipe(rows, kind)
    cpu = FaissCpuEngine.build(corpus.vectors, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{kind}.faiss"
    if recipe.inverted:
        cpu.write(file)
    gpu = FaissGpuEngine.open(corpus.vectors, file, recipe, GPU, gpus)
    half = np.random.default_rng(1).random(rows) < 0.5
    indexes = [_index(corpus.vectors, recipe, engine, half) for engine in (cpu, gpu)]
    found: dict[str, Any] = {"engine": gpu.description}
    for name, conditions, allowed in (("all", {}, np.arange(rows)), ("half", {"half": 1}, np.flatnonzero(half))):
        wanted = parse_parameters({"top_k": K, "filter": conditions})
        its, ours = (index.search_batch([(corpus.queries, wanted)])[0] for index in indexes)
        best, _ = exact_search(corpus.queries, corpus.vectors, allowed, K)
        short = int((ours.product_ids < 0).any(axis=1).sum())
        if short:
            raise AssertionError(f"{name}: {short} of {len(corpus.queries)} queries found fewer than {K} rows")
        if not np.isin(ours.product_ids, allowed).all():
            raise AssertionError("a row that the filter forbids came back")
        found[f"{name}: same rows"] = round(_shared(its.product_ids, ours.product_ids), 5)
        difference = float(np.abs(its.scores - ours.scores).max())
        found[f"{name}: largest difference of scores"] = difference
        if kind == "flat" and not difference <= TOLERANCE:
            raise AssertionError(f"flat: scores differ by {difference:.2e}, more than {TOLERANCE}")
        there, here = (recall(_scores(corpus, result.product_ids), best) for result in (its, ours))
        found[f"{name}: recall@{K} CPU"], found[f"{name}: recall@{K} GPU"] = there, here
        if here < there - RECALL_LOSS:
            raise AssertionError(f"{name}: the GPU finds less than the CPU: {found}")
    return found


def _index(vectors: np.ndarray, recipe: Recipe, engine: SearchEngine, half: np.ndarray) -> ProductIndex:
    """Return an index around an engine. Product ids are row numbers, and `half` is a column to filter on."""
    rows, dim = vectors.shape
    manifest = Manifest(
        generation=1,
        count=rows,
        dim=dim,
        tower_hash="",
        recipe=recipe,
        recall_at_100=1.0,
        skipped=0,
        build_seconds=0.0,
        catalog="",
        created="",
    )
    columns = pa.table({"half": half.astype(np.int64)})
    return ProductIndex(
        IndexFolder(manifest=manifest, vectors=vectors, product_ids=np.arange(rows), attributes=columns, engine=engine)
    )


def check_selector_probe(corpus: Corpus, gpus: Gpus) -> dict[str, Any]:
    """Search a plain GPU index with a selector and look at the results.

    Raises:
        AssertionError: The probe and the real index disagree.
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


def _scores(corpus: Corpus, rows: np.ndarray) -> np.ndarray:
    """Return the true scores of the rows found, whatever the index says. A missing row scores minus infinity."""
    scores = np.einsum("qd,qkd->qk", corpus.queries, corpus.vectors[rows])
    return np.where(rows >= 0, scores, np.float32(-np.inf))


def _shared(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(left, right, strict=True)]))
