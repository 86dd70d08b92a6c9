"""The results of `make bench-index` as a section of docs/benchmarks.md with a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shopwindow_loadtests.benchmarks_document import markdown_table, new_figure, replace_section, save_figure

BEGIN, END = "<!-- bench-index: begin -->", "<!-- bench-index: end -->"


def write_section(document: Path, measured: Sequence[dict[str, Any]], verdicts: Sequence[str], machine: str) -> None:
    """Put the figures between the markers of a document, and a plot into `benchmarks/` beside it.

    Args:
        document: Markdown file with the markers, each on its own line.
        measured: Fields of `shopwindow_loadtests.index_bench.__main__.Figures`, smallest size first.
        verdicts: One line each.
        machine: The machine that measured.

    Raises:
        ValueError: The document lacks the markers, or has them in the wrong order.
    """
    deep = [one for one in measured if len(one["p50_ms"]) > 1]
    plot = document.parent / "benchmarks" / "index_latency.png"
    if deep:
        _plot(deep, plot)
    parts = [
        f"{machine}. One search at a time on one core, k = 100 unless the table says otherwise.",
        "\n".join(f"- {verdict}" for verdict in verdicts),
        _sizes(measured),
        *([f"Latency against k, {deep[0]['rows']:,} vectors:", _depths(deep)] if deep else []),
        *([f"![Latency against k]({plot.relative_to(document.parent).as_posix()})"] if deep else []),
    ]
    replace_section(document, BEGIN, END, "\n\n".join(parts))


def _sizes(measured: Sequence[dict[str, Any]]) -> str:
    heads = ["vectors", "recipe", "index", "breadth", "recall@100", "p50 ms", "p99 ms", "B/vector", "built/s"]
    heads += ["scored", "ns each"]
    rows = [
        [
            f"{one['rows']:,}",
            one["kind"],
            f"`{one['factory']}`",
            one["breadth"],
            f"{one['recall']:.3f}",
            one["p50_ms"]["100"],
            one["p99_ms"]["100"],
            one["vector_bytes"],
            f"{one['build_rate']:,}",
            f"{one['scored']:,}",
            one["scored_ns"],
        ]
        for one in measured
    ]
    return markdown_table(heads, rows)


def _depths(deep: Sequence[dict[str, Any]]) -> str:
    depths = list(deep[0]["p50_ms"])
    rows = [[one["kind"], *(f"{one['p50_ms'][k]} / {one['p99_ms'][k]}" for k in depths)] for one in deep]
    return markdown_table(["p50 / p99 ms", *(f"k = {int(k):,}" for k in depths)], rows)


def _plot(deep: Sequence[dict[str, Any]], file: Path) -> None:
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    for one in deep:
        depths = [int(k) for k in one["p50_ms"]]
        (line,) = axes.plot(depths, list(one["p50_ms"].values()), marker="o", label=f"{one['kind']}, p50")
        axes.plot(depths, list(one["p99_ms"].values()), linestyle=":", color=line.get_color(), label="p99")
    axes.set(xscale="log", yscale="log", xlabel="k", ylabel="milliseconds per search, one core")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    save_figure(figure, file)
