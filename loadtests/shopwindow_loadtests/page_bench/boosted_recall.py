"""How many of the best boosted products an approximate index finds, compared with scoring every product."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shopwindow.retrieval import ProductIndex
from shopwindow.retrieval.request.parameters import parse_parameters
from shopwindow.retrieval.search.by_channels import ChannelRequest, search_channels

DEPTH = 100
# What a product in stock gets, and what a margin of 1 gets. Similarities of a page differ by a tenth.
STRENGTHS = {"none": (0.0, 0.0), "small": (0.01, 0.02), "middle": (0.03, 0.05), "strong": (0.3, 0.5)}


@dataclass(frozen=True, kw_only=True)
class BoostedRecall:
    """What one strength gives.

    Attributes:
        name: Key of STRENGTHS.
        recall: Share of the DEPTH best products that were found.
        moved: Share of these that are not among the DEPTH best without a boost.
        p50_ms: Median time of a search in process.
        worst_ms: The longest time.
    """

    name: str
    recall: float
    moved: float
    p50_ms: float
    worst_ms: float


def boosted_recall(index: ProductIndex, catalogue: Path, embeddings: np.ndarray) -> list[BoostedRecall]:
    """Measure recall@100 for each strength.

    Args:
        index: An index of the catalogue in memory.
        catalogue: Parquet with product_id, in_stock and margin.
        embeddings: (queries, dim) float32.
    """
    columns = pq.read_table(catalogue, columns=["product_id", "in_stock", "margin"]).sort_by("product_id")
    in_stock = columns["in_stock"].to_numpy().astype(np.float32)
    margin = pc.fill_null(columns["margin"], 0.0).to_numpy().astype(np.float32)
    order = np.argsort(index.product_ids)
    similarities = embeddings @ np.asarray(index.vectors[order]).T
    plain = [_best(row) for row in similarities]
    found = []
    for name, (stock, margins) in STRENGTHS.items():
        right = [_best(row + stock * in_stock + margins * margin) for row in similarities]
        answers, seconds = _searched(index, embeddings, _terms(stock, margins))
        found.append(
            BoostedRecall(
                name=name,
                recall=_overlap(right, answers),
                moved=1 - _overlap(right, plain),
                p50_ms=1e3 * median(seconds),
                worst_ms=1e3 * max(seconds),
            )
        )
    return found


def _terms(stock: float, margins: float) -> list[dict[str, Any]]:
    if not stock:
        return []
    return [{"if": {"in_stock": True}, "add": stock}, {"column": "margin", "add": margins}]


def _best(scores: np.ndarray) -> set[int]:
    return set(np.argpartition(-scores, DEPTH)[:DEPTH].tolist())


def _overlap(right: Sequence[set[int]], found: Sequence[set[int]]) -> float:
    return sum(len(a & b) for a, b in zip(right, found, strict=True)) / (DEPTH * len(right))


def _searched(
    index: ProductIndex, embeddings: np.ndarray, terms: list[dict[str, Any]]
) -> tuple[list[set[int]], list[float]]:
    parameters = parse_parameters({"top_k": DEPTH} | ({"boost": terms} if terms else {}))
    index.check(embeddings, parameters)
    answers, seconds = [], []
    for embedding in embeddings:
        began = time.perf_counter()
        (result,) = search_channels(index, [ChannelRequest(embedding[None], (), parameters)])
        seconds.append(time.perf_counter() - began)
        answers.append(set(result.product_ids[0].tolist()))
    return answers, seconds
