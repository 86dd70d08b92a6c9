"""The load tests tell the truth: on a real server with planted faults, they find each fault and end with its code."""

from __future__ import annotations

import importlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.base.default_places import python_path
from shopwindow.cli.main import main
from shopwindow.server import TritonServer
from shopwindow_loadtests import ExitCode, HarnessFailure, LoadTestOptions, Outcome, find_rate, run
from shopwindow_loadtests.judging.samples import NOT_SENT, Samples
from shopwindow_loadtests.judging.summary import figures
from shopwindow_loadtests.sending.launching import launch

STALL_MS = 200.0

Make = Callable[..., LoadTestOptions]


def test_the_open_loop_shows_a_stall_that_the_closed_loop_hides(planted: Any, short: Make) -> None:
    """Every 300th request stops the server for 200 ms: 1 in 300 waits in a closed loop, 20 in an open loop."""
    p99 = {}
    for name, load in {
        "open": {"rate": (100.0,), "duration_s": 4.0},
        "closed": {"users": (1.0,), "duration_s": 5.0},
    }.items():
        options = short(**load, arrivals="constant")
        with planted.plant("stall", 300):
            assert run(options) == ExitCode.OK
        samples = Samples.read(options.samples_file)
        assert samples.latency_ms.max() >= STALL_MS  # both loops met the stall
        p99[name] = figures(samples, span_s=samples.span_s).p99_ms
    assert p99["closed"] < 0.7 * STALL_MS < p99["open"]


def test_a_loss_of_recall_is_found_with_its_time(
    planted: Any, short: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    slo = tmp_path / "slo.yaml"
    slo.write_text("text: {recall: 0.95, samples: 30}\n")
    options = short(rate=(100.0,), arrivals="constant", recall_share=0.5, slo=slo)
    assert run(options) == ExitCode.OK
    with planted.plant("loss", 70):
        assert run(replace(options, duration_s=1.4)) == ExitCode.SLO_MISSED
    assert "SLO MISSED text recall: at least 0.95, measured 0." in capfd.readouterr().out
    samples = Samples.read(options.samples_file)
    known = samples.where(~np.isnan(samples.recall))
    assert 0 < len(known) < len(samples)
    before, after = known.recall[known.at_s < 0.3], known.recall[known.at_s > 1.1]
    assert len(before) and (before == 1.0).all()
    assert len(after) and (after == 0.5).all()
    assert "Recall under load" in (options.out / "report.html").read_text()


def test_a_request_without_room_in_flight_is_a_failure(
    planted: Any, short: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    """With one request in flight and a server that stalls at each, most requests that are due cannot be sent."""
    with planted.plant("stall", 1):
        assert run(short(rate=(50.0,), max_in_flight=1, duration_s=1.4)) == ExitCode.SLO_MISSED
    samples = Samples.read(short(rate=(50.0,)).samples_file)
    assert 40 < len(samples) < 100  # all requests that were due
    assert set(samples.error) == {"", NOT_SENT}
    assert (samples.error == NOT_SENT).mean() > 0.5
    assert "SLO MISSED all error_share: at most 0, measured 0." in capfd.readouterr().out


def test_refused_requests_are_never_sent_again(planted: Any, short: Make) -> None:
    with planted.plant("refuse", 2):
        assert run(short(users=(1.0,), duration_s=1.4)) == ExitCode.SLO_MISSED
    samples = Samples.read(short(users=(1.0,)).samples_file)
    assert abs(float(samples.answered.mean()) - 0.5) < 1 / len(samples) + 1e-9
    assert set(samples.error[~samples.answered]) == {"ServerFault"}


def test_too_few_samples_give_no_verdict(planted: Any, short: Make, capfd: pytest.CaptureFixture[str]) -> None:
    options = short(rate=(20.0,), max_p99_ms=60_000.0, min_samples=None)
    assert run(options) == ExitCode.TOO_FEW_SAMPLES
    assert "TOO FEW SAMPLES all samples: at least 1000 answered requests, measured" in capfd.readouterr().out


def test_two_processes_share_the_load_and_no_sample_is_lost(
    planted: Any, short: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    options = short(rate=(100.0,), arrivals="constant", workers=2, max_p95_ms=60_000.0)
    assert run(options) == ExitCode.OK
    said = capfd.readouterr().out
    assert "SLO KEPT all error_share: at most 0, measured 0\n" in said
    assert re.search(r"^SLO KEPT all p95_ms: at most 60000 ms, measured [\d.]+ ms$", said, re.MULTILINE)
    samples = Samples.read(options.samples_file)
    assert np.bincount(samples.worker).tolist() == [20, 20]


def test_a_ramp_ends_where_the_limits_break(planted: Any, short: Make, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that takes 200 ms for each request cannot answer more than 5 per second."""
    options = short(rate=(2.0, 122.0), shape="ramp", duration_s=60.0, max_in_flight=8, arrivals="constant")
    with planted.plant("stall", 1):
        assert run(options) == ExitCode.OK
    broke = re.search(r"the limits first broke at \d+ to (\d+) requests/s", capfd.readouterr().out)
    assert broke is not None and int(broke[1]) > 5
    assert Samples.read(options.samples_file).at_s.max() < 50  # ended early


def test_the_report_names_the_generation_of_a_real_server(served: TritonServer, short: Make) -> None:
    options = short(users=(1.0,), url=served.grpc_url)
    assert run(options) == ExitCode.OK
    report = (options.out / "report.html").read_text()
    assert "<th>Index generation</th><td>1</td>" in report
    assert f"<th>Server</th><td>{served.grpc_url}</td>" in report


def test_a_report_that_fails_is_a_harness_failure(
    short: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> str:
        raise ValueError("no such font")

    monkeypatch.setattr("shopwindow_loadtests.judging.report.page", broken)
    options = short(rate=(20.0,))
    assert (
        main(["loadtest", *arguments(options)]) == ExitCode.HARNESS_FAILURE
    )  # not 1, which blames the server, and not 2
    said = capfd.readouterr()
    assert f"HARNESS FAILURE the report failed; the raw samples are in {options.samples_file}" in said.err
    assert "no such font" in said.err
    assert "text batch=1" in said.out  # the figures are printed before the report is written
    assert len(Samples.read(options.out))


def test_a_crash_is_a_harness_failure(tmp_path: Path) -> None:
    """For example without the extra `load`. Exit code 1 would mean that the server missed its limits."""
    (tmp_path / "yaml.py").write_text("raise ModuleNotFoundError('no YAML here')\n")
    command = [sys.executable, "-m", "shopwindow.cli.main", "loadtest", "--users", "1"]
    environment = {**os.environ, "PYTHONPATH": python_path({"PYTHONPATH": str(tmp_path)})}
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.HARNESS_FAILURE
    assert "HARNESS FAILURE the load test crashed: no YAML here" in ended.stderr


def test_too_few_samples_in_a_trial_have_their_own_exit_code(short: Make, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["loadtest", *arguments(short(rate=(20.0,))), "--find-rate", "--min-samples", "1000"]
    assert main(command) == ExitCode.TOO_FEW_SAMPLES
    assert "at 20 requests/s: TOO FEW SAMPLES all samples: at least 1000" in capfd.readouterr().err


def test_each_trial_of_a_search_draws_new_requests(short: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trials that agree must not be the same trial sent twice."""
    module = importlib.import_module("shopwindow_loadtests.sending.find_rate")
    measure, due = module.measure, []

    def watched(options: LoadTestOptions) -> Outcome | None:
        outcome = measure(options)
        due.append(outcome.samples.at_s.round(2).tolist())
        return outcome

    monkeypatch.setattr(module, "measure", watched)
    assert find_rate(short(rate=(50.0,)), highest=50.0).highest == 50.0
    assert len(due) == 2
    assert due[0] != due[1]


def arguments(options: LoadTestOptions) -> list[str]:
    """Return the command's arguments for a test at one rate."""
    given = {"url": options.url, "queries": options.queries, "rate": options.rate[0], "out": options.out}
    given |= {"duration-s": options.duration_s, "top-k": options.top_k, "seed": options.seed, "timeout-s": 20}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def test_without_a_server_nothing_is_sent_and_the_report_says_so(
    short: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        url = f"localhost:{listener.getsockname()[1]}"
    options = short(users=(1.0,), url=url)
    options.out.mkdir()
    (options.out / "report.html").write_text("the report of an earlier test")
    options.samples_file.write_text("its samples")
    assert run(options) == ExitCode.HARNESS_FAILURE
    assert f"HARNESS FAILURE no load was sent: cannot reach {url}" in capfd.readouterr().err
    report = (options.out / "report.html").read_text()
    assert f"HARNESS FAILURE no load was sent: cannot reach {url}" in report
    assert "earlier test" not in report
    assert not options.samples_file.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [({"query": ["mug"]}, "has no column 'text' (texts); it has ['query']"), (None, "is not a parquet file")],
)
def test_a_wrong_queries_file_ends_the_test_before_anything_is_sent(
    short: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: dict[str, list[str]] | None, named: str
) -> None:
    queries = tmp_path / "mine.parquet"
    if content is None:
        queries.write_text("red dress\n")
    else:
        pq.write_table(pa.table(content), queries)
    options = short(rate=(20.0,), queries=queries)
    assert main(["loadtest", *arguments(options)]) == ExitCode.HARNESS_FAILURE
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith(f"HARNESS FAILURE no load was sent: queries: {queries} {named}")
    assert not options.samples_file.exists()
    # A worker on another machine may have another file.
    with pytest.raises(HarnessFailure, match="ended with status 4"):
        launch(options)
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_locust_process_that_fails_is_a_harness_failure(short: Make, capfd: pytest.CaptureFixture[str]) -> None:
    options = short(users=(1.0,))
    options.samples_file.mkdir(parents=True)  # so that the samples cannot be written
    assert run(options) == ExitCode.HARNESS_FAILURE
    assert "HARNESS FAILURE Locust process" in capfd.readouterr().err
