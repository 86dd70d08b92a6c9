"""Mine click logs for queries that mean nearly the same and for products of the same style.

How MAKE finds similar queries was not published. That shared clicks decide is our reading. eSSPR states that its pairs
come from click logs under constraints of category and relevance. The rules here are our reading of that too.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shopwindow.base.progress_bar import progress_bar
from shopwindow.base.type_words import type_name
from shopwindow.towers.data.mining_rules import MiningRules
from shopwindow.towers.data.training_data import Clicks, read_columns, read_shop_ids, titles_of
from shopwindow.towers.data.words import split_words

DIGITS = 6  # digits of a relevance, so that rounding errors do not push it below a threshold that it equals


@dataclass(frozen=True, kw_only=True)
class MiningCatalog:
    """The parts of a catalogue that mining uses.

    Attributes:
        product_ids: (products,) int64.
        words: the distinct words of each title, in lower case, with each Chinese character as a word; empty if there
            is no title.
        category: (products,) int64, a number for each leaf category; -1 if a product has none.
        row_of: product id -> row.
        product_keys: the text ids; None if ids are whole numbers.
    """

    product_ids: np.ndarray
    words: list[frozenset[str]]
    category: np.ndarray
    row_of: dict[int, int]
    product_keys: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class MinedPairs:
    """Pairs of catalogue rows, the most relevant first. Each pair appears once.

    Attributes:
        first: (pairs,) int64 rows.
        second: (pairs,) int64 rows, larger than `first`.
        queries: (pairs,) int64, number of queries under which both products were clicked.
        relevance: (pairs,) float64, 0 to 1.
        broad_queries: number of queries left out because they are too broad.
        candidates: number of pairs clicked under at least one query that is not too broad.
        dropped: rule -> number of candidates that it dropped, in the order of the rules. A pair that fails several
            rules counts for the first.
    """

    first: np.ndarray
    second: np.ndarray
    queries: np.ndarray
    relevance: np.ndarray
    broad_queries: int
    candidates: int
    dropped: dict[str, int]


def load_mining_catalog(file: Path, category_column: str) -> MiningCatalog:
    """Read products.parquet (product_id, the category, and title if there is one).

    Raises:
        ValueError: product_id or the category column is missing, or a category is a list or an object.
    """
    ids, keys = read_shop_ids("catalog", file)
    table = read_columns(file, category_column, optional=("title",))
    if pa.types.is_nested(kind := table.schema.field(category_column).type):
        raise ValueError(
            f"catalog: {file}: column {category_column!r} must hold one category a row, got {type_name(kind)}"
        )
    codes: dict[object, int] = {}
    category = [
        -1 if name in (None, "") else codes.setdefault(name, len(codes)) for name in table[category_column].to_pylist()
    ]
    return MiningCatalog(
        product_ids=ids,
        words=[frozenset(_words(title)) for title in titles_of(table)],
        category=np.array(category, dtype=np.int64),
        row_of={int(product): row for row, product in enumerate(ids)},
        product_keys=keys,
    )


def _words(title: str) -> list[str]:
    return [word for part in re.findall(r"\w+", title.lower()) for word in split_words(part)]


def mine_pairs(catalog: MiningCatalog, clicks: Clicks, rules: MiningRules) -> MinedPairs:
    """Find same-style pairs: clicked under the same queries, of one leaf category, and relevant to each other.

    The relevance of two products is a weighted mean of two values. One is the cosine of their click profiles, which
    have a dimension for each query and hold the square roots of the click counts. The other is the Jaccard overlap of
    the words in their titles. If a title is missing, the cosine alone counts. Pairs are kept in the order of their
    relevance, as long as both products have fewer than `rules.partners` partners.
    """
    products = len(catalog.product_ids)
    query, product, value, broad_queries = _profiles(clicks, products, rules.broadest)
    first, second, queries, cosine = _co_clicks(query, product, value, products)

    enough = queries >= rules.min_queries
    alike = (catalog.category[first] == catalog.category[second]) & (catalog.category[first] >= 0)
    rows = np.flatnonzero(enough & alike)
    relevance = _relevance(catalog, first[rows], second[rows], cosine[rows], rules.title_share)
    relevant = relevance >= round(rules.relevance, DIGITS)
    rows, relevance = rows[relevant], relevance[relevant]

    best = np.lexsort((second[rows], first[rows], -queries[rows], -relevance))
    kept = best[_with_room(first[rows[best]], second[rows[best]], rules.partners)]
    return MinedPairs(
        first=first[rows[kept]],
        second=second[rows[kept]],
        queries=queries[rows[kept]],
        relevance=relevance[kept],
        broad_queries=broad_queries,
        candidates=len(first),
        dropped={
            f"under fewer than {rules.min_queries} queries": int((~enough).sum()),
            "of another category": int((enough & ~alike).sum()),
            f"relevance below {rules.relevance:g}": int((~relevant).sum()),
            f"more than {rules.partners} partners": len(rows) - len(kept),
        },
    )


def _profiles(clicks: Clicks, products: int, broadest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return the cells of the query-product matrix without broad queries, in the order of the queries.

    Returns:
        Query, product and value of each cell, each (cells,), and the number of broad queries.
    """
    keys, cell = np.unique(clicks.query * products + clicks.product, return_inverse=True)
    value = np.sqrt(np.bincount(cell, weights=clicks.weight**2, minlength=len(keys)))  # weights are square roots
    query, product = np.divmod(keys, products)
    broad = np.bincount(query, minlength=len(clicks.queries)) > broadest
    kept = ~broad[query]
    return query[kept], product[kept], value[kept], int(broad.sum())


