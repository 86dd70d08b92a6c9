"""Queries: reading them from files, adding more to them, and drawing them the way shoppers send them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

# For a first look at a server before any queries are at hand.
BUILT_IN_QUERIES = (
    "red dress",
    "white mug",
    "running shoes",
    "black leather bag",
    "blue shirt",
    "wooden chair",
    "desk lamp",
    "wool scarf",
)
_WIDENING_SEED = 0
_PARQUET = b"PAR1"  # the first bytes of every parquet file


def read_queries(path: Path) -> list[str]:
    """Read the distinct queries of a file, in the order in which they first appear.

    Args:
        path: A parquet file with a column `text`, or a UTF-8 text file with one query per line.

    Raises:
        ValueError: The file is of neither kind, lacks the column, or holds no query.
    """
    lines = _parquet_column(path, "text") if _is_parquet(path) else _text_lines(path)
    queries = list(dict.fromkeys(line.strip() for line in lines if line and line.strip()))
    if not queries:
        raise ValueError(f"{path} holds no query")
    return queries


def widen(queries: Sequence[str], count: int) -> list[str]:
    """Return the queries and then new ones made of their words, so that a Zipf mix has a tail that no cache holds.

    Args:
        queries: Distinct queries. The new ones have as many words as these.
        count: How many queries to return. Fewer come back if the words allow no more.
    """
    random = np.random.default_rng(_WIDENING_SEED)
    lengths = [len(query.split()) for query in queries]
    words = np.array(sorted({word for query in queries for word in query.split()}))
    wide = dict.fromkeys(queries[:count])
    for _ in range(50 * count):
        if len(wide) >= count:
            break
        length = lengths[random.integers(len(lengths))]
        wide[" ".join(words[random.integers(len(words), size=length)].tolist())] = None
    return list(wide)


class ZipfSampler:
    """Draws queries with a probability proportional to `rank ** -exponent`. The first query has rank 1.

    Args:
        queries: Distinct queries, the most popular first.
        exponent: 0 draws all with the same probability; real traffic is near 1.
        seed: The same seed draws the same queries in the same order.
    """

    def __init__(self, queries: Sequence[str], *, exponent: float, seed: int) -> None:
        weights = np.arange(1, len(queries) + 1, dtype=np.float64) ** -exponent
        self._queries = queries
        self._cumulative = np.cumsum(weights / weights.sum())
        self._cumulative[-1] = 1.0  # rounding may leave less, and every draw below 1 must find a query
        self._random = np.random.default_rng(seed)

    def draw(self, count: int) -> list[str]:
        """Draw `count` queries, with repetition."""
        ranks = np.searchsorted(self._cumulative, self._random.random(count), side="right")
        return [self._queries[rank] for rank in ranks]


def _is_parquet(path: Path) -> bool:
    if path.suffix == ".parquet":
        return True
    with path.open("rb") as file:
        return file.read(len(_PARQUET)) == _PARQUET


def _parquet_column(path: Path, name: str) -> list[str | None]:
    import pyarrow as pa  # only parquet files need it
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        if name not in schema.names:
            raise ValueError(f"{path} must have a column '{name}', it has {', '.join(schema.names)}")
        kind = schema.field(name).type
        values = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not pa.types.is_string(values) and not pa.types.is_large_string(values):
            raise ValueError(f"{path}: the column '{name}' must hold strings, it holds {kind}")
        lines: list[str | None] = pq.read_table(path, columns=[name])[name].to_pylist()
        return lines
    except pa.ArrowException as error:
        raise ValueError(f"{path} must be a parquet file: {str(error).splitlines()[0]}") from error


def _text_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be a UTF-8 text file with one query per line, or a parquet file with a column 'text': {error}"
        ) from error
