"""Mining click logs: which queries mean nearly the same, and which products are of one style.

How MAKE finds its similar queries was not published; shared clicks are our reading. eSSPR states that its pairs come
from click logs under category and relevance constraints; the rules that follow from it here are our reading too.
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
from shopwindow.towers.data.mining_rules import MiningRules
from shopwindow.towers.data.training_data import Clicks, read_columns, titles_of

DIGITS = 6  # of a relevance: sums of square roots must not fall below a threshold that they equal


@dataclass(frozen=True, kw_only=True)
class MiningCatalog:
    """Products as mining sees them.

    Attributes:
        product_ids: (products,) int64.
        words: the distinct words of each title, in lower case; empty where there is no title.
        category: (products,) int64, equal for products of one leaf category; -1 where none is given.
        row_of: product id -> row.
    """

    product_ids: np.ndarray
    words: list[frozenset[str]]
    category: np.ndarray
    row_of: dict[int, int]


@dataclass(frozen=True, kw_only=True)
class MinedPairs:
    """Pairs of catalogue rows, the most relevant first, each once.

    Attributes:
        first: (pairs,) int64 rows.
        second: (pairs,) int64 rows, above `first`.
        queries: (pairs,) int64, queries under which both were clicked.
        relevance: (pairs,) float64, 0 to 1.
        broad_queries: queries that were left out as too broad.
        candidates: pairs clicked under at least one other query.
        dropped: candidates that each rule dropped, in the order of the rules; a pair counts at the first that it fails.
    """

    first: np.ndarray
    second: np.ndarray
    queries: np.ndarray
    relevance: np.ndarray
    broad_queries: int
    candidates: int
    dropped: dict[str, int]


def load_mining_catalog(file: Path, category_column: str) -> MiningCatalog:
    """Read products.parquet (product_id, the category, and title where there is one).

    Raises:
        ValueError: product_id or the category column is missing.
    """
    table = read_columns(file, "product_id", category_column, optional=("title",))
    ids = np.asarray(table["product_id"], dtype=np.int64)
    codes: dict[object, int] = {}
    category = [-1 if name in (None, "") else codes.setdefault(name, len(codes)) for name in table[1].to_pylist()]
    return MiningCatalog(
        product_ids=ids,
        words=[frozenset(re.findall(r"\w+", title.lower())) for title in titles_of(table)],
        category=np.array(category, dtype=np.int64),
        row_of={int(product): row for row, product in enumerate(ids)},
    )


def mine_pairs(catalog: MiningCatalog, clicks: Clicks, rules: MiningRules) -> MinedPairs:
    """Same-style pairs: clicked under the same queries, of one leaf category, and relevant to each other.

    The relevance of two products is the weighted mean of the cosine of their click profiles (one dimension a query,
    square roots of the click counts) and of the Jaccard overlap of their titles' words; the cosine alone where a
    title is missing. The most relevant pairs are kept first, each as long as both products have room for a partner.
    """
    products = len(catalog.product_ids)
    query, product, value, broad_queries = _profiles(clicks, products, rules.broadest)
    first, second, queries, cosine = _co_clicks(query, product, value, products)

    enough = queries >= rules.min_queries
    alike = (catalog.category[first] == catalog.category[second]) & (catalog.category[first] >= 0)
    of_one_kind = np.flatnonzero(enough & alike)
    relevance = _relevance(catalog, first[of_one_kind], second[of_one_kind], cosine[of_one_kind], rules.title_share)
    relevant = relevance >= round(rules.relevance, DIGITS)
    rows, relevance = of_one_kind[relevant], relevance[relevant]

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
            f"beyond {rules.partners} partners": len(rows) - len(kept),
        },
    )


def _profiles(clicks: Clicks, products: int, broadest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The cells of the query-product matrix without broad queries, by query: query, product, value; and the broad."""
    keys, cell = np.unique(clicks.query * products + clicks.product, return_inverse=True)
    value = np.sqrt(np.bincount(cell, weights=clicks.weight**2, minlength=len(keys)))  # a weight is a root already
    query, product = np.divmod(keys, products)
    broad = np.bincount(query, minlength=len(clicks.queries)) > broadest
    kept = ~broad[query]
    return query[kept], product[kept], value[kept], int(broad.sum())


def _co_clicks(
    query: np.ndarray, product: np.ndarray, value: np.ndarray, products: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every two products clicked under one query: rows, rows above them, number of queries, cosine of the profiles."""
    # Starts with an empty array, as there may be no query at all.
    keys, parts = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    starts = np.flatnonzero(np.diff(query, prepend=-1))
    ends = np.append(starts, len(query))[1:]
    spans = zip(starts, ends, strict=True)
    for start, end in progress_bar(spans, total=len(starts), desc="co-clicks", unit="query"):
        i, j = _every_two(int(end - start))
        keys.append(product[start + i] * products + product[start + j])
        parts.append(value[start + i] * value[start + j])
    pairs, pair, queries = np.unique(np.concatenate(keys), return_inverse=True, return_counts=True)
    first, second = np.divmod(pairs, products)
    norm = np.sqrt(np.bincount(product, weights=value**2, minlength=products))
    dot = np.bincount(pair, weights=np.concatenate(parts), minlength=len(pairs))
    length = norm[first] * norm[second]
    return first, second, queries, np.divide(dot, length, out=np.zeros(len(pairs)), where=length > 0)


@cache
def _every_two(count: int) -> tuple[np.ndarray, np.ndarray]:
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
    """Which pairs find both products with fewer than `partners` partners, taken in order."""
    taken: Counter[int] = Counter()
    kept = np.zeros(len(first), dtype=bool)
    for pair, products in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        if all(taken[product] < partners for product in products):
            taken.update(products)
            kept[pair] = True
    return kept


def write_pairs(file: Path, catalog: MiningCatalog, pairs: MinedPairs) -> None:
    """Write pairs.parquet: trigger_id, recall_id, queries, relevance; each pair in both directions, by trigger."""
    first, second = catalog.product_ids[pairs.first], catalog.product_ids[pairs.second]
    trigger, recall = np.concatenate([first, second]), np.concatenate([second, first])
    relevance = np.tile(pairs.relevance, 2)
    order = np.lexsort((recall, -relevance, trigger))
    table = pa.table(
        {
            "trigger_id": trigger[order],
            "recall_id": recall[order],
            "queries": np.tile(pairs.queries, 2)[order],
            "relevance": relevance[order],
        }
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, compression="zstd")


def keyword_sets(clicks: Clicks, *, floor: float = 0.2, largest: int = 8) -> list[list[int]]:
    """Keyword Enhancement's query sets: for each query, the queries that share enough clicks with it.

    Similarity is the cosine of the click sets, |A and B| / sqrt(|A| |B|).

    Args:
        clicks: the click log.
        floor: least similarity.
        largest: at most so many queries, the most similar first.

    Returns:
        One list of query numbers per query, without itself.
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
        kept = sorted((pair for pair in similar if pair[0] >= floor), key=lambda pair: (-pair[0], pair[1]))
        sets.append([other for _, other in kept[:largest]])
    return sets
