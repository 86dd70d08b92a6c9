"""Embed products that may have several photos. The only place that decides what becomes of them.

The papers say that a product has "several display images", and not how they are joined. Our reading: the vector of a
product is the normalised mean of the vectors of its title with each photo. So a product is near whatever any of its
photos is near, and a product with one photo has the vector that the server's `embed_product` gives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shopwindow.indexing.catalogue.options import IMAGE
from shopwindow.indexing.catalogue.photos.reader import Photos, Unread
from shopwindow.retrieval.embedding.content_hash import content_hash


class Embedder(Protocol):
    """Embeds titles with one photo each. Several threads call it at once.

    Attributes:
        workers: number of threads that keep it busy.
        photos: how many photos of a product are embedded.
    """

    workers: int
    photos: int

    def __call__(self, titles: Sequence[str], images: Sequence[bytes]) -> tuple[np.ndarray, dict[int, str]]:
        """Embed.

        Args:
            titles: (entries) texts; empty means absent.
            images: (entries) encoded photos; empty means absent.

        Returns:
            Vectors (embedded, dim) float32 of the entries that are not refused, and place -> reason of the refused.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class EmbeddedProducts:
    """Products with their vectors.

    Attributes:
        places: (embedded,) int64, the places of the embedded products in rising order.
        vectors: (embedded, dim) float32.
        content: (embedded,) uint64, see `shopwindow.retrieval.embedding.content_hash`.
        refused: place -> reason, of the products that cannot be embedded.
        unread: place -> reason, of the embedded products that lack photos because these cannot be read.
    """

    places: np.ndarray
    vectors: np.ndarray
    content: np.ndarray
    refused: dict[int, str]
    unread: dict[int, str]


def embed_products(
    titles: Sequence[str], photos: Sequence[Photos], embedder: Embedder, *, photo_needed: bool = False
) -> EmbeddedProducts:
    """Embed products. One whose photos cannot be read is embedded by its title.

    Args:
        titles: (products) texts; empty means absent.
        photos: (products) photos, those that the towers read.
        embedder: embeds.
        photo_needed: refuse a product if it has photos and none can be read.
    """
    unread: defaultdict[int, list[str]] = defaultdict(list)
    entries: list[tuple[int, int, bytes]] = []  # product, number of the photo, photo
    for product, some in enumerate(photos):
        for number, photo in enumerate(some):
            if isinstance(photo, Unread):
                unread[product].append(f"{_name(number, some)}: {photo.reason}")
            else:
                entries.append((product, number, photo))
        if not some:
            entries.append((product, 0, b""))
    vectors, wrong = embedder([titles[product] for product, _, _ in entries], [photo for _, _, photo in entries])
    refused: dict[int, str] = {}
    for place, reason in wrong.items():
        product, number, photo = entries[place]
        if photo:
            unread[product].append(reason.replace(IMAGE, _name(number, photos[product]), 1))
        else:
            refused[product] = reason
    entries = [entry for place, entry in enumerate(entries) if place not in wrong]
    without = sorted(unread.keys() - {product for product, _, _ in entries})  # without any photo
    if without and photo_needed:
        refused |= {product: "; ".join(unread[product]) for product in without}
    elif without:
        by_title, wrong = embedder([titles[product] for product in without], [b""] * len(without))
        for place, reason in wrong.items():
            refused[without[place]] = "; ".join(dict.fromkeys([*unread[without[place]], reason]))
        vectors = np.concatenate([vectors, by_title])
        entries += [(product, 0, b"") for place, product in enumerate(without) if place not in wrong]
    read: defaultdict[int, list[bytes]] = defaultdict(list)
    for product, _, photo in entries:
        read[product].append(photo)
    places = sorted(read)
    return EmbeddedProducts(
        places=np.array(places, dtype=np.int64),
        vectors=mean_vectors(vectors, np.array([product for product, _, _ in entries], dtype=np.int64)),
        content=np.array([content_hash(titles[product], *read[product]) for product in places], dtype=np.uint64),
        refused=refused,
        unread={
            product: f"{'; '.join(reasons)}; indexed by its {'other photos' if any(read[product]) else 'title'}"
            for product, reasons in unread.items()
            if product not in refused
        },
    )


def mean_vectors(vectors: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Return the normalised mean of the vectors of each product; a single vector stays as it is.

    Args:
        vectors: (entries, dim) float32, normalised.
        products: (entries,) int64, which product each belongs to.

    Returns:
        (products, dim) float32, in rising order of the product.
    """
    order = np.argsort(products, kind="stable")
    vectors = vectors[order]
    _, starts, counts = np.unique(products[order], return_index=True, return_counts=True)
    if len(starts) == len(vectors):
        return vectors
    sums = np.add.reduceat(vectors, starts, axis=0)
    several = counts > 1
    sums[several] /= np.maximum(np.linalg.norm(sums[several], axis=1, keepdims=True), 1e-12)
    return sums


def _name(number: int, photos: Photos) -> str:
    """Return what a photo of a product is called in messages."""
    return IMAGE if len(photos) == 1 else f"{IMAGE} {number + 1} of {len(photos)}"
