"""Training data: a catalogue as arrays, and clicks that link queries to its products."""

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
    """Anything that maps product ids to the rows of a catalogue."""

    @property
    def row_of(self) -> dict[int, int]:
        """Product id -> row."""


@dataclass(frozen=True, kw_only=True)
class TrainingCatalog:
    """The products to train on, in the form that the towers need.

    Attributes:
        product_ids: (products,) int64.
        titles: a text per product, empty if there is none that serving would accept.
        pixels: (products, size, size, 3) uint8, white if there is no readable photo.
        has_image: (products,) bool, True where there is a readable photo.
        row_of: product id -> row.
    """

    product_ids: np.ndarray
    titles: list[str]
    pixels: np.ndarray
    has_image: np.ndarray
    row_of: dict[int, int]


@dataclass(frozen=True, kw_only=True)
class Clicks:
    """Pairs of a query and a clicked product of a catalogue.

    Attributes:
        queries: distinct query texts.
        query: (pairs,) index into `queries`.
        product: (pairs,) row of the catalogue.
        weight: (pairs,) float64, how often a pair is drawn relative to the others.
        clicked: the set of rows clicked for each query. They are known positives, so they are never negatives.
    """

    queries: list[str]
    query: np.ndarray
    product: np.ndarray
    weight: np.ndarray
    clicked: list[set[int]]


def load_catalog(file: Path, image_size: int) -> TrainingCatalog:
    """Read products.parquet (product_id, and title or image or both) and decode every photo once.

    Photos are encoded files, in a binary column or as Hugging Face's struct {bytes, path}. Only the bytes are used.

    Raises:
        ValueError: there is no column product_id, or neither title nor image.
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
                continue  # the product is trained on with its title alone
    return TrainingCatalog(
        product_ids=ids,
        titles=titles_of(table),
        pixels=pixels,
        has_image=has_image,
        row_of={int(product): row for row, product in enumerate(ids)},
    )


def read_columns(file: Path, *needed: str, optional: tuple[str, ...] = ()) -> pa.Table:
    """Read columns of a parquet file: all of `needed`, and those of `optional` that exist.

    Raises:
        ValueError: a needed column is missing.
    """
    names = pq.read_schema(file).names
    if missing := [name for name in needed if name not in names]:
        raise ValueError(f"{file}: has no column {', '.join(missing)}; it has {names}")
    return pq.read_table(file, columns=[*needed, *(name for name in optional if name in names)])


def titles_of(table: pa.Table) -> list[str]:
    """Return the titles as serving cleans them. A title is empty if serving would refuse it or there is no column."""
    if "title" not in table.column_names:
        return [""] * table.num_rows
    return [_usable(title or "") for title in table["title"].to_pylist()]


def photo_of(value: bytes | dict[str, bytes | None] | None) -> bytes | None:
    """Return the encoded photo in an image cell, which holds bytes or Hugging Face's struct {bytes, path}."""
    return value.get("bytes") if isinstance(value, dict) else value


def _usable(text: str) -> str:
    """Return the text as serving cleans it, empty if serving would refuse it."""
    try:
        return clean_text("text", text)
    except InvalidRequest:
        return ""


def load_clicks(file: Path, catalog: HasRows) -> Clicks:
    """Read clicks.parquet (query, product_id, and optionally count).

    Clicks on unknown products and clicks of blank queries are left out. Queries that differ only in case and spaces
    count as one, because the towers cannot tell them apart.

    Raises:
        ValueError: no click is left.
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
        weight=np.sqrt(columns[:, 2].astype(np.float64)),  # damped, so that frequent clicks do not drown rare ones
        clicked=[clicked[query] for query in range(len(index))],
    )
