"""Do the exported graphs rank as PyTorch does? Measured on real titles, photos and queries."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.catalog import TITLE, Catalog
from export.errors import CatalogError
from retrieval.pipeline import InProcessPipeline
from retrieval.products import ProductBatch, ProductPreprocessor, concatenate
from retrieval.skipped import Skipped
from retrieval.text import TextEncoder, clean_text
from towers.checkpoint import Checkpoint

RANKED = 10
SAMPLE_PRODUCTS = 300
# fp32 graphs differ from PyTorch only in the order of additions.
MAX_ABS_DIFF = 1e-4
MIN_OVERLAP = 0.99


@dataclass(frozen=True, kw_only=True)
class ParitySample:
    """Inputs to compare on.

    Attributes:
        products: prepared for the product tower.
        queries: texts.
    """

    products: ProductBatch
    queries: list[str]


def read_sample(catalog: Path, preprocess: ProductPreprocessor, size: int = SAMPLE_PRODUCTS) -> ParitySample:
    """The first usable products of a catalogue, and the second halves of their titles as queries.

    A shopper's words are fewer than a title's, and those at its end say what the thing is.

    Args:
        catalog: see `export.catalog.Catalog`.
        preprocess: of the checkpoint's towers.
        size: products at most.

    Raises:
        CatalogError: unreadable, or fewer than RANKED usable products or titles.
    """
    batches: list[ProductBatch] = []
    queries: list[str] = []
    found = 0
    for part in Catalog(catalog).batches(preprocess, size, Skipped()):
        if part.batch is not None:
            batches.append(part.batch)
            found += len(part.product_ids)
            titles = part.attributes[TITLE].to_pylist() if TITLE in part.attributes.column_names else []
            words = [clean_text(TITLE, title or "").split() for title in titles]
            queries += [" ".join(title[len(title) // 2 :]) for title in words if title]
        if found >= size:
            break
    if found < RANKED or len(queries) < RANKED:
        raise CatalogError(
            f"sample: {catalog} has {found} usable products, {len(queries)} with titles; at least {RANKED} are needed"
        )
    return ParitySample(products=concatenate(batches), queries=queries)


@dataclass(frozen=True, kw_only=True)
class ParityReport:
    """How far the graphs are from PyTorch.

    Attributes:
        products, queries: size of the sample; each product is compared in up to three forms: as it is, by its title
            alone and by its photo alone.
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
    forms = [sample.products, *_single_modalities(sample.products)]
    expected_queries, expected_forms = _torch_embeddings(checkpoint, sample.queries, forms)
    queries = pipeline.embed_query(sample.queries)
    products = np.concatenate([pipeline.embed_prepared(form)[0] for form in forms])
    expected_products = np.concatenate(expected_forms)
    whole = len(sample.products.pixels)
    overlap = ranking_overlap(expected_queries @ expected_products[:whole].T, queries @ products[:whole].T)
    worst = max(_difference(queries, expected_queries), _difference(products, expected_products))
    return ParityReport(
        products=whole,
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


def _single_modalities(products: ProductBatch) -> list[ProductBatch]:
    """The products that have both modalities, by the title alone and by the photo alone: the learned stand-ins."""
    both = products.modality_mask.all(axis=1)
    if not both.any():
        return []
    rows = {name: array[both] for name, array in products.tensors().items()}
    only = [np.tile(present, (int(both.sum()), 1)) for present in np.eye(2, dtype=np.float32)]
    return [ProductBatch(**{**rows, "modality_mask": present}) for present in only]


def _torch_embeddings(
    checkpoint: Checkpoint, queries: list[str], forms: list[ProductBatch]
) -> tuple[np.ndarray, list[np.ndarray]]:
    tokenizer = TextEncoder.read(checkpoint.folder / "tokenizer.json", checkpoint.towers.config.query_max_tokens)
    ids, mask = tokenizer.encode(queries)
    with torch.inference_mode():
        embedded = checkpoint.towers.query(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        products = [
            checkpoint.towers.product(*map(torch.from_numpy, form.tensors().values()))[0].numpy() for form in forms
        ]
    return embedded, products
