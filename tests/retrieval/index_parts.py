"""A small index over clustered unit vectors, and its rows in plain Python. Several tests use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.folder import IndexFolder, Manifest, write_index

DIM = 24
TOWERS = "a" * 64


def unit_vectors(rows: int, *, clusters: int = 40, seed: int = 0) -> np.ndarray:
    """Return (rows, DIM) float32 L2-normalised vectors around random centres. The last ten repeat the first ten."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, DIM))
    vectors = centres[rng.integers(clusters, size=rows)] + 0.5 * rng.normal(size=(rows, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[-10:] = vectors[:10]
    return vectors.astype(np.float32)


def attribute_rows(rows: int, *, seed: int = 1) -> list[dict[str, Any]]:
    """Return a dict per product: title, colour (mostly red, rarely gold, or missing), price (or missing), in_stock."""
    rng = np.random.default_rng(seed)
    colours = rng.choice(["red", "blue", "gold", "none"], size=rows, p=[0.6, 0.35, 0.01, 0.04])
    return [
        {
            "title": f"product {row}",
            "colour": None if colours[row] == "none" else str(colours[row]),
            "price": None if rng.random() < 0.1 else float(rng.integers(1, 1_000)),
            "in_stock": bool(rng.random() < 0.7),
        }
        for row in range(rows)
    ]


def make_index(kind: str, rows: int, **changes: Any) -> IndexFolder:
    """Return an index folder in memory. Product ids need 64 bits and are in random order.

    Args:
        kind: kind of the recipe.
        rows: number of products.
        **changes: manifest fields to set.
    """
    vectors = unit_vectors(rows)
    recipe = choose_recipe(rows, kind)
    fields: dict[str, Any] = {
        "generation": 1,
        "count": rows,
        "dim": DIM,
        "tower_hash": TOWERS,
        "recipe": recipe,
        "recall_at_100": 1.0,
        "skipped": 0,
        "build_seconds": 0.1,
        "catalog": "products.parquet",
        "created": "2026-01-01T00:00:00+00:00",
    }
    return IndexFolder(
        manifest=Manifest(**{**fields, **changes}),
        vectors=vectors,
        product_ids=np.random.default_rng(2).permutation(rows) + 2**40,
        attributes=pa.Table.from_pylist(attribute_rows(rows)),
        engine=FaissCpuEngine.build(vectors, recipe),
    )


def write_folder(folder: Path, index: IndexFolder, **changes: Any) -> None:
    """Write an index that was made in memory.

    Args:
        folder: the index folder to write.
        index: the index. Its delta and its dead rows are not written.
        **changes: other arguments of `write_index`, or other values for them.
    """
    parts: dict[str, Any] = {
        "manifest": index.manifest,
        "vectors": index.vectors,
        "product_ids": index.product_ids,
        "attributes": index.attributes,
        "engine": index.engine,
        "skipped": "row,product_id,reason\n",
        "lexical": index.lexical,
    }
    write_index(folder, **{**parts, **changes})
