"""The load test notices when its own processes are too slow, and when the clock of a worker is off."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shopwindow_loadtests import ExitCode, GeneratorTooSlow, LoadTestOptions, run
from shopwindow_loadtests.judging.samples import Sample, Samples, read_generator_cpu
from shopwindow_loadtests.judging.slo import Limits
from shopwindow_loadtests.sending import runner, session
from shopwindow_loadtests.sending.collecting import Collector
from shopwindow_loadtests.sending.runner import outcome_of
from shopwindow_loadtests.sending.sender import now
from shopwindow_loadtests.sending.session import CpuShare

Make = Callable[..., LoadTestOptions]

SLOW = [Sample(row / 10, 0.0, 60.0, "text batch=1", recall=0.5) for row in range(100)]
FAILED = [sample._replace(error="ServerFault") for sample in SLOW[:10]]
AHEAD_S = 10.0


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(options(tmp_path, users=(2.0,), workers=2), {})


def options(folder: Path, **changes: Any) -> LoadTestOptions:
    (folder / "queries.txt").write_text("mug\n")
    return LoadTestOptions(queries=folder / "queries.txt", out=folder, **changes)


def test_the_share_of_a_core_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "WINDOW_S", 0.05)
    began_s = time.monotonic()
    share, before_s = CpuShare(), time.process_time()
    while time.process_time() < before_s + 0.1:
        pass
    busy = share.look()
    assert busy >= 0.1 / (time.monotonic() - began_s)
    for _ in range(3):
        time.sleep(0.06)
        assert share.look() == busy  # the busiest share, not the latest


def test_the_busiest_process_is_kept_with_the_samples(collector: Collector, tmp_path: Path) -> None:
    for worker, cpu in ((0, 0.2), (1, 0.95), (0, 0.3)):
        collector.take(rows=[], worker=worker, done=True, cpu=cpu, clock_s=now())
    collector.close()
    assert read_generator_cpu(tmp_path / "samples.parquet") == 0.95


@pytest.mark.parametrize("load", [{"users": (64.0,)}, {"rate": (10.0,)}, {"users": (1.0, 64.0), "shape": "ramp"}])
def test_a_generator_that_fills_its_core_does_not_blame_the_server(load: dict[str, Any], tmp_path: Path) -> None:
    test, slo = options(tmp_path, **load), {"all": Limits(p50_ms=50.0)}
    with pytest.raises(GeneratorTooSlow, match=r"a sending process used 0\.95 of a core"):
        outcome_of(test, Samples.of(SLOW), slo, generator_cpu=0.95)
    assert outcome_of(test, Samples.of(SLOW), slo, generator_cpu=0.85).verdict.code == ExitCode.SLO_MISSED
    kept = outcome_of(test, Samples.of(SLOW), {"all": Limits(p50_ms=70.0)}, generator_cpu=0.95)
    assert kept.verdict.code == ExitCode.OK


@pytest.mark.parametrize("limits", [Limits(p50_ms=50.0, error_share=0.05), Limits(p50_ms=50.0, recall=0.9)])
def test_errors_and_wrong_answers_count_even_with_a_busy_generator(limits: Limits, tmp_path: Path) -> None:
    samples = Samples.of([*SLOW, *FAILED])
    outcome = outcome_of(options(tmp_path, users=(64.0,)), samples, {"all": limits}, generator_cpu=0.95)
    assert outcome.verdict.code == ExitCode.SLO_MISSED
    assert any(note.startswith("10 of 110 requests failed") for note in outcome.notes)


def test_a_real_test_measures_the_cpu_time_of_its_generator(
    planted: Any, short: Make, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "MAX_GENERATOR_CPU", 0.0)
    options = short(users=(1.0,), duration_s=1.4, max_p99_ms=0.001)
    assert run(options) == ExitCode.HARNESS_FAILURE
    assert "HARNESS FAILURE the limits were missed, but a sending process used" in capfd.readouterr().err
    report = (options.out / "report.html").read_text()
    assert "HARNESS FAILURE the limits were missed, but a sending process used" in report
    assert "Latency over time" in report


@pytest.mark.parametrize(("off_s", "said"), [(AHEAD_S, "ahead"), (-AHEAD_S, "behind")])
def test_a_clock_that_is_off_is_reported(off_s: float, said: str, collector: Collector) -> None:
    collector.take(rows=[], worker=0, done=True, cpu=0.0, clock_s=now())
    for _ in range(4):
        assert collector.skewed == ""  # a single report may have been delayed
        collector.take(rows=[], worker=1, done=False, cpu=0.0, clock_s=now() + off_s)
    assert collector.skewed.startswith(f"the clock of worker 1 is 10.0 s {said} (at most 0.5 s)")


def test_a_slow_network_is_not_taken_for_a_clock_that_is_off(collector: Collector) -> None:
    for delay_s in (3.0, 0.1, 2.0, 4.0, 3.0):
        collector.take(rows=[], worker=0, done=False, cpu=0.0, clock_s=now() - delay_s)
    assert collector.skewed == ""


def test_workers_on_another_clock_are_a_harness_failure(
    short: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nreal = time.time\n"
        f"if '--worker' in sys.orig_argv:\n    time.time = lambda: real() + {AHEAD_S}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert run(short(rate=(20.0,), workers=2)) == ExitCode.HARNESS_FAILURE
    ahead = re.search(r"is (\d+\.\d) s ahead", capfd.readouterr().err)
    assert ahead is not None
    assert AHEAD_S / 2 < float(ahead[1]) <= AHEAD_S  # minus the delay of the report
