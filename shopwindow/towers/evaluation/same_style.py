"""Same-style retrieval in all seven directions between photo (i), title (t) and both (m).

The metrics are those of the eSSPR authors' table. If a trigger has several same-style products, the first one found
counts. This is our reading, because the authors did not publish how they treat that case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from shopwindow.retrieval.duplicates.labelled_pairs import LabelledPairs
from shopwindow.towers.judging.corpus import Forms
from shopwindow.towers.judging.metrics import estimate, find_hits, hit_rate, reciprocal_rank
from shopwindow.towers.judging.ranking import rank
from shopwindow.towers.judging.table import Cell, Table

DIRECTIONS = ("i-i", "i-t", "i-m", "t-i", "t-t", "t-m", "m-m")
DEPTHS = (1, 5, 10, 20)
PLACES = 100


def same_style_of(pairs: LabelledPairs, product_ids: np.ndarray) -> dict[int, set[int]]:
    """Return trigger -> its same-style products.

    Pairs that are labelled as different, pairs with a product that is not in `product_ids`, and pairs of a product
    with itself are left out.
    """
    known = set(product_ids.tolist())
    same: defaultdict[int, set[int]] = defaultdict(set)
    for trigger, other in pairs.same:
        if trigger in known and other in known and trigger != other:
            same[trigger].add(other)
    return dict(same)


def score_direction(
    queries: np.ndarray, candidates: np.ndarray, product_ids: np.ndarray, same: Mapping[int, set[int]]
) -> dict[str, np.ndarray]:
    """Rank the whole catalogue, without the trigger itself, for every trigger.

    Args:
        queries: (products, dim) float32, the catalogue in the form of the triggers.
        candidates: (products, dim) float32, the catalogue in the form that is searched.
        product_ids: (products,) int64.
        same: trigger -> its same-style products. All of them must be in the catalogue.

    Returns:
        MRR, R@1, R@5, R@10, R@20 -> (triggers,) float64, in the order of `same`.
    """
    row_of = {product: row for row, product in enumerate(product_ids.tolist())}
    rows = np.array([row_of[trigger] for trigger in same])
    ranked = rank(queries[rows], candidates, product_ids, PLACES, exclude=rows)
    hits = find_hits(ranked, list(same.values()))
    return {"MRR": reciprocal_rank(hits), **{f"R@{k}": hit_rate(hits, k) for k in DEPTHS}}


def same_style_table(forms: Forms, product_ids: np.ndarray, same: Mapping[int, set[int]], seed: int) -> Table:
    """Return the scores in all seven directions; arguments as `score_direction`, and the seed of the intervals."""
    rows: list[dict[str, Cell]] = []
    for direction in DIRECTIONS:
        trigger_form, catalogue_form = direction.split("-")
        scores = score_direction(getattr(forms, trigger_form), getattr(forms, catalogue_form), product_ids, same)
        row: dict[str, Cell] = {"direction": direction}
        rows.append(row | {metric: estimate(values, seed=seed) for metric, values in scores.items()})
    return Table(
        title="Same-style products",
        note=f"{len(same)} triggers against all {len(product_ids)} products. Direction: form of the trigger, then form "
        "of the catalogue. R@k: share of triggers with a same-style product among the first k. Rankings end at place "
        f"{PLACES}.",
        rows=rows,
    )
