"""What the embedding channel and the lexical channel find, alone and fused, and what only one of them finds."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.pipeline import InProcessPipeline
from shopwindow.towers.evaluation.retrieval_quality import NDCG, PLACES, RECALL, by_script, score
from shopwindow.towers.judging.judgements import Judgements
from shopwindow.towers.judging.metrics import difference, estimate, find_hits
from shopwindow.towers.judging.table import Cell, Table

EMBEDDING, LEXICAL, FUSED = "embedding", "lexical", "fused"
INCREMENT = "found by no other"


def found_alone(ours: np.ndarray, theirs: np.ndarray, judgements: Judgements) -> np.ndarray:
    """Return the share of each query's relevant products that one channel finds and the other does not.

    Args:
        ours: (queries, places) int64 product ids that the channel found, -1 where nothing was found.
        theirs: the same for the other channel.
        judgements: the judgements of these queries.

    Returns:
        (queries,) float64, 0 to 1.
    """
    hits = find_hits(ours, judgements.relevant) & ~find_hits(ours, [set(row) for row in theirs.tolist()])
    shares: np.ndarray = hits.sum(axis=1) / [len(answers) for answers in judgements.relevant]
    return shares


def channels_table(pipeline: InProcessPipeline, judgements: Judgements, seed: int) -> Table:
    """Answer the judged queries through each channel and through both, from the index as a server would.

    The rows are for all queries and, if they are in several, for each kind of script.

    Args:
        pipeline: towers and an index with a lexical channel.
        judgements: the judged queries.
        seed: seed of the bootstrap intervals.
    """
    parameters = {EMBEDDING: "embedding", LEXICAL: "lexical", FUSED: "embedding,lexical"}
    ranked = {
        name: pipeline.retrieve(judgements.queries, top_k=PLACES, channels=channels).product_ids
        for name, channels in parameters.items()
    }
    scores = {name: score(found, judgements) for name, found in ranked.items()}
    alone = {
        EMBEDDING: found_alone(ranked[EMBEDDING], ranked[LEXICAL], judgements),
        LEXICAL: found_alone(ranked[LEXICAL], ranked[EMBEDDING], judgements),
    }
    rows: list[dict[str, Cell]] = []
    for label, mask in by_script(judgements).items():
        for name in parameters:
            row: dict[str, Cell] = {"slice": label, "channel": name, "queries": int(mask.sum())}
            row |= {metric: estimate(scores[name][metric][mask], seed=seed) for metric in (NDCG, RECALL)}
            ahead = difference(scores[name][NDCG][mask], scores[EMBEDDING][NDCG][mask], seed=seed)
            row[f"{NDCG} ahead of {EMBEDDING}"] = None if name == EMBEDDING else ahead
            rows.append(row | {INCREMENT: estimate(alone[name][mask], seed=seed) if name in alone else None})
    return Table(
        title="Channels",
        note=f'"{INCREMENT}" is the share of a query\'s relevant products that this channel has among its first '
        f"{PLACES} and the other channel does not. They would be lost without this channel. Fusion is by reciprocal "
        "rank, with the same weight for both channels.",
        rows=rows,
    )
