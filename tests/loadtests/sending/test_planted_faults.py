"""The load tests tell the truth: on a real server with known faults, each fault is found and has its exit code."""

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
import pytest

from shopwindow.base.default_places import python_path
from shopwindow.cli.main import main
from shopwindow_loadtests import ExitCode, LoadTestOptions, Outcome, find_rate, run
from shopwindow_loadtests.judging.samples import NOT_SENT, Samples
from shopwindow_loadtests.judging.summary import figures

STALL_MS = 200.0

Make = Callable[..., LoadTestOptions]


def test_a_stall_is_in_the_p99_of_the_open_loop_and_hidden_by_the_closed_one(planted: Any, short: Make) -> None:
    """Every 300th request holds all up for 200 ms: 1 in 300 waits in a closed loop, 20 that are due in an open one."""
    p99 = {}
    for name, load in {
        "open": {"rate": (100.0,), "duration_s": 4.0},
        "closed": {"users": (1.0,), "duration_s": 5.0},
    }.items():
        options = short(**load, arrivals="constant")
        with planted.plant("stall", 300):
            assert run(options) == ExitCode.OK
        samples = Samples.read(options.samples_file)
        assert samples.latency_ms.max() >= STALL_MS  # both have met it
        p99[name] = figures(samples, span_s=samples.span_s).p99_ms
    assert p99["closed"] < 0.7 * STALL_MS < p99["open"]


def test_a_loss_of_recall_is_caught_and_dated(
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


def test_what_cannot_be_sent_is_a_failure(planted: Any, short: Make, capfd: pytest.CaptureFixture[str]) -> None:
    """One request at a time, a server that stalls at every one: most of what is due finds no room."""
    with planted.plant("stall", 1):
        assert run(short(rate=(50.0,), max_in_flight=1, duration_s=1.4)) == ExitCode.SLO_MISSED
    samples = Samples.read(short(rate=(50.0,)).samples_file)
    assert 40 < len(samples) < 100  # all that were due
    assert set(samples.error) == {"", NOT_SENT}
    assert (samples.error == NOT_SENT).mean() > 0.5
    assert "SLO MISSED all error_share: at most 0, measured 0." in capfd.readouterr().out


def test_refused_requests_are_never_sent_again(planted: Any, short: Make) -> None:
    with planted.plant("refuse", 2):
        assert run(short(users=(1.0,), duration_s=1.4)) == ExitCode.SLO_MISSED
    samples = Samples.read(short(users=(1.0,)).samples_file)
    assert abs(float(samples.answered.mean()) - 0.5) < 1 / len(samples) + 1e-9
    assert set(samples.error[~samples.answered]) == {"ServerFault"}


def test_too_few_samples_are_not_a_verdict(planted: Any, short: Make, capfd: pytest.CaptureFixture[str]) -> None:
    options = short(rate=(20.0,), max_p99_ms=60_000.0, min_samples=None)
    assert run(options) == ExitCode.TOO_FEW_SAMPLES
    assert "TOO FEW SAMPLES all samples: at least 1000 answered requests, measured" in capfd.readouterr().out


def test_two_processes_share_the_load_and_no_sample_is_lost(planted: Any, short: Make) -> None:
    options = short(rate=(100.0,), arrivals="constant", workers=2)
    assert run(options) == ExitCode.OK
    samples = Samples.read(options.samples_file)
    assert np.bincount(samples.worker).tolist() == [20, 20]


def test_a_ramp_ends_where_the_limits_break(planted: Any, short: Make, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that takes 200 ms for each request can't do more than 5 a second."""
    options = short(rate=(2.0, 122.0), shape="ramp", duration_s=60.0, max_in_flight=8, arrivals="constant")
    with planted.plant("stall", 1):
        assert run(options) == ExitCode.OK
    broke = re.search(r"the limits first broke at \d+ to (\d+) requests/s", capfd.readouterr().out)
    assert broke is not None and int(broke[1]) > 5
    assert Samples.read(options.samples_file).at_s.max() < 50  # ended early


def test_a_fault_of_the_report_is_not_the_servers(
    short: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> str:
        raise ValueError("no such font")

    monkeypatch.setattr("shopwindow_loadtests.judging.report.page", broken)
    options = short(rate=(20.0,))
    assert main(["loadtest", *arguments(options)]) == ExitCode.HARNESS_FAILURE  # neither 1, the server's, nor 2
    said = capfd.readouterr()
    assert f"HARNESS FAILURE the report failed; the raw samples are in {options.samples_file}" in said.err
    assert "no such font" in said.err
    assert "text batch=1" in said.out  # the figures were told before
    assert len(Samples.read(options.out))


def test_a_crash_is_not_the_servers_fault(tmp_path: Path) -> None:
    """Without the extra `load`, say: status 1 would tell a pipeline that the server missed its limits."""
    (tmp_path / "yaml.py").write_text("raise ModuleNotFoundError('no YAML here')\n")
    command = [sys.executable, "-m", "shopwindow.cli.main", "loadtest", "--users", "1"]
    environment = {**os.environ, "PYTHONPATH": python_path({"PYTHONPATH": str(tmp_path)})}
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == ExitCode.HARNESS_FAILURE
    assert "HARNESS FAILURE the load test crashed: no YAML here" in ended.stderr


def test_too_few_samples_of_a_trial_are_no_harness_failure(short: Make, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["loadtest", *arguments(short(rate=(20.0,))), "--find-rate", "--min-samples", "1000"]
    assert main(command) == ExitCode.TOO_FEW_SAMPLES
    assert "at 20 requests/s: TOO FEW SAMPLES all samples: at least 1000" in capfd.readouterr().err


def test_the_trials_of_a_search_draw_anew(short: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that agree have to be two, not one that is sent again."""
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
    """Of the command, for a test at one rate."""
    given = {"url": options.url, "queries": options.queries, "rate": options.rate[0], "out": options.out}
    given |= {"duration-s": options.duration_s, "top-k": options.top_k, "seed": options.seed, "timeout-s": 20}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def test_without_a_server_nothing_is_sent_and_the_harness_says_so(
    short: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        url = f"localhost:{listener.getsockname()[1]}"
    options = short(users=(1.0,), url=url)
    assert run(options) == ExitCode.HARNESS_FAILURE
    assert f"HARNESS FAILURE no load was sent: cannot reach {url}" in capfd.readouterr().err
    assert not options.out.exists()


def test_a_harness_that_breaks_is_not_the_servers_fault(short: Make, capfd: pytest.CaptureFixture[str]) -> None:
    options = short(users=(1.0,))
    options.samples_file.mkdir(parents=True)  # where the samples should go
    assert run(options) == ExitCode.HARNESS_FAILURE
    assert "HARNESS FAILURE Locust process" in capfd.readouterr().err
