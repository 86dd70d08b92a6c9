"""Filters on GPUs: find out whether this build obeys FAISS's selectors, and filter afterwards if it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import faiss
import numpy as np

from shopwindow.retrieval.engines.gpu_devices import Gpus, fill
from shopwindow.retrieval.engines.gpu_index_forms import Form, GpuPlan
from shopwindow.retrieval.engines.options import EngineOptions
from shopwindow.retrieval.engines.row_mask import RowMask

_FACTORIES = {Form.IVF: "IVF4,Flat", Form.IVF_SQ8: "IVF4,SQ8", Form.IVF_PQ32: "IVF4,PQ32np"}
_ROWS, _DIM, _QUERIES, _K = 1_024, 32, 8, 10


def honours_selectors(gpus: Gpus, plan: GpuPlan, options: EngineOptions) -> bool:
    """Return whether an index on these GPUs obeys FAISS's selectors, by a trial on a tiny index of the same form.

    Nothing else tells: classic GPU indexes take a selector and ignore it, replicas refuse it, and the behaviour of cuVS
    changes with its version.

    Args:
        gpus: the GPUs of the machine.
        plan: plan of the index that will be placed.
        options: which GPUs.

    Returns:
        True if every query found as many rows as it asked for, and only allowed ones.
    """
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(_ROWS, _DIM)).astype(np.float32)
    faiss.normalize_L2(vectors)
    small = replace(plan, rows=_ROWS, dim=_DIM, lists=4 if plan.lists else 0)
    index = fill(gpus, _tiny(small.form, vectors), vectors, small, options)
    # Each query is an indexed vector that the mask forbids. An index that ignores the selector returns it first.
    queries, mask = vectors[:_QUERIES], np.ones(_ROWS, bool)
    mask[rng.permutation(_ROWS)[: _ROWS // 2]] = False
    mask[:_QUERIES] = False
    try:
        parameters = gpus.parameters(small.form, 4 if plan.lists else _K, selector(RowMask(mask)))
        _, rows = index.search(queries, _K, params=parameters)
    except (RuntimeError, TypeError):  # the index refuses selectors
        return False
    return bool(((rows >= 0) & (rows < _ROWS)).all() and mask[rows].all())


def selector(mask: RowMask) -> Any:
    """Return a row mask as a FAISS selector."""
    return faiss.IDSelectorBitmap(mask.bits)


def keep_allowed(scores: np.ndarray, rows: np.ndarray, mask: RowMask, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first k allowed rows of each query, in order.

    Args:
        scores: (batch, fetched) float32 in falling order.
        rows: (batch, fetched) int64; -1 where nothing was found.
        mask: the allowed rows.
        k: rows to return, at most `fetched`.

    Returns:
        scores (batch, k) float32 and rows (batch, k) int64; padded with -inf and -1 if fewer are allowed.
    """
    allowed = (rows >= 0) & mask.rows[rows]
    first = np.argsort(~allowed, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(allowed, first, 1)
    scores = np.where(found, np.take_along_axis(scores, first, 1), np.float32(-np.inf))
    return scores, np.where(found, np.take_along_axis(rows, first, 1), -1)


def _tiny(form: Form, vectors: np.ndarray) -> faiss.Index:
    """Return a filled inverted index, or an empty flat index."""
    if form not in _FACTORIES:
        return faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.index_factory(vectors.shape[1], _FACTORIES[form], faiss.METRIC_INNER_PRODUCT)
    if form is Form.IVF_PQ32:
        index.pq.cp.min_points_per_centroid = 1  # silences the warning about few training rows
    index.train(vectors)
    index.add(vectors)
    return index
