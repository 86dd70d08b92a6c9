"""Plots of a load test, as images that are part of an HTML page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from shopwindow_loadtests.benchmarks_document import new_figure
from shopwindow_loadtests.judging.samples import NOT_SENT, Samples
from shopwindow_loadtests.judging.summary import percentiles
from shopwindow_loadtests.scenario.shapes import Shape

_STEPS = 300  # points over time at most
_PERCENTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9"))
_MOST_TICKS = 8


def plots(samples: Samples, *, load: Shape, open_loop: bool) -> Iterator[tuple[str, Figure]]:
    """Draw everything.

    Args:
        samples: At least one.
        load: The shape of the test.
        open_loop: Whether its levels are requests per second.

    Yields:
        Pairs of a title and a figure.
    """
    width = max(1.0, float(samples.at_s.max()) / _STEPS)  # whole seconds, or longer if there would be too many
    bins = np.floor(samples.at_s / width).astype(int)
    parts = [samples.where(bins == number) for number in range(int(bins.max()) + 1)]
    times = (np.arange(len(parts)) + 0.5) * width
    yield "Latency", _histogram(samples)
    yield "Latency over time", _latency(parts, times)
    yield "Throughput", _throughput(parts, times, width, load, open_loop)
    if not np.isnan(samples.recall).all():
        yield "Recall under load", _recall(parts, times)


def as_image(figure: Figure) -> str:
    """Return a figure as an HTML image that needs no file beside the page."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}">'


def log_ticks(low: float, high: float) -> list[float]:
    """Return positions for the ticks of a logarithmic axis: round numbers, 2 to `_MOST_TICKS` of them.

    Args:
        low: Lower end of the axis, above 0.
        high: Upper end, above `low`.
    """
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**power for power in powers for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= _MOST_TICKS:
            break
    else:
        inside = inside[:: math.ceil(len(inside) / _MOST_TICKS)]
    if len(inside) < 3:  # less than a decade: even steps are as readable there
        even = MaxNLocator(nbins=5).tick_values(low, high)
        inside = [float(tick) for tick in even if low <= tick <= high]
    return inside


def _histogram(samples: Samples) -> Figure:
    figure, axes = _figure("latency (ms)", "requests")
    latencies = np.maximum(samples.latency_ms[samples.answered], 1e-3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    if len(latencies):
        low, high = float(latencies.min()), float(latencies.max())
        if high < 1.2 * low:  # a width that shows something
            low, high = low / 1.1, high * 1.1
        counts, _, _ = axes.hist(latencies, bins=np.geomspace(low, high, 60), color="#9db8d9")
        for number, (share, label) in enumerate(_PERCENTILES):
            (value,) = percentiles(latencies, [share])
            axes.axvline(value, linestyle="--", color=f"C{number}", label=f"{label} {value:.4g} ms")
        axes.set_ylim(0.7, 1.5 * float(counts.max()))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    _plain_log(axes.xaxis, *axes.get_xlim())
    _plain_log(axes.yaxis, 1.0, max(2.0, axes.get_ylim()[1]))
    return figure


def _latency(parts: list[Samples], times: np.ndarray) -> Figure:
    figure, axes = _figure("time since the start (s)", "latency (ms)")
    axes.set_yscale("log")
    for share, label, style in (
        (1.0, "max", {"color": "grey", "linewidth": 0.8}),
        (0.99, "p99", {"color": "C2", "marker": "."}),
        (0.95, "p95", {"color": "C1", "marker": "."}),
        (0.5, "p50", {"color": "C0", "marker": "."}),
    ):
        values = [percentiles(part.latency_ms[part.answered], [share])[0] for part in parts]
        axes.plot(times, [np.nan if value is None else value for value in values], label=label, **style)
    axes.set_xlim(left=0)
    _plain_log(axes.yaxis, *axes.get_ylim())
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _throughput(parts: list[Samples], times: np.ndarray, width: float, load: Shape, open_loop: bool) -> Figure:
    figure, axes = _figure("time since the start (s)", "requests per second")
    counts = {
        "answered": [part.answered.sum() for part in parts],
        "failed": [(~part.answered & (part.error != NOT_SENT)).sum() for part in parts],
        "not sent": [(part.error == NOT_SENT).sum() for part in parts],
    }
    for label, values in counts.items():
        if label == "answered" or any(values):
            axes.plot(times, np.array(values) / width, marker=".", label=label)
    if open_loop:
        levels = [load.level(float(time)) for time in times]
        axes.plot(times, levels, color="grey", linestyle="--", label="wanted")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _recall(parts: list[Samples], times: np.ndarray) -> Figure:
    figure, axes = _figure("time since the start (s)", "recall (0 to 1)")
    known = [part.recall[~np.isnan(part.recall)] for part in parts]
    axes.plot(times, [values.mean() if len(values) else np.nan for values in known], marker=".")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.02)
    return figure


def _figure(x: str, y: str) -> tuple[Figure, Any]:
    figure = new_figure(9, 3.4)
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    return figure, axes


def _plain_log(axis: Any, low: float, high: float) -> None:
    """Label a logarithmic axis with plain numbers instead of powers of ten."""
    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_plain))


def _plain(value: float, _: int | None = None) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"
