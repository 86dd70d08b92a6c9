"""Training data: a catalogue held as arrays, and clicks that join queries to it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from retrieval.errors import InvalidRequest
from retrieval.images import decode_image
from retrieval.progress import progress_bar
from retrieval.text import clean_text


@dataclass(frozen=True, kw_only=True)
class TrainingCatalog:
    """Products as the towers see them.

    Attributes:
        product_ids: (products,) int64.
        titles: one text per product, empty where there is none that serving would take.
        pixels: (products, size, size, 3) uint8; white where there is no readable photo.
        has_image: (products,) bool.
        row_of: product id -> row.
    """

    product_ids: np.ndarray
    titles: list[str]
    pixels: np.ndarray
    has_image: np.ndarray
    row_of: dict[int, int]


@dataclass(frozen=True, kw_only=True)
class Clicks:
    """Click pairs joined to a catalogue.

    Attributes:
        queries: distinct query texts.
        query: (pairs,) index into `queries`.
        product: (pairs,) row of the catalogue.
        weight: (pairs,) float64, how often a pair is drawn.
        clicked: rows clicked for each query, as a set; known positives that are never negatives.
    """

    queries: list[str]
    query: np.ndarray
    product: np.ndarray
    weight: np.ndarray
    clicked: list[set[int]]


def load_catalog(file: Path, image_size: int) -> TrainingCatalog:
    """Read products.parquet (product_id, title, image) and decode every photo once."""
    table = pq.read_table(file, columns=["product_id", "title", "image"])
    ids = np.asarray(table["product_id"], dtype=np.int64)
    titles = [_usable(title or "") for title in table["title"].to_pylist()]
    pixels = np.full((len(ids), image_size, image_size, 3), 255, dtype=np.uint8)
    has_image = np.zeros(len(ids), dtype=bool)
    images = progress_bar(table["image"], total=len(ids), desc="photos", unit="photo")
    for row, data in enumerate(image.as_py() for image in images):
        if data:
            try:
                pixels[row] = decode_image("image", data, image_size)
                has_image[row] = True
            except InvalidRequest:
                continue  # trained on by its title alone
    return TrainingCatalog(
        product_ids=ids,
        titles=titles,
        pixels=pixels,
        has_image=has_image,
        row_of={int(product): row for row, product in enumerate(ids)},
    )


def _usable(text: str) -> str:
    """The text as serving cleans it; empty when serving would refuse it."""
    try:
        return clean_text("text", text)
    except InvalidRequest:
        return ""


def load_clicks(file: Path, catalog: TrainingCatalog) -> Clicks:
    """Read clicks.parquet (query, product_id, and optionally count) but pairs of unknown products or blank queries."""
    table = pq.read_table(file)
    counts = table["count"].to_pylist() if "count" in table.column_names else [1] * table.num_rows
    index: dict[str, int] = {}
    pairs: list[tuple[int, int, int]] = []
    clicked: defaultdict[int, set[int]] = defaultdict(set)
    for text, product, count in zip(table["query"].to_pylist(), table["product_id"].to_pylist(), counts, strict=True):
        row = catalog.row_of.get(product)
        if row is not None and _usable(text or ""):
            query = index.setdefault(text, len(index))
            pairs.append((query, row, count))
            clicked[query].add(row)
    if not pairs:
        raise ValueError(f"{file}: no click names a product of the catalogue")
    columns = np.array(pairs, dtype=np.int64)
    return Clicks(
        queries=list(index),
        query=columns[:, 0],
        product=columns[:, 1],
        weight=np.sqrt(columns[:, 2].astype(np.float64)),  # damped, else the head drowns the tail
        clicked=[clicked[query] for query in range(len(index))],
    )
