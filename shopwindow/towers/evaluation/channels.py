"""What the embedding channel and the lexical one find, each alone and merged, and what only one of them finds."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.towers.evaluation.retrieval_quality import NDCG, PLACES, RECALL, score
from shopwindow.towers.judging.judgements import Judgements
from shopwindow.towers.judging.metrics import difference, estimate, find_hits
from shopwindow.towers.judging.table import Cell, Table

EMBEDDING, LEXICAL, FUSED = "embedding", "lexical", "fused"
INCREMENT = "found by no other"


def found_alone(ours: np.ndarray, theirs: np.ndarray, judgements: Judgements) -> np.ndarray:
    """Share of each query's relevant products that one channel finds and the other does not.

    Args:
        ours: (queries, places) int64 product ids, -1 where nothing was found.
        theirs: the same, of the other channel.
        judgements: of the same queries.

    Returns:
        (queries,) float64, 0 to 1.
    """
    hits = find_hits(ours, judgements.relevant) & ~find_hits(ours, [set(row) for row in theirs.tolist()])
    shares: np.ndarray = hits.sum(axis=1) / [len(wanted) for wanted in judgements.relevant]
    return shares


def channels_table(pipeline: InProcessPipeline, judgements: Judgements, seed: int) -> Table:
    """Answer the judged queries through each channel and through both, from the index as a server would.

    Args:
        pipeline: towers and an index with a lexical channel.
        judgements: the queries.
        seed: of the intervals.
    """
    channels = {EMBEDDING: "embedding", LEXICAL: "lexical", FUSED: "embedding,lexical"}
    ranked = {
        name: pipeline.retrieve(judgements.queries, top_k=PLACES, channels=wanted).product_ids
        for name, wanted in channels.items()
    }
    scores = {name: score(found, judgements) for name, found in ranked.items()}
    rows: list[dict[str, Cell]] = []
    for name, other in ((EMBEDDING, LEXICAL), (LEXICAL, EMBEDDING), (FUSED, None)):
        row: dict[str, Cell] = {"channel": name, "queries": len(judgements.queries)}
        row |= {metric: estimate(scores[name][metric], seed=seed) for metric in (NDCG, RECALL)}
        ahead = difference(scores[name][NDCG], scores[EMBEDDING][NDCG], seed=seed)
        row[f"{NDCG} ahead of {EMBEDDING}"] = None if name == EMBEDDING else ahead
        alone = found_alone(ranked[name], ranked[other], judgements) if other else None
        rows.append(row | {INCREMENT: None if alone is None else estimate(alone, seed=seed)})
    return Table(
        title="Channels",
        note=f'"{INCREMENT}" is the share of a query\'s relevant products that are among the first {PLACES} of this '
        "channel and not among those of the other: what is lost without it. Fused by reciprocal rank, both of one "
        "weight.",
        rows=rows,
    )
