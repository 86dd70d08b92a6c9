"""Measure parity: compare both towers in PyTorch with the exported ones, over the same sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from shopwindow.base.progress_bar import progress_bar
from shopwindow.retrieval.embedding.product_inputs import ProductBatch
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.towers.architecture.checkpoint import Checkpoint
from shopwindow.towers.judging.metrics import find_hits, recall
from shopwindow_export.parity.budgets import RANKED, RECALLED
from shopwindow_export.parity.sample import ParitySample, take
from shopwindow_export.parity.verdict import ParityReport

ROWS = 64
QUERIES_AT_A_TIME = 256
SINGLE_MODALITY = 300  # products that are also compared by the title alone and by the photo alone


class Embedder(Protocol):
    """Runs both towers, as `shopwindow.retrieval.pipeline.InProcessPipeline` does."""

    def embed_query(self, queries: Sequence[str], /) -> np.ndarray:
        """Return query embeddings, (batch, dim) float32, L2-normalised."""

    def embed_prepared(self, batch: ProductBatch, /) -> tuple[np.ndarray, np.ndarray]:
        """Return product embeddings (batch, dim) float32, L2-normalised, and modality weights (batch, 2) float32."""


def measure_parity(
    checkpoint: Checkpoint, exported: Embedder, sample: ParitySample, precision: str = "fp32"
) -> ParityReport:
    """Compare exported towers with their checkpoint.

    Args:
        checkpoint: the PyTorch towers, float32.
        exported: the same towers, as they will be served.
        sample: what to compare on; at least RANKED products.
        precision: precision of the exported towers; it chooses the budget.
    """
    towers = (_PyTorch(checkpoint), exported)
    queries = _Pair(*(tower.embed_query(sample.queries) for tower in towers))
    products = _Pair(*(_embed(tower, sample.products, "products") for tower in towers))
    single = _single_modalities(sample.products)
    triggers = _Pair(*(_embed(tower, single, "products by one modality") for tower in towers)) if single else products
    ranking = [_rank(queries.rows(start), products) for start in range(0, len(sample.queries), QUERIES_AT_A_TIME)]
    best = _Pair(*(np.concatenate([part.best[side] for part in ranking]) for side in (0, 1)))
    drifts = np.concatenate([part.drifts for part in ranking])
    overlaps = _overlaps(best, RANKED)
    judged, recalls = _recalls(best, sample)
    return ParityReport(
        precision=precision,
        products=len(products.expected),
        queries=len(sample.queries),
        query_max_abs_diff=queries.max_abs_diff(),
        query_min_cosine=queries.min_cosine(),
        product_max_abs_diff=max(products.max_abs_diff(), triggers.max_abs_diff()),
        product_min_cosine=min(products.min_cosine(), triggers.min_cosine()),
        overlap_at_10=float(overlaps.mean()),
        overlap_at_100=float(_overlaps(best, RECALLED).mean()) if len(products.expected) > RECALLED else None,
        similar_overlap_at_10=float(_overlaps(_Pair(*_rank(triggers, products).best), RANKED).mean()),
        score_drift_max=float(drifts.max()),
        score_drift_mean=float(drifts.mean()),
        judged_queries=judged,
        recall_at_100_pytorch=recalls[0],
        recall_at_100=recalls[1],
        query_overlaps=overlaps,
        query_drifts=drifts.mean(axis=1),
    )


class _Pair(NamedTuple):
    """The same values from PyTorch and from the exported towers, (rows, ...) each."""

    expected: np.ndarray
    found: np.ndarray

    def rows(self, start: int) -> _Pair:
        end = start + QUERIES_AT_A_TIME
        return _Pair(self.expected[start:end], self.found[start:end])

    def max_abs_diff(self) -> float:
        return float(np.abs(self.found - self.expected).max())

    def min_cosine(self) -> float:
        return float((self.found * self.expected).sum(axis=1).min())


class _Ranking(NamedTuple):
    best: _Pair  # (queries, places) int64 rows of the best products, the best first
    drifts: np.ndarray  # (queries, places) float64, how far the scores of PyTorch's best products move


def _rank(queries: _Pair, products: _Pair) -> _Ranking:
    scores = _Pair(*(q @ p.T for q, p in zip(queries, products, strict=True)))
    places = min(RECALLED, len(products.expected))
    best = _Pair(*(np.argsort(-each, axis=1, kind="stable")[:, :places] for each in scores))
    expected, found = (np.take_along_axis(each, best.expected, axis=1) for each in scores)
    return _Ranking(best=best, drifts=np.abs(found.astype(np.float64) - expected))


def _overlaps(best: _Pair, places: int) -> np.ndarray:
    """Return the share of PyTorch's first places that are among the exported towers' first, (queries,) float64."""
    return np.array([len(np.intersect1d(a[:places], b[:places])) / len(a[:places]) for a, b in zip(*best, strict=True)])


def _recalls(best: _Pair, sample: ParitySample) -> tuple[int, tuple[float | None, float | None]]:
    """Return the number of queries judged in the sample, and their recall@100 by PyTorch and by the exported towers."""
    inside = set(sample.product_ids.tolist())
    relevant = [ids & inside for ids in sample.relevant or []]
    rows = [row for row, ids in enumerate(relevant) if ids]
    if not rows:
        return 0, (None, None)
    relevant = [relevant[row] for row in rows]
    sizes = np.array([len(ids) for ids in relevant])
    hits = (find_hits(sample.product_ids[side[rows]], relevant) for side in best)
    before, after = (float(recall(each, sizes, RECALLED).mean()) for each in hits)
    return len(rows), (before, after)


class _PyTorch:
    """A checkpoint as an `Embedder`."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._towers = checkpoint.towers
        self._queries = TextEncoder.read(checkpoint.folder / "tokenizer.json", self._towers.config.query_max_tokens)

    @torch.inference_mode()
    def embed_query(self, queries: Sequence[str], /) -> np.ndarray:
        ids, mask = (torch.from_numpy(array) for array in self._queries.encode(queries))
        starts = range(0, len(ids), ROWS)
        parts = [self._towers.query(ids[start : start + ROWS], mask[start : start + ROWS]) for start in starts]
        return np.concatenate([part.numpy() for part in parts])

    @torch.inference_mode()
    def embed_prepared(self, batch: ProductBatch, /) -> tuple[np.ndarray, np.ndarray]:
        embeddings, weights = self._towers.product(*map(torch.from_numpy, batch.tensors().values()))
        return embeddings.numpy(), weights.numpy()


def _embed(tower: Embedder, products: ProductBatch, what: str) -> np.ndarray:
    """Return embeddings of prepared products, (products, dim) float32."""
    parts = np.array_split(np.arange(len(products.pixels)), -(-len(products.pixels) // ROWS))
    bar = progress_bar(parts, total=len(parts), desc=f"comparing {what}", unit="batch")
    return np.concatenate([tower.embed_prepared(take(products, rows))[0] for rows in bar])


def _single_modalities(products: ProductBatch) -> ProductBatch | None:
    """Return products with both modalities twice: by the title alone, and by the photo alone.

    Learned values stand in for the missing modality.
    """
    both = np.flatnonzero(products.modality_mask.all(axis=1))[:SINGLE_MODALITY]
    if not len(both):
        return None
    once = take(products, np.concatenate([both, both]))
    only = np.repeat(np.eye(2, dtype=np.float32), len(both), axis=0)
    return ProductBatch(**{**once.tensors(), "modality_mask": only})
