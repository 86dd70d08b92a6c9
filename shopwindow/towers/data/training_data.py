"""Training data: a catalogue as arrays, and clicks that link queries to its products."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.checked_table import COUNT, PRODUCT, TEXT, Column, read_checked
from shopwindow.base.product_keys import KeyNumber
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
        notes: what of the file was left out, with figures, one line each.
    """

    queries: list[str]
    query: np.ndarray
    product: np.ndarray
    weight: np.ndarray
    clicked: list[set[int]]
    notes: tuple[str, ...] = ()


def load_catalog(file: Path, image_size: int) -> TrainingCatalog:
    """Read products.parquet (product_id, and title or image or both) and decode every photo once.

    Photos are encoded files, in a binary column or as Hugging Face's struct {bytes, path}. Only the bytes are used.

    Raises:
        ValueError: there is no column product_id, a product has no id, or there is neither title nor image.
    """
    ids = read_ids("catalog", file)
    table = read_columns(file, optional=("title", "image"))
    if table.num_columns == 0:
        raise ValueError(f"{file}: needs a column title or image; it has {pq.read_schema(file).names}")
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


def read_ids(option: str, file: Path) -> np.ndarray:
    """Return the product ids of a catalogue, (products,) int64; of text ids, their numbers.

    Raises:
        ValueError: the file is wrong, see `shopwindow.base.checked_table`.
    """
    return read_shop_ids(option, file)[0]


def read_shop_ids(option: str, file: Path) -> tuple[np.ndarray, list[str] | None]:
    """Return the same as `read_ids`, and the text ids; None if ids are whole numbers."""
    found = read_checked(option, file, [Column("product_id", PRODUCT)])["product_id"]
    text = [product.key for product in found if isinstance(product, KeyNumber)]
    return np.array(found, dtype=np.int64), text or None


def read_columns(file: Path, *needed: str, optional: tuple[str, ...] = ()) -> pa.Table:
    """Read columns of a parquet file: all of `needed`, and those of `optional` that exist.

    Raises:
        ValueError: a needed column is missing, or the file has a column twice.
    """
    names = pq.read_schema(file).names
    if twice := [name for name in (*needed, *optional) if names.count(name) > 1]:
        raise ValueError(f"{file}: has several columns {twice[0]!r}; leave one of them")
    if missing := [name for name in needed if name not in names]:
        raise ValueError(f"{file}: has no column {', '.join(missing)}; it has {names}")
    wanted = dict.fromkeys([*needed, *(name for name in optional if name in names)])
    return pq.read_table(file, columns=list(wanted))


def titles_of(table: pa.Table) -> list[str]:
    """Return the titles as serving cleans them. A title is empty if serving would refuse it or there is no column."""
    if "title" not in table.column_names:
        return [""] * table.num_rows
    return [_usable(title or "") for title in table["title"].to_pylist()]


def photo_of(value: Any) -> bytes | None:
    """Return the encoded photo in an image cell: bytes, Hugging Face's struct {bytes, path}, or the first of a list.

    Raises:
        ValueError: the photo is a text. Paths and addresses are read by the commands, which copy the photos first.
    """
    if isinstance(value, list):
        value = next(filter(None, value), None)
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, str):
        raise ValueError(
            f"catalog: column 'image' has the text {value[:100]!r}: here the file must hold the bytes of photos; paths "
            "and addresses are read by the commands, see shopwindow.indexing.catalogue.plain_catalog"
        )
    return value or None


def _usable(text: str) -> str:
    """Return the text as serving cleans it, empty if serving would refuse it."""
    try:
        return clean_text("text", text)
    except InvalidRequest:
        return ""


def load_clicks(file: Path, catalog: HasRows) -> Clicks:
    """Read clicks.parquet (query, product_id, and optionally count).

    Clicks on unknown products and clicks of blank queries are left out; `Clicks.notes` says how many. Queries that
    differ only in case and spaces count as one, because the towers cannot tell them apart.

    Raises:
        ValueError: the file is wrong (see `shopwindow.base.checked_table`), or no click is left.
    """
    columns = [
        Column("query", TEXT, gaps=True),
        Column("product_id", PRODUCT),
        Column("count", COUNT, needed=False),
    ]
    read = read_checked("clicks", file, columns)
    texts, products = read["query"], read["product_id"]
    index: dict[str, int] = {}
    pairs: list[tuple[int, int, int]] = []
    clicked: defaultdict[int, set[int]] = defaultdict(set)
    unknown: list[int] = []
    blank = 0
    for text, product, count in zip(texts, products, read.get("count", [1] * len(texts)), strict=True):
        row = catalog.row_of.get(product)
        words = " ".join(_usable(text or "").lower().split())
        if row is None:
            unknown.append(product)
        elif not words:
            blank += 1
        else:
            query = index.setdefault(words, len(index))
            pairs.append((query, row, count))
            clicked[query].add(row)
    if not pairs:
        raise ValueError(
            f"clicks: {file}: no click names a product of the catalogue and has words; {len(unknown)} of {len(texts)} "
            "are of other products; give the clicks of this catalogue"
        )
    notes = []
    if unknown:
        notes.append(
            f"clicks: {len(unknown)} of {len(texts)} clicks are of products that the catalogue lacks or that are held "
            f"out, such as {unknown[0]}, and are left out"
        )
    if blank:
        notes.append(f"clicks: {blank} of {len(texts)} clicks have a query without words, and are left out")
    found = np.array(pairs, dtype=np.int64)
    return Clicks(
        queries=list(index),
        query=found[:, 0],
        product=found[:, 1],
        weight=np.sqrt(found[:, 2].astype(np.float64)),  # damped, so that frequent clicks do not drown rare ones
        clicked=[clicked[query] for query in range(len(index))],
        notes=tuple(notes),
    )
