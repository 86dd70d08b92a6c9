"""Ranking of judged queries over the whole catalogue, sliced, beside BM25 over the titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.towers.judging.bm25 import rank_bm25
from shopwindow.towers.judging.corpus import Corpus
from shopwindow.towers.judging.judgements import Judgements
from shopwindow.towers.judging.metrics import difference, estimate, find_hits, ndcg, recall, reciprocal_rank
from shopwindow.towers.judging.table import Cell, Table

PLACES = 100
NDCG = "nDCG@10"
RECALL = "recall@100"

Scores = Mapping[str, np.ndarray]
"""Metric -> its value for every query, (queries,) float64."""


def score(ranked: np.ndarray, judgements: Judgements) -> Scores:
    """Score rankings.

    Args:
        ranked: (queries, PLACES) int64 product ids, -1 where nothing was found.
        judgements: of the same queries.
    """
    hits = find_hits(ranked, judgements.relevant)
    relevant = np.array([len(wanted) for wanted in judgements.relevant])
    return {
        NDCG: ndcg(hits, relevant),
        "MRR": reciprocal_rank(hits),
        "recall@10": recall(hits, relevant, 10),
        RECALL: recall(hits, relevant, PLACES),
    }


def score_pipeline(pipeline: InProcessPipeline, judgements: Judgements) -> Scores:
    """Retrieve for every query as a server would, from the index, and score what came."""
    return score(pipeline.retrieve(judgements.queries, top_k=PLACES).product_ids, judgements)


def score_bm25(corpus: Corpus, judgements: Judgements) -> Scores:
    """BM25 over the titles, words alone: the floor."""
    return score(rank_bm25(corpus.titles, corpus.product_ids, judgements.queries, PLACES), judgements)


def slices(judgements: Judgements, corpus: Corpus | None, category: str | None) -> dict[str, np.ndarray]:
    """Name -> (queries,) bool: all, by group, head and tail, by category.

    A query belongs to the category that most of its relevant products have.

    Args:
        judgements: the queries.
        corpus: for the categories; None leaves them out.
        category: a column of the corpus; None leaves the categories out.
    """
    counts = np.array([len(wanted) for wanted in judgements.relevant])
    middle = int(np.median(counts))
    members = {"all": np.ones(len(counts), dtype=bool)}
    for name, values in judgements.groups.items():
        members |= _by_value(name, values)
    members[f"head (more than {middle} relevant)"] = counts > middle
    members[f"tail (at most {middle} relevant)"] = counts <= middle
    if corpus is not None and category is not None:
        category_of = dict(zip(corpus.product_ids.tolist(), corpus.columns[category], strict=True))
        seen = (Counter(filter(None, map(category_of.get, sorted(wanted)))) for wanted in judgements.relevant)
        members |= _by_value(category, [count.most_common(1)[0][0] if count else None for count in seen])
    return {name: mask for name, mask in members.items() if mask.any()}


def _by_value(name: str, values: list[str | None]) -> dict[str, np.ndarray]:
    present = sorted({value for value in values if value is not None})
    return {f"{name}: {value}": np.array([v == value for v in values]) for value in present}


def highest_recall(judgements: Judgements) -> float:
    """The mean recall@100 of a perfect ranking: below 1 where a query has more than 100 relevant products."""
    relevant = np.array([len(wanted) for wanted in judgements.relevant])
    return float(np.mean(np.minimum(relevant, PLACES) / relevant))


def quality_table(
    ours: Scores, floor: Scores | None, members: Mapping[str, np.ndarray], judgements: Judgements, seed: int
) -> Table:
    """Every slice: our row, the floor's row, and by how much ours is ahead."""
    rows: list[dict[str, Cell]] = []
    for name, mask in members.items():
        for system, scores in (("towers", ours), ("BM25", floor)):
            if scores is None:
                continue
            row: dict[str, Cell] = {"slice": name, "queries": int(mask.sum()), "system": system}
            row |= {metric: estimate(values[mask], seed=seed) for metric, values in scores.items()}
            if floor is not None:
                ahead = difference(ours[NDCG][mask], floor[NDCG][mask], seed=seed)
                row[f"{NDCG} ahead of BM25"] = ahead if system == "towers" else None
            rows.append(row)
    return Table(
        title="Judged queries over the whole catalogue",
        note=f"Means over queries with 95 % bootstrap intervals; rankings end at {PLACES}, so that a perfect one would "
        f"reach a {RECALL} of {highest_recall(judgements):.4f} over all queries.",
        rows=rows,
    )
