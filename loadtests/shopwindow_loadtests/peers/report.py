"""What `make bench` measured: tables and plots, printed and between two markers of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shopwindow_loadtests.bisect.run import LIMIT
from shopwindow_loadtests.generator.reading import Reading, median_ratio, median_reading
from shopwindow_loadtests.peers.goals import EMBEDDINGS, OURS, Goal, Readings

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
HEADS = ["load", "server", "queries/s", "CPU ms", "p50 ms", "p99 ms", "generator ms", "refused", "throughput", "CPU"]
GOAL_HEADS = ["", "target", "wanted", "measured", ""]


def rows(readings: Readings) -> list[list[str]]:
    """A row a load and server under HEADS; the last two are our figure over that server's, medians of the rounds."""
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
        document: Has the markers, each on a line of its own.
        readings: Of all servers.
        goals: The targets.
        notes: Machine, data and conditions, a line each.
        left_out: Peers that were not measured, and why.

    Raises:
        ValueError: See `around_section`.
    """
    before, after = around_section(document)
    file = document.parent / "benchmarks" / "peers.png"
    plot(readings, file)
    parts = [
        "\n".join(f"- {note}" for note in notes),
        _markdown(GOAL_HEADS, [goal.cells for goal in goals]),
        _markdown(HEADS, rows(readings)),
        f"![Throughput and CPU time]({file.relative_to(document.parent).as_posix()})",
        *(f"Left out: {name}, {reason}" for name, reason in left_out.items()),
    ]
    document.write_text(f"{before}{BEGIN}\n" + "\n\n".join(parts) + f"\n{END}{after}")


def around_section(document: Path) -> tuple[str, str]:
    """What stands before and after the markers of a document.

    Raises:
        ValueError: There is no such file, or it lacks the markers, or has them in the wrong order.
    """
    if not document.is_file():
        raise ValueError(f"{document}: must be a file, and there is none")
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document}: needs the lines {BEGIN} and {END}, in this order")
    return before, after


def plot(readings: Readings, file: Path) -> None:
    """Throughput and CPU time of every server, grouped by load."""
    served = {key: median_reading(some) for key, some in readings.items() if key[0] != LIMIT}
    names = list(dict.fromkeys(name for name, _ in served))
    loads = list(dict.fromkeys(load for _, load in served))
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = ("queries_per_s", "queries a second"), ("cpu_ms", "server CPU, ms a query")
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
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def _latencies(one: Reading) -> list[str]:
    if one.p50_ms is None or one.p99_ms is None:
        return ["-", "-", "-", "-"]
    return [f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", f"{one.generator_ms:.3f}", f"{one.refused:.1%}"]


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (heads, ["---"] * len(heads), *lines))
