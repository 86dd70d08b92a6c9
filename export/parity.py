"""Do the exported graphs rank as PyTorch does? Measured on real titles, photos and queries."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from retrieval.pipeline import InProcessPipeline
from retrieval.products import ProductBatch, ProductPreprocessor
from retrieval.text import TextEncoder
from towers.checkpoint import Checkpoint

RANKED = 10
# fp32 graphs differ from PyTorch only in the order of additions.
MAX_ABS_DIFF = 1e-4
MIN_OVERLAP = 0.99


@dataclass(frozen=True, kw_only=True)
class ParitySample:
    """Inputs to compare on: the same number of titles and encoded photos, and some queries."""

    titles: list[str]
    images: list[bytes]
    queries: list[str]


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """How far the graphs are from PyTorch.

    Attributes:
        products, queries: size of the sample.
        query_max_abs_diff, product_max_abs_diff: largest difference of an embedding's element.
        query_min_cosine, product_min_cosine: worst agreement of an embedding's direction.
        overlap_at_10: mean share of the PyTorch top 10 that the graphs return, 0 to 1.
        passed: within the budget.
    """

    products: int
    queries: int
    query_max_abs_diff: float
    query_min_cosine: float
    product_max_abs_diff: float
    product_min_cosine: float
    overlap_at_10: float
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """Plain fields."""
        return asdict(self)


def measure_parity(checkpoint: Checkpoint, pipeline: InProcessPipeline, sample: ParitySample) -> ParityReport:
    """Compare the exported towers with the checkpoint.

    Args:
        checkpoint: the PyTorch towers.
        pipeline: over the exported repository.
        sample: what to compare on; at least RANKED products.
    """
    expected_queries, expected_products = _torch_embeddings(checkpoint, sample)
    queries = pipeline.embed_query(sample.queries)
    products, _ = pipeline.embed_product(sample.titles, sample.images)
    overlap = ranking_overlap(expected_queries @ expected_products.T, queries @ products.T)
    worst = max(_difference(queries, expected_queries), _difference(products, expected_products))
    return ParityReport(
        products=len(products),
        queries=len(queries),
        query_max_abs_diff=_difference(queries, expected_queries),
        query_min_cosine=float((queries * expected_queries).sum(1).min()),
        product_max_abs_diff=_difference(products, expected_products),
        product_min_cosine=float((products * expected_products).sum(1).min()),
        overlap_at_10=overlap,
        passed=bool(worst <= MAX_ABS_DIFF and overlap >= MIN_OVERLAP),
    )


def ranking_overlap(expected: np.ndarray, found: np.ndarray, k: int = RANKED) -> float:
    """Mean share of each row's k best columns of `expected` among the k best of `found`; both (queries, products)."""
    best = [np.argpartition(-scores, k - 1, axis=1)[:, :k] for scores in (expected, found)]
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*best, strict=True)]))


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max())


def _torch_embeddings(checkpoint: Checkpoint, sample: ParitySample) -> tuple[np.ndarray, np.ndarray]:
    config, tokenizer = checkpoint.towers.config, checkpoint.folder / "tokenizer.json"
    ids, mask = TextEncoder.read(tokenizer, config.query_max_tokens).encode(sample.queries)
    preprocess = ProductPreprocessor(TextEncoder.read(tokenizer, config.title_max_tokens), config.image_size)
    batch: ProductBatch = preprocess(sample.titles, sample.images)
    with torch.inference_mode():
        queries = checkpoint.towers.query(torch.from_numpy(ids), torch.from_numpy(mask))
        products, _ = checkpoint.towers.product(*map(torch.from_numpy, batch.tensors().values()))
    return queries.numpy(), products.numpy()
