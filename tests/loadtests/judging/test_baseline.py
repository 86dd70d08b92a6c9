"""Comparisons with a baseline: what really changed is told from what only looks so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from shopwindow_loadtests import LoadTestOptions
from shopwindow_loadtests.judging.baseline import compare
from shopwindow_loadtests.judging.report import page
from shopwindow_loadtests.judging.samples import Sample, Samples
from shopwindow_loadtests.judging.slo import ExitCode, Verdict
from shopwindow_loadtests.judging.summary import summarise


def drawn(
    seed: int, *, slower: float = 1.0, seconds: int = 30, tail: float = 1.0, recall: float = 0.9, errors: float = 0.0
) -> Samples:
    """A test of 40 requests a second, with latencies from a long-tailed law."""
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


def test_a_slower_server_is_told_and_by_how_much() -> None:
    found = {(one.name, one.metric): one for one in compare(drawn(1, slower=1.5), drawn(2), noise=0.1)}
    median = found["text batch=1", "p50_ms"]
    assert median.outside_noise
    assert median.low < 1.5 < median.high
    assert not found["all", "requests_per_s"].outside_noise


def test_a_longer_tail_is_told_though_the_median_is_the_same() -> None:
    told = verdicts(drawn(1, tail=2.0), drawn(2))
    assert (told["p50_ms"], told["p99_ms"]) == (False, True)


def test_what_is_below_the_stated_noise_does_not_count() -> None:
    now, before = drawn(1, slower=1.2), drawn(2)
    assert verdicts(now, before, noise=0.05)["p50_ms"]
    assert verdicts(now, before, noise=0.3)["p50_ms"] is False


def test_the_allowance_for_noise_excuses_no_loss_of_recall() -> None:
    """The machine's load makes timings differ, never what is found."""
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


@pytest.mark.parametrize("load", [{"users": (4.0,)}, {"rate": (40.0,)}])
def test_the_report_is_one_page_with_everything(tmp_path: Path, load: dict[str, tuple[float, ...]]) -> None:
    (tmp_path / "queries.txt").write_text("mug\n")
    samples = drawn(1, slower=1.5)
    html = page(
        LoadTestOptions(queries=tmp_path / "queries.txt", **load),
        samples=samples,
        summary=summarise(samples),
        verdict=Verdict(code=ExitCode.SLO_MISSED, lines=("SLO MISSED all p99_ms: <at most>",)),
        notes=(),
        differences=compare(samples, drawn(2), noise=0.1),
    )
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "Against the baseline", "Latency", "Latency over time", "Throughput", "Recall under load",
    ]  # fmt: skip
    assert html.count("data:image/png;base64,iVBOR") == 4
    assert "SLO MISSED all p99_ms: &lt;at most&gt;" in html
    assert "outside noise" in html
    assert not re.search(r'(src|href)="(?!data:)', html)  # nothing outside the file


def test_a_report_of_nothing_but_failures(tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("mug\n")
    samples = Samples.of([Sample(float(row), 0.0, 1.0, "text batch=1", error="ServerFault") for row in range(5)])
    html = page(
        LoadTestOptions(queries=tmp_path / "queries.txt", users=(1.0,)),
        samples=samples,
        summary=summarise(samples),
        verdict=Verdict(code=ExitCode.SLO_MISSED),
        notes=(),
        differences=compare(samples, drawn(2), noise=0.1),
    )
    assert "<td>ServerFault</td><td>5</td>" in html
