"""Rankings of judged queries over the whole catalogue, for slices of the queries, compared with BM25 over titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from shopwindow.retrieval.index.lexical_words import UNSPACED
from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.towers.judging.bm25 import rank_bm25
from shopwindow.towers.judging.corpus import Corpus
from shopwindow.towers.judging.judgements import Judgements
from shopwindow.towers.judging.metrics import difference, estimate, find_hits, ndcg, recall, reciprocal_rank
from shopwindow.towers.judging.table import Cell, Table

PLACES = 100
NDCG = "nDCG@10"
RECALL = "recall@100"
UNSPACED_SCRIPTS = "script: Chinese, Japanese, Korean"
OTHER_SCRIPTS = "script: others"

Scores = Mapping[str, np.ndarray]
"""Metric -> its value for every query, (queries,) float64."""


def score(ranked: np.ndarray, judgements: Judgements) -> Scores:
    """Score rankings.

    Args:
        ranked: (queries, PLACES) int64 product ids, -1 where nothing was found.
        judgements: the judgements of these queries.
    """
    hits = find_hits(ranked, judgements.relevant)
    relevant = np.array([len(answers) for answers in judgements.relevant])
    return {
        NDCG: ndcg(ranked, judgements.grades),
        "MRR": reciprocal_rank(hits),
        "recall@10": recall(hits, relevant, 10),
        RECALL: recall(hits, relevant, PLACES),
    }


def score_pipeline(pipeline: InProcessPipeline, judgements: Judgements) -> Scores:
    """Answer every query from the index, as a server would, and score the results."""
    return score(pipeline.retrieve(judgements.queries, top_k=PLACES).product_ids, judgements)


def score_bm25(corpus: Corpus, judgements: Judgements) -> Scores:
    """Score BM25 over the titles, the baseline."""
    return score(rank_bm25(corpus.titles, corpus.product_ids, judgements.queries, PLACES), judgements)


def slices(judgements: Judgements, corpus: Corpus | None, category: str | None) -> dict[str, np.ndarray]:
    """Return slices of the queries as name -> (queries,) bool: all, by script, by group, head and tail, by category.

    A query belongs to the category that most of its relevant products have.

    Args:
        judgements: the judged queries.
        corpus: the products, for the categories. None leaves the categories out.
        category: column of the corpus with the category. None leaves the categories out.
    """
    counts = np.array([len(answers) for answers in judgements.relevant])
    middle = int(np.median(counts))
    members = by_script(judgements)
    for name, values in judgements.groups.items():
        members |= _by_value(name, values)
    members[f"head (more than {middle} relevant)"] = counts > middle
    members[f"tail (at most {middle} relevant)"] = counts <= middle
    if corpus is not None and category is not None:
        category_of = dict(zip(corpus.product_ids.tolist(), corpus.columns[category], strict=True))
        counters = (Counter(filter(None, map(category_of.get, sorted(answers)))) for answers in judgements.relevant)
        members |= _by_value(category, [counter.most_common(1)[0][0] if counter else None for counter in counters])
    return {name: mask for name, mask in members.items() if mask.any()}


def by_script(judgements: Judgements) -> dict[str, np.ndarray]:
    """Return the slices all, UNSPACED_SCRIPTS and OTHER_SCRIPTS; only all if the queries are of one kind of script."""
    unspaced = np.array([bool(UNSPACED.search(query)) for query in judgements.queries])
    members = {"all": np.ones_like(unspaced)}
    if unspaced.any() and not unspaced.all():
        members |= {UNSPACED_SCRIPTS: unspaced, OTHER_SCRIPTS: ~unspaced}
    return members


def _by_value(name: str, values: list[str | None]) -> dict[str, np.ndarray]:
    present = sorted({value for value in values if value is not None})
    return {f"{name}: {value}": np.array([v == value for v in values]) for value in present}


def highest_recall(judgements: Judgements) -> float:
    """Return the mean recall@100 of a perfect ranking. It is below 1 if a query has more than 100 relevant products."""
    relevant = np.array([len(answers) for answers in judgements.relevant])
    return float(np.mean(np.minimum(relevant, PLACES) / relevant))


def quality_table(
    towers: Scores, bm25: Scores | None, members: Mapping[str, np.ndarray], judgements: Judgements, seed: int
) -> Table:
    """Return a row for the towers and a row for BM25 in every slice, and how far the towers are ahead.

    Args:
        towers: scores of the towers.
        bm25: scores of BM25; None leaves its rows out.
        members: slice -> (queries,) bool.
        judgements: the judged queries.
        seed: seed of the bootstrap intervals.
    """
    rows: list[dict[str, Cell]] = []
    for name, mask in members.items():
        for system, scores in (("towers", towers), ("BM25", bm25)):
            if scores is None:
                continue
            row: dict[str, Cell] = {"slice": name, "queries": int(mask.sum()), "system": system}
            row |= {metric: estimate(values[mask], seed=seed) for metric, values in scores.items()}
            if bm25 is not None:
                ahead = difference(towers[NDCG][mask], bm25[NDCG][mask], seed=seed)
                row[f"{NDCG} ahead of BM25"] = ahead if system == "towers" else None
            rows.append(row)
    return Table(
        title="Judged queries over the whole catalogue",
        note=f"Means over queries with 95 % bootstrap intervals. Rankings end at place {PLACES}, so a perfect ranking "
        f"would reach a {RECALL} of {highest_recall(judgements):.4f} over all queries.",
        rows=rows,
    )
