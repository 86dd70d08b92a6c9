"""The catalogue of an index, and its embeddings in the forms m (title and photo), t (title) and i (photo)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.checked_table import is_text
from shopwindow.base.product_keys import number_of
from shopwindow.base.progress_bar import progress_bar
from shopwindow.towers.data.training_data import photo_of

ROWS = 256


class Embedder(Protocol):
    """Both towers: a `retrieval.InProcessPipeline`, or a checkpoint that was never exported."""

    def embed_query(self, queries: Sequence[str]) -> np.ndarray:
        """Return query embeddings, (batch, dim) float32, L2-normalised."""

    def embed_product(self, titles: Sequence[str], images: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return product embeddings (batch, dim) float32 and modality weights (batch, 2) float32.

        An empty title or image counts as absent.
        """


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The indexed products, in the order of the index.

    Attributes:
        product_ids: (products,) int64.
        titles: texts, empty where absent.
        images: encoded photos, empty where absent.
        columns: the other text columns of the catalogue, by name.
    """

    product_ids: np.ndarray
    titles: list[str]
    images: list[bytes]
    columns: dict[str, list[str | None]]


@dataclass(frozen=True, kw_only=True)
class Forms:
    """The embeddings of a corpus, each (products, dim) float32. A product without the needed modality has zeros.

    Attributes:
        m: embeddings of title and photo together, or of the one that exists.
        t: embeddings of the title alone.
        i: embeddings of the photo alone.
        weights: (products, 2) float32, weights of title and photo in `m`.
    """

    m: np.ndarray
    t: np.ndarray
    i: np.ndarray
    weights: np.ndarray


def read_corpus(catalog: Path, product_ids: np.ndarray) -> Corpus:
    """Read the indexed products from their catalogue.

    Args:
        catalog: parquet with product_id, title, image (one of the two may be absent) and other columns.
        product_ids: (products,) int64, the ids in the index.

    Raises:
        OSError: there is no such file.
        ValueError: the file is no parquet file, there is no column product_id, or the catalogue lacks indexed products,
            so the index was built from another catalogue.
    """
    try:
        table = pq.read_table(catalog)
    except pa.ArrowInvalid as error:
        raise ValueError(f"catalog: {catalog} must be parquet with the column 'product_id': {error}") from error
    if "product_id" not in table.column_names:
        raise ValueError(f"catalog: {catalog} needs a column 'product_id'; it has {sorted(table.column_names)}")
    row_of: dict[int, int] = {}
    for row, product in enumerate(table["product_id"].to_pylist()):
        row_of.setdefault(number_of(product), row)
    missing = [product for product in product_ids.tolist() if product not in row_of]
    if missing:
        raise ValueError(
            f"catalog: {catalog} lacks {len(missing)} of the {len(product_ids)} indexed products "
            f"(such as {missing[0]}); give the catalogue that the index was built from"
        )
    table = table.take([row_of[product] for product in product_ids.tolist()])
    empty = pa.nulls(len(table))
    images = table["image"] if "image" in table.column_names else empty

    titles = (table["title"] if "title" in table.column_names else empty).to_pylist()
    return Corpus(
        product_ids=product_ids,
        titles=[title or "" for title in titles],
        images=[photo_of(image) or b"" for image in images.to_pylist()],
        columns={
            field.name: table[field.name].to_pylist()
            for field in table.schema
            if is_text(field.type) and field.name not in ("product_id", "title")
        },
    )


def embed(
    embedder: Embedder, titles: Sequence[str], images: Sequence[bytes], *, dim: int, label: str
) -> tuple[np.ndarray, np.ndarray]:
    """Embed products with the product tower.

    Args:
        embedder: has the product tower.
        titles: (products) texts, empty where absent.
        images: (products) encoded photos, empty where absent.
        dim: length of an embedding.
        label: text of the progress bar.

    Returns:
        Embeddings (products, dim) float32 and modality weights (products, 2) float32. Both are zeros where title and
        photo are absent.
    """
    present = [row for row, (title, image) in enumerate(zip(titles, images, strict=True)) if title.strip() or image]
    embeddings = np.zeros((len(titles), dim), dtype=np.float32)
    weights = np.zeros((len(titles), 2), dtype=np.float32)
    with progress_bar(total=len(present), desc=label, unit="product") as bar:
        for start in range(0, len(present), ROWS):
            rows = present[start : start + ROWS]
            embeddings[rows], weights[rows] = embedder.embed_product(
                [titles[row] for row in rows], [images[row] for row in rows]
            )
            bar.update(len(rows))
    return embeddings, weights


def embed_forms(embedder: Embedder, corpus: Corpus, dim: int) -> Forms:
    """Embed the whole corpus in all three forms. `dim` is the length of an embedding."""
    m, weights = embed(embedder, corpus.titles, corpus.images, dim=dim, label="embedding title and photo")
    t, _ = embed(embedder, corpus.titles, [b""] * len(corpus.images), dim=dim, label="embedding titles")
    i, _ = embed(embedder, [""] * len(corpus.titles), corpus.images, dim=dim, label="embedding photos")
    return Forms(m=m, t=t, i=i, weights=weights)
