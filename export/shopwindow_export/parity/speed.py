"""Measure how much faster other graphs are than float32 ones on this CPU, in one thread as in the CPU profile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from shopwindow.retrieval.embedding.onnx_towers import OnnxProductTower, OnnxQueryTower
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow_export.parity.sample import ParitySample, take

# Eight bits lose a little of the ranking. On a CPU they are worth it from this many times the throughput.
WORTHWHILE = 1.7
ROWS = 8  # of a batch
ROUNDS = 15
_ROUND_S = 0.05


@dataclass(frozen=True)
class Speed:
    """Throughput relative to the float32 graphs, at batches of 8: the median of alternating rounds."""

    query_tower: float
    product_tower: float

    @property
    def worthwhile(self) -> bool:
        """Whether both towers gain enough."""
        return min(self.query_tower, self.product_tower) >= WORTHWHILE


def measure_speed(fp32: Path, other: Path, sample: ParitySample, query_max_tokens: int) -> Speed:
    """Compare two repositories' graphs.

    Args:
        fp32: repository with the float32 graphs.
        other: repository with the graphs to judge, of the same towers.
        sample: what to embed.
        query_max_tokens: longest query that the towers read, in tokens.
    """
    layouts = [RepositoryLayout(folder) for folder in (fp32, other)]
    tokens = TextEncoder.read(layouts[1].query_tokenizer, query_max_tokens).encode(sample.queries[:ROWS])
    products = take(sample.products, np.arange(min(ROWS, len(sample.products.pixels))))
    queries = [OnnxQueryTower(layout.query_tower) for layout in layouts]
    towers = [OnnxProductTower(layout.product_tower) for layout in layouts]
    return Speed(
        query_tower=_ratio(*(lambda tower=tower: tower(*tokens) for tower in queries)),
        product_tower=_ratio(*(lambda tower=tower: tower(products) for tower in towers)),
    )


def _ratio(slow: Callable[[], Any], fast: Callable[[], Any]) -> float:
    """Return how many times as many calls the second function answers in the same time."""
    for call in (slow, fast):
        call()
    times = max(1, int(_ROUND_S / max(_seconds(slow, 3) / 3, 1e-6)))
    return median(_seconds(slow, times) / _seconds(fast, times) for _ in range(ROUNDS))


def _seconds(call: Callable[[], Any], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - started
