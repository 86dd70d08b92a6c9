"""Figures and limits, computed from samples with known numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow_loadtests import ExitCode, LoadTestOptions
from shopwindow_loadtests.judging.samples import NOT_SENT, Sample, Samples, SampleWriter, read_generator_cpu
from shopwindow_loadtests.judging.slo import Limits, Slo, first_failure, judge, only_slow, read_slo
from shopwindow_loadtests.judging.summary import figures, summarise

# 100 answers of 1 to 100 ms, one started every 100 ms: from 0 to 9.9 s, the last one ends at 10 s.
HUNDRED = [Sample(row / 10, 0.0, row + 1.0, "text batch=4", 4) for row in range(100)]
NAMES = ["text batch=1", "text batch=8", "similar batch=1"]


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.txt"
    path.write_text("mug\n")
    return path


def failed(count: int, error: str = "ServerFault", name: str = "text batch=4") -> list[Sample]:
    return [Sample(5.0, 0.0, 0.1, name, 4, error)] * count


def slo_of(text: str, queries: Path, **changes: Any) -> Slo:
    file = queries.with_name("slo.yaml")
    file.write_text(text)
    return read_slo(LoadTestOptions(queries=queries, users=(1,), slo=file, **changes), NAMES)


def test_percentiles_and_rates() -> None:
    measured = summarise(Samples.of(HUNDRED))["all"]
    assert (measured.requests, measured.errors, measured.error_share) == (100, 0, 0.0)
    assert (measured.p50_ms, measured.p95_ms, measured.p99_ms) == (50.0, 95.0, 99.0)
    assert (measured.p999_ms, measured.max_ms, measured.recall) == (100.0, 100.0, None)
    assert measured.requests_per_s == pytest.approx(10.0)
    assert measured.queries_per_s == pytest.approx(40.0)


def test_failed_requests_count_as_errors_and_not_as_fast_answers() -> None:
    measured = summarise(Samples.of(HUNDRED + failed(60) + failed(40, NOT_SENT)))["all"]
    assert (measured.requests, measured.errors, measured.error_share) == (200, 100, 0.5)
    assert measured.p50_ms == 50.0
    assert measured.requests_per_s == pytest.approx(10.0)


def test_each_name_has_its_own_figures() -> None:
    samples = Samples.of([*HUNDRED[:50], *(sample._replace(name="similar batch=1") for sample in HUNDRED[50:])])
    summary = summarise(samples)
    assert list(summary) == ["all", "similar batch=1", "text batch=4"]
    assert (summary["text batch=4"].max_ms, summary["similar batch=1"].p50_ms) == (50.0, 75.0)


def test_recall_is_the_mean_of_the_known_recalls() -> None:
    recalls = [1.0, 0.5, float("nan"), 0.0]
    samples = Samples.of([sample._replace(recall=recall) for sample, recall in zip(HUNDRED, recalls, strict=False)])
    assert (summarise(samples)["all"].recall, summarise(samples)["all"].recall_samples) == (0.5, 3)


def test_without_answers_there_is_no_verdict() -> None:
    for samples in ([], failed(1)):
        verdict = judge(Samples.of(samples), {"all": Limits(p99_ms=1e6, error_share=1.0, samples=100)})
        assert verdict.code == ExitCode.TOO_FEW_SAMPLES
        assert "at least 100 answered requests, measured 0" in verdict.lines[0]


@pytest.mark.parametrize(
    ("limits", "code", "line"),
    [
        ({"p99_ms": 99.0, "samples": 100}, ExitCode.OK, None),
        ({"p99_ms": 98.9, "samples": 100}, ExitCode.SLO_MISSED, "p99_ms: at most 98.9 ms, measured 99 ms"),
        ({"p999_ms": 99.5, "samples": 1}, ExitCode.SLO_MISSED, "p99.9_ms: at most 99.5 ms, measured 100 ms"),
        ({"p50_ms": 50.0}, ExitCode.OK, None),
        ({"p95_ms": 95.0, "samples": 100}, ExitCode.OK, None),
        ({"p95_ms": 94.9, "samples": 100}, ExitCode.SLO_MISSED, "p95_ms: at most 94.9 ms, measured 95 ms"),
        ({"p95_ms": 95.0}, ExitCode.TOO_FEW_SAMPLES, "at least 200 answered requests, measured 100"),
        ({"p99_ms": 99.0}, ExitCode.TOO_FEW_SAMPLES, "at least 1000 answered requests, measured 100"),
        ({"p999_ms": 999.0}, ExitCode.TOO_FEW_SAMPLES, "at least 10000 answered requests"),
        ({"recall": 0.9}, ExitCode.TOO_FEW_SAMPLES, "recall: no request had known answers"),
    ],
)
def test_limits_of_answered_requests(limits: dict[str, Any], code: ExitCode, line: str | None) -> None:
    verdict = judge(Samples.of(HUNDRED), {"text": Limits(**limits)})
    assert verdict.code == code
    assert [line in said for said in verdict.lines] == ([] if line is None else [True])


def test_a_pass_names_each_limit_with_its_figure() -> None:
    samples = Samples.of([sample._replace(recall=0.75) for sample in HUNDRED])
    verdict = judge(samples, {"all": Limits(p50_ms=60.0, p95_ms=100.0, recall=0.5, samples=100)})
    assert verdict.code == ExitCode.OK
    assert verdict.kept == (
        "SLO KEPT all error_share: at most 0, measured 0",
        "SLO KEPT all p50_ms: at most 60 ms, measured 50 ms",
        "SLO KEPT all p95_ms: at most 100 ms, measured 95 ms",
        "SLO KEPT all recall: at least 0.5, measured 0.75",
    )


def test_a_miss_counts_even_if_another_limit_has_too_few_samples() -> None:
    slo = {"all": Limits(samples=1000), "text batch=4": Limits(p50_ms=1.0)}
    verdict = judge(Samples.of(HUNDRED), slo)
    assert verdict.code == ExitCode.SLO_MISSED
    assert len(verdict.lines) == 2


def test_the_error_share_is_judged_even_with_few_answers() -> None:
    samples = Samples.of([*HUNDRED, *failed(25)])
    assert judge(samples, {"all": Limits(error_share=0.2)}).code == ExitCode.OK
    verdict = judge(samples, {"all": Limits(error_share=0.1, samples=1000)})
    assert verdict.code == ExitCode.SLO_MISSED
    assert verdict.lines[0] == "SLO MISSED all error_share: at most 0.1, measured 0.2"


def test_a_failed_request_is_slower_than_any_limit() -> None:
    """97 requests are answered at once and 3 never. More than one in a hundred gets no answer, so no p99 holds."""
    quick = [Sample(row / 10, 0.0, 10.0, "text batch=1") for row in range(97)]
    limits = {"all": Limits(p50_ms=50.0, p99_ms=50.0, error_share=0.05, samples=90)}
    for error in ("DeadlineExceeded", NOT_SENT):
        verdict = judge(Samples.of([*quick, *failed(3, error)]), limits)
        assert verdict.code == ExitCode.SLO_MISSED
        (line,) = verdict.lines
        assert line.startswith("SLO MISSED all p99_ms: at most 50 ms, measured no answer (3.00% failed")
    assert judge(Samples.of(quick), limits).code == ExitCode.OK
    assert judge(Samples.of([*quick, *failed(1)]), {"all": Limits(p99_ms=50.0, error_share=0.05, samples=99)}).lines
    assert first_failure(Samples.of([*quick, *failed(3)]), limits, window_s=4.0) == 4.0


def test_errors_and_lost_recall_are_not_the_work_of_a_slow_generator() -> None:
    late = Samples.of(HUNDRED)
    assert only_slow(late, {"all": Limits(p50_ms=1.0)})
    assert not only_slow(Samples.of([*HUNDRED, *failed(25)]), {"all": Limits(p50_ms=1.0, error_share=0.1)})
    assert not only_slow(Samples.of([*HUNDRED, *failed(25)]), {"all": Limits(p99_ms=1.0, error_share=0.5)})
    wrong = Samples.of([sample._replace(recall=0.5) for sample in HUNDRED])
    assert not only_slow(wrong, {"all": Limits(p50_ms=1.0), "text": Limits(recall=0.9)})


def test_the_first_failure_has_a_time() -> None:
    slo = {"all": Limits(p50_ms=69.0)}
    assert first_failure(Samples.of(HUNDRED), slo, window_s=2.0) == 6.0  # 61 to 80 ms
    assert first_failure(Samples.of(HUNDRED), {"all": Limits(p50_ms=99.0)}, window_s=2.0) is None


def test_an_slo_file(queries: Path) -> None:
    slo = slo_of(
        "all: {p50_ms: 20, p95_ms: 40, p99.9_ms: 200}\ntext: {error_share: 0.01}\ntext batch=8: {samples: 5}\n", queries
    )
    assert slo == {
        "all": Limits(p50_ms=20, p95_ms=40, p999_ms=200),
        "text": Limits(error_share=0.01),
        "text batch=8": Limits(samples=5),
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("words: {p99_ms: 5}", "no 'words'; there are all, similar, similar batch=1, text, text batch=1"),
        ("all: {p99: 5}", "slo.yaml: all: unknown key 'p99'"),
        ("all: {p99_ms: fast}", "p99_ms must be a number from 0 to inf, got 'fast'"),
        ("all: {error_share: 2}", "error_share must be a number from 0 to 1, got 2"),
        ("all: 5", "all: must have the keys"),
        ("", "slo.yaml: must map"),
        ("all: {p99_ms: [", "slo.yaml"),
        ("text: {recall: 0.9}", "recall is limited, but not measured"),
    ],
)
def test_a_wrong_slo_file_is_refused_with_its_fault(queries: Path, text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        slo_of(text, queries)


def test_samples_are_read_back_unrounded_and_in_order(tmp_path: Path) -> None:
    written = [Sample(2.0, 0.1, 1 / 3, "text batch=1", error=NOT_SENT), Sample(1.0, 0.0, 2 / 3, "b", 4, "", 0.7, 3)]
    writer = SampleWriter(tmp_path / "samples.parquet")
    for sample in written:
        writer.write([sample])
    writer.close(generator_cpu=1 / 3)
    samples = Samples.read(tmp_path)
    assert samples.latency_ms.tolist() == [2 / 3, 1 / 3]
    assert samples.error.tolist() == ["", NOT_SENT]
    assert (samples.queries.tolist(), samples.worker.tolist(), samples.recall[0]) == ([4, 1], [3, 0], 0.7)
    assert np.isnan(samples.recall[1])
    assert figures(samples, span_s=1.0).requests == 2
    assert read_generator_cpu(tmp_path / "samples.parquet") == 1 / 3


def test_a_file_that_holds_no_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"samples\.parquet must hold the raw samples"):
        Samples.read(tmp_path)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"users": ()}, r"give users \(closed loop\) or rate \(open loop\)"),
        ({"rate": (1.0,)}, "give users"),
        ({"users": (2.0, 4.0)}, "soak takes 1 level"),
        ({"users": (1.0,), "workers": 2}, "users must be at least workers=2, got 1"),
        ({"arrivals": "random"}, "arrivals must be poisson or constant, got 'random'"),
        ({"max_p95_ms": 0.0}, "max_p95_ms must be finite and above 0"),
        ({"max_p99_ms": -1.0}, "max_p99_ms must be finite and above 0"),
        ({"max_error_share": 2.0}, "max_error_share must be between 0 and 1, got 2.0"),
        ({"zipf": -1.0}, "zipf must be finite and at least 0"),
        ({"elsewhere": 2}, "elsewhere must be 0 to workers=1, got 2"),
        ({"mix": Path("mix.yaml")}, "give mix or queries"),
        ({"queries": Path("no/such/file.txt")}, "there is none at no/such/file.txt"),
    ],
)
def test_options_name_what_is_wrong(queries: Path, values: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        LoadTestOptions(**{"queries": queries, "users": (1.0,), **values})


def test_options_travel_as_json(queries: Path) -> None:
    options = LoadTestOptions(queries=queries, rate=(1.0, 5.0), shape="ramp", max_p99_ms=20.0, out=Path("build/here"))
    assert LoadTestOptions.from_json(options.to_json()) == options


def test_each_test_has_another_seed_by_default(queries: Path) -> None:
    seeds = {LoadTestOptions(queries=queries, users=(1.0,)).seed for _ in range(8)}
    assert len(seeds) > 1
