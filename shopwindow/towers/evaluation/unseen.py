"""How well queries find products that training never saw, compared with as many products that it did see."""

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
    """Mark the queries that at least one of these products answers, (queries,) bool."""
    products = set(product_ids.tolist())
    return np.array([not products.isdisjoint(answers) for answers in judgements.relevant], dtype=bool)


def restrict(judgements: Judgements, product_ids: np.ndarray) -> Judgements:
    """Return the answerable queries, with only these products as their answers."""
    products = set(product_ids.tolist())
    kept = np.flatnonzero(answerable(judgements, product_ids)).tolist()
    return Judgements(
        queries=[judgements.queries[row] for row in kept],
        grades=[
            {product: grade for product, grade in judgements.grades[row].items() if product in products} for row in kept
        ],
    )


def score_among(
    queries: np.ndarray, products: np.ndarray, product_ids: np.ndarray, judgements: Judgements, among: np.ndarray
) -> Scores:
    """Rank some of the products exactly, for the queries that they answer.

    Args:
        queries: (queries, dim) float32, embeddings of all queries.
        products: (products, dim) float32, embeddings of all products.
        product_ids: (products,) int64.
        judgements: the judgements of all queries.
        among: (products,) bool, True for the products to rank.
    """
    ids = product_ids[among]
    ranked = rank(queries[answerable(judgements, ids)], products[among], ids, PLACES)
    return score(ranked, restrict(judgements, ids))


def unseen_table(
    queries: np.ndarray, products: np.ndarray, corpus: Corpus, judgements: Judgements, unseen: np.ndarray, seed: int
) -> Table | None:
    """Compare towers and BM25 over the products that training never saw, and over as many drawn from the others.

    Args:
        queries: (queries, dim) float32, embeddings.
        products: (products, dim) float32, embeddings of the corpus.
        corpus: the products.
        judgements: the judged queries.
        unseen: (products,) bool, True where training never saw the product (see `shopwindow.towers.data.holdout`).
        seed: seed of the draw and of the bootstrap intervals.

    Returns:
        The table; None if no query has a relevant product that training never saw.
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
        note=f"Exact ranking of only the {unseen.sum()} products that training never saw, and of {drawn.sum()} drawn "
        "from the others. Rankings of catalogues of the same size can be compared. Each ranking is judged on the "
        "queries that at least one of its products answers. The figures are valid only if the towers were trained with "
        "the hold_out passed to --unseen.",
        rows=rows,
    )
