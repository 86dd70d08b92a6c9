"""The HTML report: what it says, and whether a person can read its plots."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow_loadtests import ExitCode, LoadTestOptions
from shopwindow_loadtests.judging.baseline import compare
from shopwindow_loadtests.judging.conditions import Conditions, machine_name
from shopwindow_loadtests.judging.plots import plots
from shopwindow_loadtests.judging.report import page
from shopwindow_loadtests.judging.samples import Sample, Samples
from shopwindow_loadtests.judging.slo import Limits, Verdict, judge
from shopwindow_loadtests.judging.summary import summarise
from shopwindow_loadtests.scenario.shapes import Shape

BEGAN = datetime(2026, 11, 29, 9, 30, tzinfo=UTC)


def answered(low_ms: float, high_ms: float, *, seconds: int = 10, recall: float = 0.9) -> Samples:
    """40 requests per second, with latencies spread over a range."""
    latencies = np.random.default_rng(1).permutation(np.geomspace(low_ms, high_ms, 40 * seconds))
    return Samples.of(
        [
            Sample(100 + row / 40, 0.0, float(latency), "text batch=1", 1, "", recall)
            for row, latency in enumerate(latencies)
        ]
    )


@pytest.fixture
def report(tmp_path: Path) -> Any:
    """Makes the page of a test."""
    (tmp_path / "queries.txt").write_text("mug\n")

    def make(samples: Samples, verdict: Verdict, *, before: Samples | None = None, **load: Any) -> str:
        return page(
            LoadTestOptions(url="shop:8001", queries=tmp_path / "queries.txt", **(load or {"users": (4.0,)})),
            conditions=Conditions(began=BEGAN, machine="Some CPU, 8 cores, 64 GB memory", generation=12),
            samples=samples,
            summary=summarise(samples) if len(samples) else {},
            verdict=verdict,
            notes=("drawn with seed 7",),
            differences=compare(samples, before, noise=0.1) if before else (),
        )

    return make


@pytest.mark.parametrize("load", [{"users": (4.0,)}, {"rate": (40.0,)}])
def test_the_report_is_one_page_with_everything(report: Any, load: dict[str, tuple[float, ...]]) -> None:
    verdict = Verdict(code=ExitCode.SLO_MISSED, lines=("SLO MISSED all p99_ms: <at most>",), kept=("SLO KEPT all x",))
    html = report(answered(5, 80), verdict, before=answered(4, 60), **load)
    assert re.findall(r"<h2>(.*?)</h2>", html) == [
        "Against the baseline", "Latency", "Latency over time", "Throughput", "Recall under load",
    ]  # fmt: skip
    assert html.count("data:image/png;base64,iVBOR") == 4
    assert "SLO MISSED all p99_ms: &lt;at most&gt;" in html
    assert "SLO KEPT all x" in html
    assert "outside noise" in html
    assert not re.search(r'(src|href)="(?!data:)', html)  # nothing outside the file


def test_the_report_says_when_where_and_on_what_it_was_measured(report: Any) -> None:
    html = report(answered(5, 80), Verdict(code=ExitCode.OK))
    facts = dict(re.findall(r"<tr><th>(.*?)</th><td>(.*?)</td></tr>", html))
    assert facts["Date"] == "2026-11-29 09:30:00 UTC"
    assert facts["Server"] == "shop:8001"
    assert facts["Index generation"] == "12"
    assert facts["Sent by"] == "Some CPU, 8 cores, 64 GB memory; 1 process"
    assert re.fullmatch(r".+, \d+ cores, \d+ GB memory", machine_name())


def test_the_verdict_has_the_colour_of_its_exit_code(report: Any) -> None:
    colours = {}
    for code in (ExitCode.OK, ExitCode.SLO_MISSED, ExitCode.TOO_FEW_SAMPLES, ExitCode.HARNESS_FAILURE):
        html = report(answered(5, 80), Verdict(code=code))
        banner = re.search(r"<p class='verdict (\w+)'>(.*?)</p>", html)
        assert banner is not None
        assert banner[2].startswith(code.name.replace("_", " "))
        colour = re.search(rf"\.{banner[1]}{{background:(#\w+)}}", html)
        assert colour is not None
        colours[code] = colour[1]
    assert len({colours[ExitCode.OK], colours[ExitCode.SLO_MISSED], colours[ExitCode.HARNESS_FAILURE]}) == 3


def test_a_ramp_that_broke_no_limit_does_not_claim_to_have_found_one(report: Any) -> None:
    html = report(answered(5, 80), Verdict(code=ExitCode.OK), rate=(10.0, 40.0), shape="ramp")
    assert "<p class='verdict good'>OK: the limits held at the start of the ramp; see below how far</p>" in html


def test_every_limit_is_listed_with_its_figure(report: Any) -> None:
    samples = answered(5, 80)
    verdict = judge(samples, {"all": Limits(p50_ms=1, p95_ms=100, samples=1, recall=0.5)})
    html = report(samples, verdict)
    kinds = re.findall(r"<li class='(\w+)'>SLO \w+ all (\S+): at \w+ \S+ (?:ms, )?", html)
    assert kinds == [("missed", "p50_ms"), ("kept", "error_share"), ("kept", "p95_ms"), ("kept", "recall")]


def test_a_report_of_nothing_but_failures(report: Any) -> None:
    samples = Samples.of([Sample(float(row), 0.0, 1.0, "text batch=1", error="ServerFault") for row in range(5)])
    html = report(samples, Verdict(code=ExitCode.SLO_MISSED), before=answered(5, 80))
    assert "<td>ServerFault</td><td>5</td>" in html


def test_a_report_of_no_samples_says_why(report: Any) -> None:
    html = report(Samples.of([]), Verdict(code=ExitCode.HARNESS_FAILURE, lines=("HARNESS FAILURE no server",)))
    assert "<li class='few'>HARNESS FAILURE no server</li>" in html
    assert "<img" not in html


@pytest.mark.parametrize(
    ("low_ms", "high_ms", "seconds"),
    [(9, 13, 10), (5, 80, 10), (0.1, 10_000, 30), (40, 41, 2), (900, 30_000, 10), (7, 7, 1)],
)
def test_axes_have_units_and_plain_numbers_that_do_not_overlap(low_ms: float, high_ms: float, seconds: int) -> None:
    samples = answered(low_ms, high_ms, seconds=seconds)
    drawn = list(plots(samples, load=Shape(kind="soak", levels=[40.0], duration_s=seconds), open_loop=True))
    assert len(drawn) == 4
    for title, figure in drawn:
        figure.draw_without_rendering()
        [axes] = figure.axes
        assert re.search(r"\((ms|s)\)", axes.get_xlabel()), title
        assert re.search(r"\(.+\)|requests", axes.get_ylabel()), title
        for axis, side in ((axes.xaxis, 0), (axes.yaxis, 1)):
            low, high = sorted(axis.get_view_interval())
            labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts = [label.get_text() for label in labels]
            assert 2 <= len(texts) == len(set(texts)), f"{title}: {texts}"
            assert all(re.fullmatch(r"-?[\d,]+(\.\d+)?", text) for text in texts), f"{title}: {texts}"
            assert not overlapping(labels, side), title
            assert not [tick for tick in axis.get_minor_ticks() if tick.label1.get_text()], title


def overlapping(labels: Sequence[Any], side: int) -> bool:
    """Whether two labels of an axis cover each other."""
    boxes = [label.get_window_extent() for label in labels]
    ranges = sorted((box.x0, box.x1) if side == 0 else (box.y0, box.y1) for box in boxes)
    return any(one[1] > other[0] for one, other in pairwise(ranges))
