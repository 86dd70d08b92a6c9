"""The sample on which parity is measured: products of a catalogue, and queries for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.skipped_rows import Skipped
from shopwindow.indexing.catalogue.options import TITLE, CatalogOptions
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.retrieval.embedding.product_inputs import ProductBatch, ProductPreprocessor, concatenate
from shopwindow.retrieval.embedding.text import clean_text
from shopwindow.towers.judging.judgements import read_judgements, read_query_texts
from shopwindow_export.parity.budgets import RANKED

SAMPLE_PRODUCTS = 300


@dataclass(frozen=True, kw_only=True)
class ParitySample:
    """Inputs to compare on.

    Attributes:
        product_ids: (products,) int64.
        products: prepared for the product tower.
        title_queries: the second halves of the products' titles. Shoppers type fewer words than a title has, and the
            words at its end say what the product is.
        queries: texts; the title queries if no others were given.
        relevant: ids of the products that answer each query; None if nothing is judged.
    """

    product_ids: np.ndarray
    products: ProductBatch
    title_queries: list[str]
    queries: list[str]
    relevant: list[set[int]] | None = None


def take(products: ProductBatch, rows: np.ndarray) -> ProductBatch:
    """Return some of the products, in the order of `rows` (count,) int64."""
    return ProductBatch(**{name: array[rows] for name, array in products.tensors().items()})


def read_sample(
    catalog: Path,
    preprocess: ProductPreprocessor,
    size: int | None = SAMPLE_PRODUCTS,
    *,
    reading: CatalogOptions | None = None,
    queries: Path | None = None,
    qrels: Path | None = None,
) -> ParitySample:
    """Read the first usable products of a catalogue, and queries for them.

    Args:
        catalog: see `shopwindow.indexing.catalogue.reading.Catalog`.
        preprocess: prepares products for the checkpoint's towers.
        size: products at most, rounded up to whole reads; None takes all of them.
        reading: how the catalogue's files are read; None for the defaults.
        queries: parquet with query_id, text.
        qrels: parquet with query_id, product_id, relevance. If given, queries without judgements are left out.

    Raises:
        CatalogError: the catalogue is unreadable, or has fewer than RANKED usable products or titles.
        ValueError: qrels without queries, no query has a relevant product, or one of these files is wrong.
    """
    if qrels is not None and queries is None:
        raise ValueError(f"qrels: {qrels} judges the queries of a file that was not given; name it with --queries")
    source = Catalog(catalog, reading)
    target = source.rows if size is None else min(size, source.rows)
    batches: list[ProductBatch] = []
    ids: list[np.ndarray] = []
    texts: list[str] = []
    found = 0
    with progress_bar(total=target, desc="reading the sample", unit="product") as bar:
        for part in source.batches(preprocess, min(target, SAMPLE_PRODUCTS) or 1, Skipped()):
            if part.batch is not None:
                batches.append(part.batch)
                ids.append(part.product_ids)
                titles = part.attributes[TITLE].to_pylist() if TITLE in part.attributes.column_names else []
                words = [clean_text(TITLE, title or "").split() for title in titles]
                texts += [" ".join(title[len(title) // 2 :]) for title in words if title]
                found += len(part.product_ids)
                bar.update(len(part.product_ids))
            if found >= target:
                break
    if found < RANKED or len(texts) < RANKED:
        raise CatalogError(
            f"sample: {catalog} has {found} usable products, {len(texts)} with titles; at least {RANKED} are needed"
        )
    query_texts, relevant = texts, None
    if queries is not None and qrels is not None:
        judged = read_judgements(queries, qrels)
        query_texts, relevant = judged.queries, judged.relevant
    elif queries is not None:
        query_texts = read_query_texts(queries)
    return ParitySample(
        product_ids=np.concatenate(ids),
        products=concatenate(batches),
        title_queries=texts,
        queries=query_texts,
        relevant=relevant,
    )
