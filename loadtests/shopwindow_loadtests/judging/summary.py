"""The figures of a load test, computed from its raw samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shopwindow_loadtests.judging.samples import Samples

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of some requests. Percentiles and recall are of answered requests, and None without any.

    Attributes:
        requests: How many were due.
        errors: How many of them were not answered, including those that could not be sent.
        p50_ms: Median latency; the other percentiles likewise.
        recall: Mean recall@k of the requests with known answers.
        recall_samples: Number of these requests.
        requests_per_s: Answered requests, divided by the time from the first start to the last end of the whole test.
        queries_per_s: The same for the queries in them.
    """

    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    recall: float | None
    recall_samples: int
    requests_per_s: float
    queries_per_s: float

    @property
    def answered(self) -> int:
        """Number of answered requests."""
        return self.requests - self.errors

    @property
    def error_share(self) -> float:
        """The share of failed requests; 0 if there are no requests."""
        return self.errors / self.requests if self.requests else 0.0


def percentiles(values: np.ndarray, shares: Sequence[float]) -> list[float | None]:
    """Return percentiles by nearest rank: each is a measured value, never one in between. None without any values."""
    if not len(values):
        return [None] * len(shares)
    return [float(value) for value in np.quantile(values, shares, method="inverted_cdf")]


def figures(samples: Samples, *, span_s: float) -> Figures:
    """Compute the figures of some requests.

    Args:
        samples: The requests.
        span_s: Length of their test in seconds.
    """
    answered = samples.where(samples.answered)
    p50, p95, p99, p999, largest = percentiles(answered.latency_ms, [0.5, 0.95, 0.99, 0.999, 1.0])
    recalls = answered.recall[~np.isnan(answered.recall)]
    return Figures(
        requests=len(samples),
        errors=len(samples) - len(answered),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        p999_ms=p999,
        max_ms=largest,
        recall=float(recalls.mean()) if len(recalls) else None,
        recall_samples=len(recalls),
        requests_per_s=len(answered) / span_s if span_s else 0.0,
        queries_per_s=float(answered.queries.sum()) / span_s if span_s else 0.0,
    )


def select(samples: Samples, name: str) -> Samples:
    """Return the samples of `all`, of a request name ("text batch=8"), or of a kind in all batch sizes ("text")."""
    if name == ALL:
        return samples
    return samples.where(np.array([full == name or group_of(full) == name for full in samples.name], dtype=bool))


def group_of(name: str) -> str:
    """Return a request name without its batch size."""
    return name.rpartition(" batch=")[0]


def summarise(samples: Samples) -> dict[str, Figures]:
    """Return the figures of `all` and of each request name."""
    span_s = samples.span_s
    names = [ALL, *sorted(set(samples.name.tolist()))]
    return {name: figures(select(samples, name), span_s=span_s) for name in names}


HEADER = ("requests", "errors", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "max ms", "recall", "requests/s", "queries/s")


def cells(figures: Figures) -> list[str]:
    """Return one row of a table under `HEADER`."""
    times = (figures.p50_ms, figures.p95_ms, figures.p99_ms, figures.p999_ms, figures.max_ms)
    return [
        str(figures.requests),
        str(figures.errors),
        *("-" if value is None else f"{value:.1f}" for value in times),
        "-" if figures.recall is None else f"{figures.recall:.4f}",
        f"{figures.requests_per_s:.1f}",
        f"{figures.queries_per_s:.1f}",
    ]


def as_text(summary: dict[str, Figures]) -> str:
    """Return a table to print."""
    return text_table(["", *HEADER], [[name, *cells(figures)] for name, figures in summary.items()])


def text_table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table with aligned columns: the first to the left, the others to the right."""
    lines = [list(map(str, row)) for row in (heads, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )
