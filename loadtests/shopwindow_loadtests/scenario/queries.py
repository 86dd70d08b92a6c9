"""Queries drawn the way shoppers send them: a few all the time, most of them rarely."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def read_queries(path: Path) -> list[str]:
    """Read the distinct queries of a file in the order in which they first appear.

    Args:
        path: A parquet file with a column `text`, or a UTF-8 text file with a query a line.

    Raises:
        ValueError: The column is missing or there is no query.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq  # only for this kind of file

        columns = pq.read_schema(path).names
        if "text" not in columns:
            raise ValueError(f"{path} must have a column 'text', it has {', '.join(columns)}")
        lines = pq.read_table(path, columns=["text"])["text"].to_pylist()
    else:
        lines = path.read_text(encoding="utf-8").splitlines()
    queries = list(dict.fromkeys(line.strip() for line in lines if line and line.strip()))
    if not queries:
        raise ValueError(f"{path} holds no query")
    return queries


class ZipfSampler:
    """Draws queries with a probability in proportion to `rank ** -exponent`, rank 1 being the first.

    Args:
        queries: Distinct queries, the most popular first.
        exponent: 0 draws all alike; real traffic is near 1.
        seed: The same seed draws the same queries in the same order.
    """

    def __init__(self, queries: Sequence[str], *, exponent: float, seed: int) -> None:
        weights = np.arange(1, len(queries) + 1, dtype=np.float64) ** -exponent
        self._queries = queries
        self._cumulative = np.cumsum(weights / weights.sum())
        self._cumulative[-1] = 1.0  # whatever rounding left, a draw below 1 must find a query
        self._random = np.random.default_rng(seed)

    def draw(self, count: int) -> list[str]:
        """Draw `count` queries, with repetition."""
        ranks = np.searchsorted(self._cumulative, self._random.random(count), side="right")
        return [self._queries[rank] for rank in ranks]
