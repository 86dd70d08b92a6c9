"""Mining click logs: which queries mean nearly the same.

How MAKE finds its similar queries was not published; shared clicks are our reading.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from towers.data import Clicks


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
