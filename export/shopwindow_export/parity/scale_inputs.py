"""Real inputs on which the scales of 8-bit graphs are measured."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow_export.graphs.qdq import Feeds
from shopwindow_export.parity.sample import ParitySample, take

ROWS = 32
BATCHES = 8


def query_feeds(sample: ParitySample, tokenizer: TextEncoder) -> Feeds:
    """Return batches of title queries from all over the sample.

    Queries that the user gives are kept for measuring parity.

    Args:
        sample: the sample of a catalogue.
        tokenizer: the tokenizer of queries.
    """
    feeds = []
    for rows in _spread(len(sample.title_queries)):
        ids, mask = tokenizer.encode([sample.title_queries[row] for row in rows])
        feeds.append({"input_ids": ids, "attention_mask": mask})
    return feeds


def product_feeds(sample: ParitySample) -> Feeds:
    """Return batches of products from all over the sample, as they are and without one modality."""
    feeds = []
    for number, rows in enumerate(_spread(len(sample.products.pixels))):
        tensors = take(sample.products, rows).tensors()
        width = max(1, int(tensors["title_mask"].sum(axis=1).max()))
        for name in ("title_ids", "title_mask"):
            tensors[name] = tensors[name][:, :width]  # padding must not widen the scale
        feeds.append(tensors)
        both = tensors["modality_mask"].all(axis=1)
        if both.any():
            only = np.eye(2, dtype=np.float32)[[number % 2]]  # by title alone and by photo alone in turn
            one = {name: array[both] for name, array in tensors.items()}
            feeds.append({**one, "modality_mask": np.repeat(only, int(both.sum()), axis=0)})
    return feeds


def _spread(count: int) -> list[np.ndarray]:
    """Return the rows of each batch, as far apart as the sample allows."""
    rows = np.unique(np.linspace(0, count - 1, ROWS * BATCHES).astype(np.int64))
    return [rows[start::BATCHES] for start in range(min(BATCHES, len(rows)))]
