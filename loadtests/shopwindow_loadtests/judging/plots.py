"""Plots of a load test as HTML images that need no file beside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shopwindow_loadtests.judging.samples import NOT_SENT, Samples
from shopwindow_loadtests.judging.summary import percentiles
from shopwindow_loadtests.scenario.shapes import Shape

_STEPS = 300  # points over time at most


def plots(samples: Samples, *, load: Shape, open_loop: bool) -> Iterator[tuple[str, str]]:
    """Draw everything.

    Args:
        samples: At least one.
        load: The shape of the test.
        open_loop: Whether its levels are requests a second.

    Yields:
        (title, HTML image) pairs.
    """
    width = max(1.0, float(samples.at_s.max()) / _STEPS)  # whole seconds, unless that were too many
    bins = np.floor(samples.at_s / width).astype(int)
    parts = [samples.where(bins == number) for number in range(int(bins.max()) + 1)]
    times = (np.arange(len(parts)) + 0.5) * width
    yield "Latency", _histogram(samples)
    yield "Latency over time", _latency(parts, times)
    yield "Throughput", _throughput(parts, times, width, load, open_loop)
    if not np.isnan(samples.recall).all():
        yield "Recall under load", _recall(parts, times)


def _histogram(samples: Samples) -> str:
    figure, axes = _figure("milliseconds", "requests")
    latencies = np.maximum(samples.latency_ms[samples.answered], 1e-3)
    if len(latencies):
        low, high = float(latencies.min()), float(latencies.max())
        axes.hist(latencies, bins=np.geomspace(low, max(high, low * 1.01), 60))
        for share, label in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")):
            (value,) = percentiles(latencies, [share])
            axes.axvline(value, linestyle="--", color="black", linewidth=0.8)
            axes.text(value, axes.get_ylim()[1], label, ha="right", va="top", rotation=90, fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    return _image(figure)


def _latency(parts: list[Samples], times: np.ndarray) -> str:
    figure, axes = _figure("seconds", "milliseconds")
    for share, label in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
        values = [percentiles(part.latency_ms[part.answered], [share])[0] for part in parts]
        axes.plot(times, [np.nan if value is None else value for value in values], marker=".", label=label)
    axes.set_yscale("log")
    axes.legend()
    return _image(figure)


def _throughput(parts: list[Samples], times: np.ndarray, width: float, load: Shape, open_loop: bool) -> str:
    figure, axes = _figure("seconds", "requests a second")
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
    axes.set_ylim(bottom=0)
    axes.legend()
    return _image(figure)


def _recall(parts: list[Samples], times: np.ndarray) -> str:
    figure, axes = _figure("seconds", "recall")
    known = [part.recall[~np.isnan(part.recall)] for part in parts]
    axes.plot(times, [values.mean() if len(values) else np.nan for values in known], marker=".")
    axes.set_ylim(0, 1.02)
    return _image(figure)


def _figure(x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes


def _image(figure: Figure) -> str:
    FigureCanvasAgg(figure)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}">'
