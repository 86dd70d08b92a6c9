"""The work that every peer does: the pipeline in process, and its answers as JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from shopwindow.retrieval import InProcessPipeline, SearchResult
from shopwindow.retrieval.pipeline import QUERY_ROWS
from shopwindow_loadtests.generator.closed_loop import TOP_K
from shopwindow_loadtests.peers.settings import INDEX_VARIABLE, REPOSITORY_VARIABLE, ROWS_VARIABLE


def load_pipeline() -> InProcessPipeline:
    """Return the pipeline over the repository and index that the environment names, warmed up."""
    pipeline = InProcessPipeline(
        Path(os.environ[REPOSITORY_VARIABLE]),
        Path(os.environ[INDEX_VARIABLE]),
        query_rows=int(os.environ.get(ROWS_VARIABLE) or QUERY_ROWS),
    )
    pipeline.retrieve(["warm up"], top_k=TOP_K)
    return pipeline


def as_json(result: SearchResult, rows: slice = slice(None)) -> bytes:
    """Return ids and scores of some rows as JSON."""
    answer = {"product_ids": result.product_ids[rows], "scores": result.scores[rows]}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def queries_of(body: bytes) -> Sequence[str]:
    """Return the queries of a request."""
    queries: Sequence[str] = orjson.loads(body)["queries"]
    return queries
