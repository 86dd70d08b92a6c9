"""How well products are found that training never saw, beside as many that it did see."""

from __future__ import annotations

import numpy as np

from shopwindow.towers.evaluation.retrieval_quality import NDCG, PLACES, Scores, score
from shopwindow.towers.judging.bm25 import rank_bm25
from shopwindow.towers.judging.corpus import Corpus
from shopwindow.towers.judging.judgements import Judgements
from shopwindow.towers.judging.metrics import difference, estimate
from shopwindow.towers.judging.ranking import rank
from shopwindow.towers.judging.table import Cell, Table


def answerable(judgements: Judgements, product_ids: np.ndarray) -> np.ndarray:
    """Queries that at least one of these products answers, (queries,) bool."""
    some = set(product_ids.tolist())
    return np.array([not some.isdisjoint(wanted) for wanted in judgements.relevant], dtype=bool)


def restrict(judgements: Judgements, product_ids: np.ndarray) -> Judgements:
    """The answerable queries, with no other products among what answers them."""
    some = set(product_ids.tolist())
    kept = np.flatnonzero(answerable(judgements, product_ids)).tolist()
    return Judgements(
        queries=[judgements.queries[row] for row in kept], relevant=[judgements.relevant[row] & some for row in kept]
    )


def score_among(
    queries: np.ndarray, products: np.ndarray, product_ids: np.ndarray, judgements: Judgements, among: np.ndarray
) -> Scores:
    """Rank some of the products exactly, for the queries that they answer.

    Args:
        queries: (queries, dim) float32, embeddings of all queries.
        products: (products, dim) float32, embeddings of all products.
        product_ids: (products,) int64.
        judgements: of all queries.
        among: (products,) bool, those to rank.
    """
    ids = product_ids[among]
    ranked = rank(queries[answerable(judgements, ids)], products[among], ids, PLACES)
    return score(ranked, restrict(judgements, ids))


def unseen_table(
    queries: np.ndarray, products: np.ndarray, corpus: Corpus, judgements: Judgements, unseen: np.ndarray, seed: int
) -> Table | None:
    """Towers and BM25 over the products that training never saw, and over a draw of as many that it did see.

    Args:
        queries: (queries, dim) float32, embeddings.
        products: (products, dim) float32, embeddings of the corpus.
        corpus: the products.
        judgements: the queries.
        unseen: (products,) bool, those that training never saw (see `shopwindow.towers.data.holdout`).
        seed: of the draw and the intervals.

    Returns:
        The table; None where no query has a relevant product among those never seen.
    """
    if not answerable(judgements, corpus.product_ids[unseen]).any():
        return None
    seen = np.flatnonzero(~unseen)
    drawn = np.zeros_like(unseen)
    drawn[np.random.default_rng(seed).permutation(seen)[: unseen.sum()]] = True
    rows: list[dict[str, Cell]] = []
    for name, among in (("never seen", unseen), ("seen", drawn)):
        judged = restrict(judgements, corpus.product_ids[among])
        if not judged.queries:
            continue
        titles = [corpus.titles[row] for row in np.flatnonzero(among)]
        ranked = rank_bm25(titles, corpus.product_ids[among], judged.queries, PLACES)
        systems = {
            "towers": score_among(queries, products, corpus.product_ids, judgements, among),
            "BM25": score(ranked, judged),
        }
        for system, scores in systems.items():
            row: dict[str, Cell] = {"products": name, "of": int(among.sum()), "queries": len(judged.queries)}
            row |= {"system": system, **{metric: estimate(values, seed=seed) for metric, values in scores.items()}}
            ahead = difference(scores[NDCG], systems["BM25"][NDCG], seed=seed)
            rows.append(row | {f"{NDCG} ahead of BM25": ahead if system == "towers" else None})
    return Table(
        title="Products that training never saw",
        note=f"Exact ranking of the {unseen.sum()} products that training never saw, alone, and of {drawn.sum()} drawn "
        "from the others: catalogues of one size compare. Each over the queries that at least one of its products "
        "answers. Means nothing for towers trained with another hold_out than was given here.",
        rows=rows,
    )
