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
_EITHER = "a UTF-8 text file with one query per line, or a parquet file with a column 'text'"
# Separators of a CSV file, each with the number of lines that may all have equally many by chance.
_SEPARATORS = {"\t": 0, ";": 1, "|": 1, ",": 2}
_HEADINGS = {"text", "query", "query_id", "queries", "search_term", "search_query", "keyword"}


def read_queries(path: Path) -> list[str]:
    """Read the distinct queries of a file, in the order in which they first appear. Empty ones are left out.

    Args:
        path: A parquet file with a column `text`, or a UTF-8 text file with one query per line.

    Raises:
        ValueError: The file is of neither kind, such as a CSV file; lacks the column; or holds no query.
    """
    if path.is_dir():
        raise ValueError(f"queries: {path} is a folder; give one file")
    lines = _texts(path) if _is_parquet(path) else _text_lines(path)
    queries = list(dict.fromkeys(line.strip() for line in lines if line and line.strip()))
    if not queries:
        raise ValueError(f"queries: {path} holds no query")
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


def _texts(path: Path) -> list[str | None]:
    from shopwindow.base.checked_table import TEXT, Column, read_checked  # only parquet files need pyarrow

    return read_checked("queries", path, [Column("text", TEXT, gaps=True)])["text"]


def _text_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"queries: {path} must be {_EITHER}: {error}") from error
    for row, line in enumerate(lines, 1):
        if "\0" in line:
            raise ValueError(f"queries: {path} must be {_EITHER}: line {row} has a NUL")
    if looks := _looks_like(path, [line for line in lines if line.strip()]):
        raise ValueError(f"queries: {path} looks like {looks}, and its lines would be sent as queries; give {_EITHER}")
    return lines


def _looks_like(path: Path, lines: Sequence[str]) -> str | None:
    """Return the format that lines seem to be of, and why; None if they may be queries.

    Args:
        path: Their file.
        lines: Those that are not empty.
    """
    if not lines:
        return None
    first = lines[0].strip()
    if first[0] in "{[" and first[-1] in "}],{[":
        return f"JSON (it begins with {first[:40]!r})"
    for separator, chance in _SEPARATORS.items():
        names = {name.strip().strip("'\"").casefold() for name in first.split(separator)}
        if names & _HEADINGS:
            return f"CSV (its first line is {first[:40]!r})"
        counts = [line.count(separator) for line in lines]
        if len(lines) > chance and min(counts) == max(counts) > 0:
            return f"CSV (all {len(lines)} lines have {counts[0]} {separator!r})"
        if path.suffix.lower() in (".csv", ".tsv") and any(counts):
            return f"CSV (by its name, and lines have {separator!r})"
    return None
