"""Comparisons with a baseline tell real changes from noise."""

from __future__ import annotations

import numpy as np

from shopwindow_loadtests.judging.baseline import compare
from shopwindow_loadtests.judging.samples import Sample, Samples


def drawn(
    seed: int, *, slower: float = 1.0, seconds: int = 30, tail: float = 1.0, recall: float = 0.9, errors: float = 0.0
) -> Samples:
    """Return a test of 40 requests per second, with latencies from a long-tailed distribution."""
    random = np.random.default_rng(seed)
    latencies = 10 * slower * random.lognormal(0, 0.3, 40 * seconds)
    latencies[random.random(len(latencies)) < 0.03] *= 5 * tail
    return Samples.of(
        [
            Sample(100 + row / 40, 0.0, float(latency), "text batch=1", 1, "ServerFault" if fails else "", recall)
            for row, (latency, fails) in enumerate(zip(latencies, random.random(len(latencies)) < errors, strict=True))
        ]
    )


def verdicts(now: Samples, before: Samples, noise: float = 0.1) -> dict[str, bool | None]:
    return {one.metric: one.outside_noise for one in compare(now, before, noise=noise) if one.name == "all"}


def test_the_same_again_is_noise() -> None:
    metrics = ("p50_ms", "p99_ms", "p99.9_ms", "requests_per_s", "recall", "error_share")
    assert verdicts(drawn(1), drawn(2)) == dict.fromkeys(metrics, False)


def test_a_slower_server_is_found_with_its_ratio() -> None:
    found = {(one.name, one.metric): one for one in compare(drawn(1, slower=1.5), drawn(2), noise=0.1)}
    median = found["text batch=1", "p50_ms"]
    assert median.outside_noise
    assert median.low < 1.5 < median.high
    assert not found["all", "requests_per_s"].outside_noise


def test_a_longer_tail_is_found_although_the_median_is_the_same() -> None:
    told = verdicts(drawn(1, tail=2.0), drawn(2))
    assert (told["p50_ms"], told["p99_ms"]) == (False, True)


def test_a_change_below_the_stated_noise_does_not_count() -> None:
    now, before = drawn(1, slower=1.2), drawn(2)
    assert verdicts(now, before, noise=0.05)["p50_ms"]
    assert verdicts(now, before, noise=0.3)["p50_ms"] is False


def test_the_allowance_for_noise_does_not_cover_recall() -> None:
    """The load of the machine changes timings but never the products found."""
    assert verdicts(drawn(1, recall=0.88), drawn(2, recall=0.99), noise=0.12)["recall"]
    found = {one.metric: one for one in compare(drawn(1, recall=0.0), drawn(2), noise=0.12) if one.name == "all"}
    assert found["recall"].outside_noise
    assert str(found["recall"]).startswith("all recall: 0 against 0.9, -0.9000 (-0.9000 to -0.9000), outside noise")


def test_errors_are_compared() -> None:
    found = {one.metric: one for one in compare(drawn(1, errors=0.05), drawn(2), noise=0.1) if one.name == "all"}
    errors = found["error_share"]
    assert errors.outside_noise
    assert errors.low < 0.05 < errors.high
    assert verdicts(drawn(1, errors=0.05), drawn(2, errors=0.05))["error_share"] is False


def test_a_few_seconds_are_too_short_to_tell() -> None:
    assert set(verdicts(drawn(1, seconds=3), drawn(2)).values()) == {None}
