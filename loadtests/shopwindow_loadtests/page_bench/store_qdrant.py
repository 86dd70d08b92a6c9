"""The page in Qdrant's local mode, which is Python and NumPy in one process, and no server.

python -m shopwindow_loadtests.page_bench.store_qdrant PRODUCTS.parquet

It cannot count styles: facets and total count products.
"""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import duckdb
import numpy as np
from qdrant_client import QdrantClient, models

from shopwindow_loadtests.page_bench.answering import Page, Question, serve

_NAME, _DIM, _TOP_K = "products", 128, 48
_FACETS = {"colour": 12, "brand": 50, "sizes": 50}  # these leave the filter as it is
_PRICES = ((0, 25), (25, 50), (50, 100), (100, None))
_IN_STOCK = models.FieldCondition(key="in_stock", match=models.MatchValue(value=True))


def main(products: Path) -> None:
    """Load the products and answer."""
    warnings.filterwarnings("ignore", message="Local mode is not recommended")
    client = QdrantClient(":memory:")
    vectors = models.VectorParams(size=_DIM, distance=models.Distance.DOT)
    client.create_collection(_NAME, vectors_config=vectors)
    names = ("product_id", "title", "price", "brand", "colour", "sizes", "in_stock", "style")
    rows = duckdb.execute(f"SELECT {', '.join(names)}, vector FROM '{products}' ORDER BY product_id").fetchall()
    client.upload_collection(
        _NAME,
        vectors=np.array([row[-1] for row in rows], np.float32),
        payload=[dict(zip(names, row[:-1], strict=True)) for row in rows],
        ids=[row[0] for row in rows],
    )
    del rows

    def page(vector: np.ndarray, question: Question) -> Page:
        cheap = models.FieldCondition(key="price", range=models.Range(lt=question.price_below))
        both = models.Filter(must=[_IN_STOCK, cheap])
        groups = client.query_points_groups(
            _NAME,
            query=vector,
            group_by="style",
            group_size=1,
            limit=_TOP_K,
            query_filter=both,
            with_payload=["title", "price", "brand"],
        ).groups
        for name, most in _FACETS.items():
            client.facet(_NAME, key=name, facet_filter=both, limit=most, exact=True)
        client.facet(_NAME, key="in_stock", facet_filter=models.Filter(must=[cheap]), exact=True)
        for low, high in _PRICES:
            between = models.FieldCondition(key="price", range=models.Range(gte=low, lt=high))
            client.count(_NAME, count_filter=models.Filter(must=[_IN_STOCK, between]))
        total = client.count(_NAME, count_filter=both).count
        return Page(ids=[int(group.hits[0].id) for group in groups], total=total)

    serve(page, f"Qdrant's local mode, qdrant-client {version('qdrant-client')}, exact, one process")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