def _co_clicks(
    query: np.ndarray, product: np.ndarray, value: np.ndarray, products: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find every two products clicked under the same query.

    Returns:
        The smaller row, the larger row, the number of shared queries and the cosine of the click profiles, each
        (pairs,).
    """
    # The lists start with an empty array, because there may be no query.
    keys, parts = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    starts = np.flatnonzero(np.diff(query, prepend=-1))
    ends = np.append(starts, len(query))[1:]
    spans = zip(starts, ends, strict=True)
    for start, end in progress_bar(spans, total=len(starts), desc="co-clicks", unit="query"):
        i, j = _index_pairs(int(end - start))
        keys.append(product[start + i] * products + product[start + j])
        parts.append(value[start + i] * value[start + j])
    pairs, pair, queries = np.unique(np.concatenate(keys), return_inverse=True, return_counts=True)
    first, second = np.divmod(pairs, products)
    norm = np.sqrt(np.bincount(product, weights=value**2, minlength=products))
    dot = np.bincount(pair, weights=np.concatenate(parts), minlength=len(pairs))
    length = norm[first] * norm[second]
    return first, second, queries, np.divide(dot, length, out=np.zeros(len(pairs)), where=length > 0)


@cache
def _index_pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(count, 1)


def _relevance(
    catalog: MiningCatalog, first: np.ndarray, second: np.ndarray, cosine: np.ndarray, title_share: float
) -> np.ndarray:
    relevance = cosine.copy()
    pairs = zip(first, second, strict=True)
    for pair, (one, other) in enumerate(progress_bar(pairs, total=len(first), desc="titles", unit="pair")):
        a, b = catalog.words[one], catalog.words[other]
        if a and b:
            overlap = len(a & b) / len(a | b)
            relevance[pair] = (1 - title_share) * cosine[pair] + title_share * overlap
    return np.round(relevance, DIGITS)


def _with_room(first: np.ndarray, second: np.ndarray, partners: int) -> np.ndarray:
    """Take pairs in order, and mark those whose products both have fewer than `partners` partners so far."""
    partners_of: Counter[int] = Counter()
    kept = np.zeros(len(first), dtype=bool)
    for pair, products in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        if all(partners_of[product] < partners for product in products):
            partners_of.update(products)
            kept[pair] = True
    return kept


def write_pairs(file: Path, catalog: MiningCatalog, pairs: MinedPairs) -> None:
    """Write pairs.parquet (trigger_id, recall_id, queries, relevance), each pair in both directions, by trigger."""
    one, other = np.concatenate([pairs.first, pairs.second]), np.concatenate([pairs.second, pairs.first])
    relevance = np.tile(pairs.relevance, 2)
    order = np.lexsort((catalog.product_ids[other], -relevance, catalog.product_ids[one]))
    ids = pa.array(catalog.product_ids if catalog.product_keys is None else catalog.product_keys)
    table = pa.table(
        {
            "trigger_id": ids.take(pa.array(one[order])),
            "recall_id": ids.take(pa.array(other[order])),
            "queries": np.tile(pairs.queries, 2)[order],
            "relevance": relevance[order],
        }
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, compression="zstd")


def keyword_sets(clicks: Clicks, *, min_similarity: float = 0.2, max_queries: int = 8) -> list[list[int]]:
    """Return the query sets of Keyword Enhancement: for each query, the queries that share enough clicks with it.

    Similarity is the cosine of the click sets, |A and B| / sqrt(|A| |B|).

    Args:
        clicks: the click log.
        min_similarity: least similarity of a query in the set.
        max_queries: largest size of a set. The most similar queries are kept.

    Returns:
        A list of query numbers for each query, the most similar first. It does not hold the query itself.
    """
    queries_of: defaultdict[int, list[int]] = defaultdict(list)
    for query, products in enumerate(clicks.clicked):
        for product in products:
            queries_of[product].append(query)
    sets = []
    for query, products in enumerate(clicks.clicked):
        shared = Counter(other for product in products for other in queries_of[product])
        del shared[query]
        similar = [
            (count / (len(products) * len(clicks.clicked[other])) ** 0.5, other) for other, count in shared.items()
        ]
        kept = sorted((pair for pair in similar if pair[0] >= min_similarity), key=lambda pair: (-pair[0], pair[1]))
        sets.append([other for _, other in kept[:max_queries]])
    return sets
