"""Search with products of the index in place of words or a photo: their stored vectors are added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shopwindow.base.product_keys import is_key, key_number
from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.index.product_keys import unlike_keys
from shopwindow.retrieval.request.page.like_reading import Like, parse_like
from shopwindow.retrieval.search.product_index import ProductIndex


def embed_like(index: ProductIndex, texts: Sequence[bytes]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return what to search with for the input `like`.

    Args:
        index: the index that holds the products.
        texts: (batch) JSON, see `parse_like`.

    Returns:
        (batch, dim) float32, L2-normalised: the weighted sums of the products' vectors. And for each row the row
        numbers of these products, int64, which are not to be found.

    Raises:
        InvalidRequest: a row is malformed, names a product that the index does not hold, or its products cancel out.
    """
    if index.folder is None:
        raise InvalidRequest(
            "like", "needs an index in memory, because the vectors of Milvus are not on this server; send an embedding"
        )
    likes = [parse_like(f"like[{row}]", text) for row, text in enumerate(texts)]
    given = [_rows_of(index, f"like[{row}].ids", like) for row, like in enumerate(likes)]
    embeddings = np.empty((len(likes), index.manifest.dim), np.float32)
    for row, (like, rows) in enumerate(zip(likes, given, strict=True)):
        weights = np.array(like.weights)
        weights /= np.abs(weights).max()  # so that huge ones do not overflow
        total = weights @ index.vectors[rows].astype(np.float64)
        length = np.linalg.norm(total)
        if not length > 1e-6:
            raise InvalidRequest(f"like[{row}].weights", "the products cancel out; change their weights")
        embeddings[row] = total / length
    return embeddings, given


def _rows_of(index: ProductIndex, field: str, like: Like) -> np.ndarray:
    """Return the rows of products, int64."""
    keys = index.folder.product_keys if index.folder is not None else None
    texts = [one for one in like.ids if isinstance(one, str)]
    if bool(texts) != (keys is not None):
        held = "texts" if keys is not None else "whole numbers"
        raise InvalidRequest(field, f"the ids of this index are {held}, got {show(like.ids[0])}")
    numbers = [(key_number(one) if is_key(one) else -1) if isinstance(one, str) else one for one in like.ids]
    rows = index.rows_of(numbers)
    if keys is not None:
        rows[unlike_keys(keys, rows, texts)] = -1
    if (rows < 0).any():
        raise InvalidRequest(field, f"this index has no product {show(like.ids[int(np.argmax(rows < 0))])}")
    return rows
