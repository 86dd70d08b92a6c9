"""Training data: a catalogue held as arrays, and clicks that join queries to it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.progress_bar import progress_bar
from shopwindow.retrieval.embedding.images import decode_image
from shopwindow.retrieval.embedding.text import clean_text
from shopwindow.retrieval.errors import InvalidRequest


class HasRows(Protocol):
    """Anything that knows the rows of a catalogue."""

    @property
    def row_of(self) -> dict[int, int]:
        """Product id -> row."""


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
    """Read products.parquet (product_id, and title or image or both) and decode every photo once.

    Photos are encoded files: a binary column, or the Hugging Face struct {bytes, path}, of which only the bytes count.

    Raises:
        ValueError: no product_id, or neither titles nor photos.
    """
    table = read_columns(file, "product_id", optional=("title", "image"))
    if table.num_columns == 1:
        raise ValueError(f"{file}: needs a column title or image; it has {pq.read_schema(file).names}")
    ids = np.asarray(table["product_id"], dtype=np.int64)
    pixels = np.full((len(ids), image_size, image_size, 3), 255, dtype=np.uint8)
    has_image = np.zeros(len(ids), dtype=bool)
    images = table["image"] if "image" in table.column_names else []
    for row, image in enumerate(progress_bar(images, total=len(images), desc="photos", unit="photo")):
        if data := photo_of(image.as_py()):
            try:
                pixels[row] = decode_image("image", data, image_size)
                has_image[row] = True
            except InvalidRequest:
                continue  # trained on by its title alone
    return TrainingCatalog(
        product_ids=ids,
        titles=titles_of(table),
        pixels=pixels,
        has_image=has_image,
        row_of={int(product): row for row, product in enumerate(ids)},
    )


def read_columns(file: Path, *needed: str, optional: tuple[str, ...] = ()) -> pa.Table:
    """Some columns of a parquet file, those of `optional` that it has among them.

    Raises:
        ValueError: a needed column is missing.
    """
    names = pq.read_schema(file).names
    if missing := [name for name in needed if name not in names]:
        raise ValueError(f"{file}: has no column {', '.join(missing)}; it has {names}")
    return pq.read_table(file, columns=[*needed, *(name for name in optional if name in names)])


def titles_of(table: pa.Table) -> list[str]:
    """The column title as serving cleans it; empty where serving would refuse it, or where there is no such column."""
    if "title" not in table.column_names:
        return [""] * table.num_rows
    return [_usable(title or "") for title in table["title"].to_pylist()]


def photo_of(value: bytes | dict[str, bytes | None] | None) -> bytes | None:
    """The encoded photo in an image cell, which is the bytes themselves or Hugging Face's struct {bytes, path}."""
    return value.get("bytes") if isinstance(value, dict) else value


def _usable(text: str) -> str:
    """The text as serving cleans it; empty when serving would refuse it."""
    try:
        return clean_text("text", text)
    except InvalidRequest:
        return ""


def load_clicks(file: Path, catalog: HasRows) -> Clicks:
    """Read clicks.parquet (query, product_id, and optionally count) but pairs of unknown products or blank queries.

    Queries that differ in case and spaces alone are one, as they are to the towers.
    """
    table = pq.read_table(file)
    counts = table["count"].to_pylist() if "count" in table.column_names else [1] * table.num_rows
    index: dict[str, int] = {}
    pairs: list[tuple[int, int, int]] = []
    clicked: defaultdict[int, set[int]] = defaultdict(set)
    for text, product, count in zip(table["query"].to_pylist(), table["product_id"].to_pylist(), counts, strict=True):
        row = catalog.row_of.get(product)
        words = " ".join(_usable(text or "").lower().split())
        if row is not None and words:
            query = index.setdefault(words, len(index))
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
