"""Summaries and limits, from samples whose numbers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtests import LoadTestOptions
from loadtests.slo import Sample, broken_limits, read_samples, summarise

# 100 answers of 1 to 100 ms, one started every 100 ms: from 0 to 9.9 s, the last one ends at 10 s.
HUNDRED = [Sample(row / 10, row + 1.0, "") for row in range(100)]


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.txt"
    path.write_text("mug\n")
    return path


def test_percentiles_and_rates() -> None:
    summary = summarise(HUNDRED, queries_per_request=4)
    assert (summary.requests, summary.errors, summary.error_rate) == (100, 0, 0.0)
    assert (summary.p50_ms, summary.p95_ms, summary.p99_ms) == (50.0, 95.0, 99.0)
    assert summary.requests_per_s == pytest.approx(10.0)
    assert summary.queries_per_s == pytest.approx(40.0)


def test_failed_requests_count_as_errors_and_not_as_fast_answers() -> None:
    failed = [Sample(5.0, 0.1, "ServerOverloaded")] * 100
    summary = summarise(HUNDRED + failed, queries_per_request=1)
    assert (summary.requests, summary.errors, summary.error_rate) == (200, 100, 0.5)
    assert summary.p50_ms == 50.0
    assert summary.requests_per_s == pytest.approx(10.0)


def test_nothing_answered_has_no_percentiles(queries: Path) -> None:
    for samples in ([], [Sample(0.0, 5.0, "DeadlineExceeded")]):
        summary = summarise(samples, queries_per_request=1)
        assert summary.p99_ms is None
        assert "p99 - ms" in str(summary)
        broken = broken_limits(summary, LoadTestOptions(queries=queries, max_p99_ms=1e6, max_error_rate=1.0))
        assert broken == ["min_samples: at least 100 answered requests, measured 0"]


@pytest.mark.parametrize(
    ("limits", "broken"),
    [
        ({"max_p99_ms": 99.0}, []),
        ({"max_p99_ms": 98.9}, ["max_p99_ms: at most 98.9 ms, measured 99 ms"]),
        ({}, []),
        ({"min_samples": 101}, ["min_samples: at least 101 answered requests, measured 100"]),
    ],
)
def test_limits_without_errors(queries: Path, limits: dict[str, Any], broken: list[str]) -> None:
    summary = summarise(HUNDRED, queries_per_request=1)
    assert broken_limits(summary, LoadTestOptions(queries=queries, **limits)) == broken


def test_the_error_rate_is_a_limit(queries: Path) -> None:
    summary = summarise([*HUNDRED, *[Sample(5.0, 1.0, "ServerFault")] * 25], queries_per_request=1)
    assert broken_limits(summary, LoadTestOptions(queries=queries, max_error_rate=0.2)) == []
    broken = broken_limits(summary, LoadTestOptions(queries=queries, max_error_rate=0.1))
    assert broken == ["max_error_rate: at most 0.1, measured 0.2"]
    assert broken_limits(summary, LoadTestOptions(queries=queries))[0].startswith("max_error_rate: at most 0,")


def test_samples_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    path.write_text("start_s,latency_ms,error\n12.5,3.25,\n13.0,5000.0,DeadlineExceeded\n")
    assert read_samples(path) == [Sample(12.5, 3.25, ""), Sample(13.0, 5000.0, "DeadlineExceeded")]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"users": 0}, "users must be at least 1, got 0"),
        ({"spawn_rate": 0.0}, "spawn_rate must be finite and above 0, got 0.0"),
        ({"max_p99_ms": -1.0}, "max_p99_ms must be finite and above 0"),
        ({"max_error_rate": 2.0}, "max_error_rate must be between 0 and 1, got 2.0"),
        ({"zipf_exponent": -1.0}, "zipf_exponent must be finite and at least 0"),
        ({"queries": Path("no/such/file.txt")}, "there is none at no/such/file.txt"),
    ],
)
def test_options_name_what_is_wrong(queries: Path, values: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        LoadTestOptions(**{"queries": queries, **values})


def test_options_travel_as_json(queries: Path) -> None:
    options = LoadTestOptions(queries=queries, users=3, max_p99_ms=20.0, out=Path("build/here"))
    assert LoadTestOptions.from_json(options.to_json()) == options
