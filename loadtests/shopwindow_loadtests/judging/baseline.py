"""Compares a load test with an earlier one and tells real differences from noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from shopwindow_loadtests.judging.samples import Samples
from shopwindow_loadtests.judging.summary import select, summarise

_DRAWS = 200
_SEED = 0
_BLOCK_S = 1.0  # neighbouring requests depend on each other, so whole seconds are drawn anew, not single requests
_LEAST_BLOCKS = 5

_SHARES = ("recall", "error_share")  # compared by their difference; the machine adds no noise to them

METRICS: dict[str, Callable[[Samples, float], float]] = {
    "p50_ms": lambda samples, span_s: _quantile(samples, 0.5),
    "p99_ms": lambda samples, span_s: _quantile(samples, 0.99),
    "p99.9_ms": lambda samples, span_s: _quantile(samples, 0.999),
    "requests_per_s": lambda samples, span_s: float(samples.answered.sum()) / span_s,
    "recall": lambda samples, span_s: _mean(samples.recall),
    "error_share": lambda samples, span_s: _mean(~samples.answered),
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One figure now and in the baseline.

    Attributes:
        name: The requests.
        metric: One of METRICS.
        before: Its value in the baseline.
        now: Its value in this test.
        low: Lower end of the 95 % interval of `change`, found by drawing the seconds of both tests anew; `high` is the
            upper.
        outside_noise: Whether the interval excludes "no change" and a ratio is further from 1 than the stated noise.
            None if one of the tests is too short to tell.
    """

    name: str
    metric: str
    before: float
    now: float
    low: float
    high: float
    outside_noise: bool | None

    @property
    def change(self) -> float:
        """The value now divided by the one before.

        For recall and the error share, which may be 0: the value now minus the one before.
        """
        return float(_change(self.metric, self.now, self.before))

    @property
    def said(self) -> tuple[str, str, str]:
        """The change, its interval and whether it is noise, in words."""
        change, low, high = (
            f"{value:+.4f}" if self.metric in _SHARES else f"x {value:.3f}"
            for value in (self.change, self.low, self.high)
        )
        noise = {True: "outside noise", False: "within noise", None: "too short to tell"}[self.outside_noise]
        return change, f"{low} to {high}", noise

    def __str__(self) -> str:
        change, interval, noise = self.said
        return f"{self.name} {self.metric}: {self.now:.4g} against {self.before:.4g}, {change} ({interval}), {noise}"


def compare(now: Samples, before: Samples, *, noise: float) -> list[Difference]:
    """Compare two tests, request name by request name.

    Args:
        now: This test.
        before: The baseline.
        noise: Smallest relative change of timings and throughput that counts. Two tests of the same server differ by
            about this much. Recall and errors have no such allowance.

    Returns:
        The metrics that both tests have. A metric that is compared by its ratio needs to be above 0 in both.
    """
    names = [name for name in summarise(now) if name in summarise(before)]
    random = np.random.default_rng(_SEED)
    differences = []
    for name in names:
        drawn_now, short_now = _draws(select(now, name), now, random)
        drawn_before, short_before = _draws(select(before, name), before, random)
        for metric, measure in METRICS.items():
            value = measure(select(now, name), now.span_s)
            reference = measure(select(before, name), before.span_s)
            if np.isnan(value - reference) or (metric not in _SHARES and not min(value, reference) > 0):
                continue
            changes = _change(metric, np.array(drawn_now[metric]), np.array(drawn_before[metric]))
            # This rounds away what adding in another order changes.
            low, high = np.nanquantile(changes, [0.025, 0.975]).round(9)
            if metric in _SHARES:
                sure = not low <= 0 <= high
            else:
                sure = not low <= 1 <= high and abs(value / reference - 1) > noise
            differences.append(
                Difference(
                    name=name,
                    metric=metric,
                    before=reference,
                    now=value,
                    low=float(low),
                    high=float(high),
                    outside_noise=None if short_now or short_before else bool(sure),
                )
            )
    return differences


def _change(metric: str, now: Any, before: Any) -> Any:
    return now - before if metric in _SHARES else now / before


def _draws(samples: Samples, whole: Samples, random: np.random.Generator) -> tuple[dict[str, list[float]], bool]:
    """Draw the seconds of a test anew, many times, and measure each draw. Return also if it has too few seconds."""
    block = np.floor((samples.start_s - whole.start_s.min()) / _BLOCK_S).astype(int)
    count = max(1, round(float(whole.at_s.max()) / _BLOCK_S))
    block = np.minimum(block, count - 1)  # a cut-off last second joins the one before
    rows = [np.flatnonzero(block == number) for number in range(count)]
    drawn: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for _ in range(_DRAWS):
        picked = samples.where(np.concatenate([rows[number] for number in random.integers(0, count, count)]))
        for metric, measure in METRICS.items():
            drawn[metric].append(measure(picked, whole.span_s))
    return drawn, count < _LEAST_BLOCKS


def _quantile(samples: Samples, share: float) -> float:
    latencies = samples.latency_ms[samples.answered]
    return float(np.quantile(latencies, share, method="inverted_cdf")) if len(latencies) else float("nan")


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
