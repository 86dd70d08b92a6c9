"""Raw samples of a load test, their summary, and whether it keeps the stated limits."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from loadtests.options import LoadTestOptions


class Sample(NamedTuple):
    """One request: when it started (seconds since the epoch), how long it took, and its error or ''."""

    start_s: float
    latency_ms: float
    error: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A load test in numbers. Percentiles are of answered requests; None without any."""

    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    requests_per_s: float
    queries_per_s: float

    @property
    def error_rate(self) -> float:
        """The share of failed requests; 0 when there are none at all."""
        return self.errors / self.requests if self.requests else 0.0

    def __str__(self) -> str:
        p50, p95, p99 = ("-" if value is None else f"{value:.1f}" for value in (self.p50_ms, self.p95_ms, self.p99_ms))
        return (
            f"{self.requests} requests, {self.errors} errors ({self.error_rate:.2%})\n"
            f"p50 {p50} ms, p95 {p95} ms, p99 {p99} ms\n"
            f"{self.requests_per_s:.1f} requests/s, {self.queries_per_s:.1f} queries/s answered"
        )


def read_samples(path: Path) -> list[Sample]:
    """Read the CSV file of raw samples."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Sample(float(row["start_s"]), float(row["latency_ms"]), row["error"]) for row in csv.DictReader(file)]


def summarise(samples: list[Sample], *, queries_per_request: int) -> Summary:
    """Summarise raw samples; rates are over the time from the first start to the last end."""
    answered = np.array([sample.latency_ms for sample in samples if not sample.error])
    # A percentile is a latency that was measured (nearest rank), never one between two.
    percentiles: list[float | None] = [None] * 3
    if answered.size:
        percentiles = [float(value) for value in np.percentile(answered, [50, 95, 99], method="inverted_cdf")]
    span_s = 0.0
    if samples:
        last_end = max(sample.start_s + sample.latency_ms / 1000 for sample in samples)
        span_s = last_end - min(sample.start_s for sample in samples)
    rate = answered.size / span_s if span_s else 0.0
    return Summary(
        requests=len(samples),
        errors=len(samples) - answered.size,
        p50_ms=percentiles[0],
        p95_ms=percentiles[1],
        p99_ms=percentiles[2],
        requests_per_s=rate,
        queries_per_s=rate * queries_per_request,
    )


def broken_limits(summary: Summary, options: LoadTestOptions) -> list[str]:
    """Return a line for each limit that is broken: which one, its value, and what was measured."""
    broken = []
    answered = summary.requests - summary.errors
    if answered < options.min_samples:
        broken.append(f"min_samples: at least {options.min_samples} answered requests, measured {answered}")
    if summary.error_rate > options.max_error_rate:
        broken.append(f"max_error_rate: at most {options.max_error_rate:g}, measured {summary.error_rate:.4g}")
    if options.max_p99_ms is not None and summary.p99_ms is not None and summary.p99_ms > options.max_p99_ms:
        broken.append(f"max_p99_ms: at most {options.max_p99_ms:g} ms, measured {summary.p99_ms:.4g} ms")
    return broken
