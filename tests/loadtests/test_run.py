"""A short real load test against a real server: reports, raw samples, exit codes."""

from __future__ import annotations

import csv
import socket
from pathlib import Path
from typing import Any

import pytest

from loadtests import EXIT_LIMIT_BROKEN, EXIT_NOT_READY, LoadTestOptions, run
from loadtests.slo import read_samples


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.txt"
    path.write_text("red dress\nblue shirt\nwhite mug\nrunning shoes\n")
    return path


def short(queries: Path, url: str, **values: Any) -> LoadTestOptions:
    return LoadTestOptions(
        queries=queries, url=url, out=queries.parent / "out", users=2, duration_s=2, top_k=10, timeout_s=30.0, **values
    )


def test_a_run_within_its_limits(served: Any, queries: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = short(queries, served.grpc_url, queries_per_request=2, max_p99_ms=60_000.0, min_samples=2)
    assert run(options) == 0
    samples = read_samples(options.out / "samples.csv")
    assert len(samples) >= 2
    assert all(not sample.error and sample.latency_ms > 0 for sample in samples)
    with (options.out / "locust_stats.csv").open() as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    # Locust writes its table once a second and not at the end, so the last requests may be missing in it.
    assert 0 < int(rows["retrieve batch=2"]["Request Count"]) <= len(samples)
    assert "<html" in (options.out / "report.html").read_text()
    printed = capfd.readouterr().out
    assert f"{len(samples)} requests, 0 errors" in printed
    assert "LIMIT BROKEN" not in printed


def test_a_broken_limit_is_named_and_decides_the_exit_code(
    served: Any, queries: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(short(queries, served.grpc_url, max_p99_ms=0.001, min_samples=2)) == EXIT_LIMIT_BROKEN
    assert "LIMIT BROKEN max_p99_ms: at most 0.001 ms, measured" in capfd.readouterr().out


def test_failed_requests_break_the_error_limit(served: Any, queries: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = short(queries, served.grpc_url, min_samples=1, max_error_rate=0.5)
    refused = LoadTestOptions.from_json(options.to_json().replace('"top_k": 10', '"top_k": 1000000000'))
    assert run(refused) == EXIT_LIMIT_BROKEN
    assert "LIMIT BROKEN max_error_rate: at most 0.5, measured 1" in capfd.readouterr().out
    assert {sample.error for sample in read_samples(options.out / "samples.csv")} == {"InvalidRequest"}


def test_no_server_no_load(queries: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        url = f"localhost:{listener.getsockname()[1]}"
    options = short(queries, url)
    assert run(options) == EXIT_NOT_READY
    assert f"no load was sent: cannot reach {url}" in capfd.readouterr().err
    assert not options.out.exists()
