"""Ranking quality over the whole catalogue, on judged queries."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from retrieval.pipeline import InProcessPipeline

NDCG_AT = 10
RECALL_AT = 100


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """Queries and what answers them; binary relevance."""

    queries: list[str]
    relevant: list[set[int]]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Means over the queries that have at least one relevant product."""

    queries: int
    ndcg_at_10: float
    recall_at_100: float


def read_judgements(queries: Path, qrels: Path) -> Judgements:
    """Read queries.parquet (query_id, text) and qrels.parquet (query_id, product_id, relevance)."""
    judged = pq.read_table(qrels)
    relevant: defaultdict[int, set[int]] = defaultdict(set)
    columns = (judged[name].to_pylist() for name in ("query_id", "product_id", "relevance"))
    for query, product, relevance in zip(*columns, strict=True):
        if relevance > 0:
            relevant[query].add(product)
    table = pq.read_table(queries, columns=["query_id", "text"])
    pairs = [
        (q, t) for q, t in zip(table["query_id"].to_pylist(), table["text"].to_pylist(), strict=True) if relevant[q]
    ]
    return Judgements(queries=[text for _, text in pairs], relevant=[relevant[query] for query, _ in pairs])


def evaluate(pipeline: InProcessPipeline, judgements: Judgements) -> Quality:
    """Retrieve the top 100 for every query and score the rankings."""
    found = pipeline.retrieve(judgements.queries, top_k=RECALL_AT).product_ids
    pairs = list(zip(found.tolist(), judgements.relevant, strict=True))
    return Quality(
        queries=len(pairs),
        ndcg_at_10=float(np.mean([ndcg(ids, relevant) for ids, relevant in pairs])),
        recall_at_100=float(np.mean([len(relevant.intersection(ids)) / len(relevant) for ids, relevant in pairs])),
    )


def ndcg(ranked: list[int], relevant: set[int], k: int = NDCG_AT) -> float:
    """Normalised discounted cumulative gain of a ranking with binary relevance, at k."""
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    hits = np.array([product in relevant for product in ranked[:k]])
    return float((hits * discounts[: len(hits)]).sum() / discounts[: min(k, len(relevant))].sum())
