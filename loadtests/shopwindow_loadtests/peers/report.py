"""The results of `make bench` as tables and plots, printed and between two markers of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shopwindow_loadtests.benchmarks_document import (
    around_section,
    markdown_table,
    new_figure,
    replace_section,
    save_figure,
)
from shopwindow_loadtests.bisect.run import LIMIT
from shopwindow_loadtests.generator.reading import Reading, median_ratio, median_reading
from shopwindow_loadtests.peers.goals import EMBEDDINGS, OURS, Goal, Readings

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
HEADS = ["load", "server", "queries/s", "CPU ms", "p50 ms", "p99 ms", "generator ms", "refused", "throughput", "CPU"]
GOAL_HEADS = ["", "target", "wanted", "measured", ""]


def rows(readings: Readings) -> list[list[str]]:
    """Return a row under HEADS for each load and server.

    Its last two cells divide our figure by that server's: medians over the rounds.
    """
    table = []
    for load in dict.fromkeys(load for _, load in readings):
        ours = next((name for name in (OURS, EMBEDDINGS) if (name, load) in readings), None)
        for name in (name for name, its in readings if its == load):
            one = median_reading(readings[name, load])
            ratios = [
                f"{median_ratio(readings[ours, load], readings[name, load], figure):.2f}" if ours else "-"
                for figure in ("queries_per_s", "cpu_ms")
            ]
            what = f"batch {load}" if name == LIMIT else load
            table.append([what, name, f"{one.queries_per_s:.0f}", f"{one.cpu_ms:.3f}", *_latencies(one), *ratios])
    return table


def write_section(
    document: Path,
    readings: Readings,
    goals: Sequence[Goal],
    *,
    notes: Sequence[str],
    left_out: Mapping[str, str],
) -> None:
    """Put the results between the markers of a document, and a plot into `benchmarks/` beside it.

    Args:
        document: Markdown file with the markers, each on its own line.
        readings: The readings of all servers.
        goals: The targets.
        notes: Machine, data and conditions, one line each.
        left_out: Peers that were not measured, and why.

    Raises:
        ValueError: See `check_document`.
    """
    check_document(document)
    file = document.parent / "benchmarks" / "peers.png"
    plot(readings, file)
    parts = [
        "\n".join(f"- {note}" for note in notes),
        markdown_table(GOAL_HEADS, [goal.cells for goal in goals]),
        markdown_table(HEADS, rows(readings)),
        f"![Throughput and CPU time]({file.relative_to(document.parent).as_posix()})",
        *(f"Left out: {name}, {reason}" for name, reason in left_out.items()),
    ]
    replace_section(document, BEGIN, END, "\n\n".join(parts))


def check_document(document: Path) -> None:
    """Check that a document has a place for the results.

    Raises:
        ValueError: See `shopwindow_loadtests.benchmarks_document.around_section`.
    """
    around_section(document, BEGIN, END)


def plot(readings: Readings, file: Path) -> None:
    """Draw throughput and CPU time of every server, grouped by load."""
    served = {key: median_reading(some) for key, some in readings.items() if key[0] != LIMIT}
    names = list(dict.fromkeys(name for name, _ in served))
    loads = list(dict.fromkeys(load for _, load in served))
    figure = new_figure(9, 7)
    panels = ("queries_per_s", "queries per second"), ("cpu_ms", "server CPU, ms per query")
    for panel, (field, label) in enumerate(panels):
        axes = figure.add_subplot(2, 1, panel + 1)
        for number, name in enumerate(names):
            places = [at for at, load in enumerate(loads) if (name, load) in served]
            heights = [getattr(served[name, loads[at]], field) for at in places]
            width = 0.8 / len(names)
            axes.bar([at + (number + 0.5) * width - 0.4 for at in places], heights, width, label=name)
        axes.set_xticks(range(len(loads)), loads)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3, axis="y")
        if panel == 0:
            axes.legend(fontsize="small", ncols=2)
    save_figure(figure, file)


def _latencies(one: Reading) -> list[str]:
    if one.p50_ms is None or one.p99_ms is None:
        return ["-", "-", "-", "-"]
    return [f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", f"{one.generator_ms:.3f}", f"{one.refused:.1%}"]
