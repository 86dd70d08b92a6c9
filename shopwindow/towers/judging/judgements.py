"""Judged queries: their texts, the products that answer them, and the groups that they belong to."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.towers.judging.corpus import is_text

# A text column with more values than this does not group queries.
MOST_GROUPS = 20


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """Queries with at least one relevant product each. Relevance is binary.

    Attributes:
        queries: texts.
        relevant: for each query, the ids of the products that answer it.
        groups: column -> its value for each query.
    """

    queries: list[str]
    relevant: list[set[int]]
    groups: dict[str, list[str | None]] = field(default_factory=dict)


def read_judgements(queries: Path, qrels: Path) -> Judgements:
    """Read queries.parquet (query_id, text) and qrels.parquet (query_id, product_id, relevance).

    Other text columns of the queries become groups if they have at most MOST_GROUPS values. So do the columns of a
    query_meta.parquet in the same folder.

    Raises:
        ValueError: no query has a relevant product.
    """
    judged = pq.read_table(qrels)
    relevant: defaultdict[int, set[int]] = defaultdict(set)
    columns = (judged[name].to_pylist() for name in ("query_id", "product_id", "relevance"))
    for query, product, relevance in zip(*columns, strict=True):
        if relevance > 0:
            relevant[query].add(product)
    table = pq.read_table(queries)
    texts = dict(zip(table["query_id"].to_pylist(), table["text"].to_pylist(), strict=True))
    kept = [query for query in texts if relevant[query]]
    if not kept:
        raise ValueError(f"qrels: {qrels} has no product with a relevance above 0 for a query of {queries}")
    groups = _groups(table, kept)
    meta = queries.parent / "query_meta.parquet"
    if meta.exists():
        groups |= _groups(pq.read_table(meta), kept)
    return Judgements(
        queries=[texts[query] for query in kept], relevant=[relevant[query] for query in kept], groups=groups
    )


def _groups(table: pa.Table, queries: list[int]) -> dict[str, list[str | None]]:
    groups = {}
    for name in table.column_names:
        if name == "text" or not is_text(table.schema.field(name).type):
            continue
        value_of = dict(zip(table["query_id"].to_pylist(), table[name].to_pylist(), strict=True))
        if len(set(value_of.values())) <= MOST_GROUPS:
            groups[name] = [value_of.get(query) for query in queries]
    return groups
